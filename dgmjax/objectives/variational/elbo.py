"""Evidence lower bound."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from dgmjax.contracts import given
from dgmjax.errors import require, require_sizes
from dgmjax.masks import over_sites, weighted_mean
from dgmjax.objectives.schedules import Scheduled, scheduled, scheduled_weight
from dgmjax.objectives.variational.divergences import (
    KL,
    kl_divergence,
    kl_of_samples,
)
from dgmjax.objectives.variational.posterior_samples import posterior_samples
from dgmjax.types import Array, Batch, Key, Metrics

__all__ = ["KL", "elbo", "kl_divergence", "rate"]

Per = Literal["dimension", "latent", "total"]


def elbo(
    model,
    batch: Batch,
    key: Key,
    *,
    beta: Scheduled = 1.0,
    num_samples: int = 1,
    kl: KL = "auto",
    free_bits: float = 0.0,
    free_bits_per: Per = "dimension",
    capacity: Scheduled | None = None,
    corruption: Callable[[Batch, Key], Batch] | None = None,
) -> tuple[Array, Metrics]:
    """-(E_q[log p(x | z)] - beta KL(q(z | x) || p(z))), in nats per example.

    With free bits lambda, the divergence of each group j of latents counts as
    max(lambda, mean over the batch of KL_j): below lambda nats a group costs nothing more, and
    has no gradient. With a capacity C the term is beta |mean over the batch of KL - C|, which
    asks for a rate of C nats where the KL term alone asks for none.

    With a corruption x~ of x the posterior is q(z | x~), and the likelihood still that of x: a
    bound, too, and codes that tell nothing of what the corruption changes.

    Args:
      model: with `prior()`, `posterior(x)` and `likelihood(z)`.
      beta: weight of the KL term, a number or a schedule of the training step (warm-up); 1 is the
        bound on log p(x). The metric `elbo` always has weight 1 and no free bits, so that
        training and validation mean the same.
      num_samples: posterior samples the expectation averages over, at least 1.
      kl: "analytic", "sampled", or "auto": the closed form if there is one.
      free_bits: lambda, in nats, at least 0.
      free_bits_per: the groups: dimensions, named latents of a hierarchy, or all together.
      capacity: C, in nats, at least 0, or a schedule of the training step; None for the KL term
        as it is.
      corruption: of what the posterior reads, such as `data.RandomAffine()`: any function of the
        batch and a key that returns a batch.

    Returns:
      loss `[B]`; metrics `elbo`, `log_likelihood`, `kl`, each `[B]`, and in a hierarchy
      `kl_{name}` of each latent.

    Sources: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, Eq. 3,
    https://arxiv.org/abs/1312.6114; beta: Higgins et al., "beta-VAE: Learning Basic Visual Concepts
    with a Constrained Variational Framework", 2017, Eq. 4,
    https://openreview.net/forum?id=Sy2fzU9gl; free bits: Kingma et al., "Improving Variational
    Inference with Inverse Autoregressive Flow", 2016, Eq. 15, https://arxiv.org/abs/1606.04934;
    warm-up: Bowman et al., "Generating Sentences from a Continuous Space", 2016,
    https://arxiv.org/abs/1511.06349; capacity: Burgess et al., "Understanding Disentangling in
    beta-VAE", 2018, Eq. 8, https://arxiv.org/abs/1804.03599; corruption: Im, Ahn, Memisevic &
    Bengio, "Denoising Criterion for Variational Auto-Encoding Framework", 2017, Eq. 6,
    https://arxiv.org/abs/1511.06406.
    """
    require_sizes(num_samples=num_samples)
    finite = 0 <= free_bits < math.inf
    require(finite, "free_bits", "must be finite and not negative", free_bits)
    groups = ("dimension", "latent", "total")
    require(free_bits_per in groups, "free_bits_per", f"must be one of {groups}", free_bits_per)
    model = given(model, batch)
    seen = batch["x"]
    if corruption is not None:
        key, corruption_key = jax.random.split(key)
        seen = corruption(batch, corruption_key)["x"]
    q, p = model.posterior(seen), model.prior()
    samples = posterior_samples(q, key, num_samples)
    # One sample loses its axis: networks over [1, B] cost more to differentiate than over [B].
    one = num_samples == 1 and samples.weight is None
    latent = jax.tree.map(lambda leaf: leaf[0], samples.z) if one else samples.z
    log_likelihood = model.likelihood(latent).log_prob(batch["x"])
    log_likelihood = log_likelihood if one else samples.mean(log_likelihood)
    apart = free_bits > 0 and free_bits_per == "dimension"
    terms = kl_of_samples(q, p, samples, kl, dimensions=apart)
    summed = {name: _sum_dimensions(term) if apart else term for name, term in terms.items()}
    divergence = sum(summed.values(), jnp.zeros(()))
    metrics = {
        "elbo": log_likelihood - divergence,
        "log_likelihood": log_likelihood,
        "kl": divergence,
    }
    if len(terms) > 1:
        metrics |= {f"kl_{name}": term for name, term in summed.items()}
    cost = divergence
    if free_bits > 0:
        # Only what is trained has the floor; the metrics above are those of the bound itself.
        counted = {"total": divergence} if free_bits_per == "total" else terms
        costs = [_at_least(free_bits, term, batch.get("mask")) for term in counted.values()]
        cost = sum(costs, jnp.zeros(()))
    if capacity is not None:
        cost = _away_from(_checked_capacity(capacity, batch), cost, batch.get("mask"))
    return scheduled_weight(beta, batch) * cost - log_likelihood, metrics


def _checked_capacity(capacity: Scheduled, batch: Batch) -> Array | float:
    if isinstance(capacity, int | float):
        finite = 0.0 <= capacity < math.inf
        require(finite, "capacity", "must be finite and not negative", capacity)
    return scheduled(capacity, batch)


def _away_from(capacity: Array | float, term: Array, mask: Array | None) -> Array:
    """Numbers whose batch mean is |mean of `term[B]` - capacity|, with the same gradient."""
    # As of free bits, the batch's mean decides: the rate is what is held, not that of each example.
    return jnp.sign(weighted_mean(term, mask, 0) - capacity) * (term - capacity)


def _sum_dimensions(term: Array) -> Array:
    return term.reshape(len(term), -1).sum(-1)


def _at_least(floor: float, term: Array, mask: Array | None) -> Array:
    """max(floor, batch mean) of each group of `term[B, *groups]`, `[B]`, with the same mean."""
    above = weighted_mean(term, over_sites(mask, term.ndim - 1), 0) > floor
    # The batch's mean decides for all examples: one below the floor keeps its gradient where the
    # mean is above. The rate is bounded on average, not of each example.
    return _sum_dimensions(jnp.where(above, term, floor))


def rate(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """KL(q(z | x) || p(z)) alone, `[B]` in nats: of encoders whose decoder has another loss."""
    _, metrics = elbo(model, batch, key)
    return metrics["kl"], {}
