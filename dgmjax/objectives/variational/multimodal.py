"""Objective of multimodal VAEs that must cope with any subset of the modalities."""

import math
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from dgmjax.contracts import given
from dgmjax.errors import require
from dgmjax.objectives.schedules import Scheduled, scheduled_weight
from dgmjax.objectives.variational.divergences import KL, kl_of_samples
from dgmjax.objectives.variational.posterior_samples import posterior_samples
from dgmjax.types import Array, Batch, Key, Metrics


def subsampled_elbo(
    model,
    batch: Batch,
    key: Key,
    *,
    beta: Scheduled = 1.0,
    alone: bool = True,
    scored: Literal["seen", "all"] = "seen",
    num_subsets: int = 0,
    weights: Mapping[str, float] | None = None,
    kl: KL = "auto",
) -> tuple[Array, Metrics]:
    """-(ELBO(x_1 .. x_M) + sum_m ELBO(x_m) + sum_j ELBO(X_j)), in nats per example.

    A product of experts trained by the first term alone never has to infer z from one modality;
    the second makes it, and the third trains random subsets X_j (a fair coin for each modality,
    for each example). It is not a bound on log p(x) itself; the metric `elbo`, the first term
    without weights, is.

    By default each term scores only what its posterior sees. The optimum may then write different
    modalities into different coordinates of z, so that neither predicts the other. With
    `scored="all"` a posterior that sees a subset explains every modality of the batch,
    E_q(z | X_j)[log p(x_1 .. x_M | z)] - KL(q(z | X_j) || p): the bounds of a mixture of products
    of experts, one for each subset.

    Args:
      model: with `given(batch)` that returns a
        `models.latent.given_modalities.GivenModalities`.
      beta: weight of the KL divergences, a number or a schedule.
      alone: whether the terms of each modality by itself count. A mixture of experts needs none:
        its bound infers every modality from each.
      scored: whether the posterior of a subset explains this subset, or the whole batch.
      num_subsets: random subsets per step, at least 0.
      weights: by modality, of its log-likelihood in the loss; 1 where not named. Without one, a
        label counts no more than a few pixels of an image.
      kl: see `objectives.elbo`.

    Returns:
      loss `[B]`; metrics `elbo`, `kl` and `log_likelihood_{key}` of all modalities together, and
      `elbo_{key}` of the posterior that sees this one alone.

    Sources: Wu & Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning",
    2018, section 2 (sub-sampled training), https://arxiv.org/abs/1802.05335; Sutter, Daunhawer &
    Vogt, "Generalized Multimodal ELBO", 2021, section 3 (mixture of products),
    https://arxiv.org/abs/2105.02470.
    """
    known = scored in ("seen", "all")
    require(known, "scored", "must be 'seen' or 'all'", repr(scored))
    require(num_subsets >= 0, "num_subsets", "must not be negative", num_subsets)
    seen = given(model, batch)
    named = tuple(seen.values)
    strange = sorted(set(weights or {}) - set(model.keys))
    require(not strange, "weights", f"must be named by modality, {model.keys}", strange)
    for name, weight in (weights or {}).items():
        require(0.0 <= weight < math.inf, f"weights[{name!r}]", "must be at least 0", weight)
    scale = scheduled_weight(beta, batch)
    # For each modality, the flags that leave it alone.
    only = [{other: float(other == name) for other in named} for name in named]
    alone = alone and len(named) > 1
    subsets = [{}, *only] if alone else [{}]
    coins_key, key = jax.random.split(key)
    size = batch["x"].shape[0]
    for index in range(num_subsets):
        # For each example of its own: a subset for the whole batch would make the gradient of a
        # step that of one task.
        coins = jax.random.bernoulli(jax.random.fold_in(coins_key, index), 0.5, (len(named), size))
        subsets.append(dict(zip(named, coins.astype(jnp.float32))))
    loss, metrics = jnp.zeros(()), {}
    for index, subset in enumerate(subsets):
        part = seen.without(subset) if subset else seen
        explained = seen if scored == "all" else part
        terms, divergence = _terms(part, explained, jax.random.fold_in(key, index), kl)
        weighted = sum((weights or {}).get(name, 1.0) * term for name, term in terms.items())
        loss = loss + scale * divergence - weighted
        bound = sum(terms.values()) - divergence
        if index == 0:
            metrics = {"elbo": bound, "kl": divergence}
            metrics |= {f"log_likelihood_{name}": term for name, term in terms.items()}
        elif alone and index <= len(only):
            metrics[f"elbo_{named[index - 1]}"] = bound
    return loss, metrics


def _terms(seen, explained, key: Key, kl: KL) -> tuple[dict[str, Array], Array]:
    """E_q[log p(x_m | z)] of each modality explained by q(z | seen), and q's KL, `[B]` each."""
    q, p = seen.posterior(), seen.prior()
    samples = posterior_samples(q, key, 1)
    terms = {
        name: samples.mean(term) for name, term in explained.log_likelihoods(samples.z).items()
    }
    divergences = kl_of_samples(q, p, samples, kl).values()
    return terms, sum(divergences, jnp.zeros(()))
