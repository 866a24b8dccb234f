"""Objectives on the aggregated posterior q(z) = 1/N sum_n q(z | x_n): InfoVAE, WAE, beta-TCVAE.

A batch stands for the data. The added term is one number for the whole batch; it is added to every
example, so that the mean over the batch is the objective.
"""

import math
from collections.abc import Callable
from typing import Literal

import distrax
import jax
import jax.numpy as jnp

from dgmjax.contracts import given
from dgmjax.distributions.mixture import Mixture
from dgmjax.errors import require
from dgmjax.objectives.mmd import Kernel, mmd
from dgmjax.objectives.variational.divergences import check_events, kl_of_samples
from dgmjax.objectives.variational.posterior_samples import posterior_samples
from dgmjax.types import Array, Batch, Key, Metrics

# D_f(q || p) = E_q[f(r) / r] with r = q / p, as a function of log r.
F_DIVERGENCES: dict[str, Callable[[Array], Array]] = {
    "kl": lambda log_r: log_r,
    "reverse_kl": lambda log_r: -log_r * jnp.exp(-log_r),
    "jensen_shannon": lambda log_r: (
        0.5 * (jax.nn.log_sigmoid(log_r) + math.log(2.0))
        + 0.5 * jnp.exp(-log_r) * (jax.nn.log_sigmoid(-log_r) + math.log(2.0))
    ),
    "squared_hellinger": lambda log_r: 1.0 + jnp.exp(-log_r) - 2.0 * jnp.exp(-0.5 * log_r),
    "chi_squared": lambda log_r: jnp.exp(log_r) - 2.0 + jnp.exp(-log_r),
}
Divergence = Literal[
    "mmd", "kl", "reverse_kl", "jensen_shannon", "squared_hellinger", "chi_squared"
]


def aggregated_log_prob(q, z: Array, mask: Array | None = None, dimensions: bool = False) -> Array:
    """log 1/B sum_b q(z_n | x_b) for every row of `z[N, *event]`, `[N]`, in nats.

    Args:
      q: posterior of batch shape `[B]`.
      mask: rows of the batch that count, `[B]`.
      dimensions: of every dimension by itself, log 1/B sum_b q(z_nd | x_b), `[N, *event]`; q must
        be a `distrax.Independent`.
    """
    part = q.distribution if dimensions else q
    # All pairs of a sample and an example: B^2 densities, which is why a batch stands for the data.
    each = part.log_prob(z[:, None])  # [N, B] or [N, B, *event]
    weights = jnp.ones(each.shape[1]) if mask is None else mask
    weights = weights.reshape(-1, *[1] * (each.ndim - 2))
    return jax.nn.logsumexp(each, axis=1, b=weights) - jnp.log(weights.sum())


def aggregate_divergence(
    q,
    p,
    z: Array,
    key: Key,
    divergence: Divergence = "mmd",
    mask: Array | None = None,
    *,
    weights: Array | None = None,
    kernel: Kernel = "imq",
    bandwidth: float | None = None,
) -> Array:
    """D(q(z) || p(z)) of the aggregated posterior, estimated from one batch; a scalar.

    "mmd" compares `z[C B, *event]`, C samples for each row of the batch (C slowest), with about as
    many samples of the prior, of a mixture at least two of every component. The f-divergences are
    E_q[f(r) / r] with r = q(z) / p(z), where q(z) is the mixture over the batch: in nats for
    "kl", "reverse_kl" (KL(p || q)) and "jensen_shannon", which is at most log 2.

    Args:
      mask: rows of the batch that count, `[B]`.
      weights: of the rows of z, `[C B]`, see `posterior_samples`.
    """
    rows = jnp.ones(q.batch_shape) if mask is None else mask
    repeats = len(z) // len(rows)
    counts = jnp.tile(rows, repeats) * (1.0 if weights is None else weights)
    if divergence == "mmd":
        components = p.num_components if isinstance(p, Mixture) else 1
        num = max(2, math.ceil(len(z) / components))
        prior = posterior_samples(p, key, num)
        flat = lambda a: a.reshape(len(a), -1)
        return mmd(
            flat(z),
            flat(prior.z),
            counts,
            jnp.tile(jnp.arange(len(rows)), repeats),
            y_weights=prior.weight,
            strata=None if prior.weight is None else jnp.tile(jnp.arange(components), num),
            kernel=kernel,
            bandwidth=bandwidth,
        )
    require(
        divergence in F_DIVERGENCES,
        "divergence",
        f"must be 'mmd' or one of {sorted(F_DIVERGENCES)}",
        repr(divergence),
    )
    log_r = aggregated_log_prob(q, z, mask) - p.log_prob(z)
    values = F_DIVERGENCES[divergence](jnp.where(counts > 0, log_r, 0.0))  # padding may be far off
    return (values * counts).sum() / counts.sum()


def infovae(
    model,
    batch: Batch,
    key: Key,
    *,
    alpha: float = 1.0,
    weight: float = 10.0,
    divergence: Divergence = "mmd",
    kernel: Kernel = "imq",
    bandwidth: float | None = None,
) -> tuple[Array, Metrics]:
    """-E_q[log p(x | z)] + (1 - alpha) KL(q(z | x) || p(z)) + weight D(q(z) || p(z)), in nats.

    In the paper's terms, weight = alpha + lambda - 1. alpha = 1 leaves no divergence of single
    posteriors: the Wasserstein autoencoder (`wae`). alpha = 0, weight = 0 is the ELBO.

    Args:
      alpha: how much mutual information of x and z is preferred, at most 1.
      weight: of the divergence of the aggregated posterior, at least 0.
      divergence, kernel, bandwidth: see `aggregate_divergence` and `mmd.gram`.

    Returns:
      loss `[B]`; metrics `log_likelihood`, `kl`, `elbo`, each `[B]`, and `divergence`.

    Sources: Zhao, Song & Ermon, "InfoVAE: Balancing Learning and Inference in Variational
    Autoencoders", 2019, Eq. 6, https://arxiv.org/abs/1706.02262; Tolstikhin, Bousquet, Gelly &
    Schoelkopf, "Wasserstein Auto-Encoders", 2018, Eq. 4, https://arxiv.org/abs/1711.01558.
    """
    require(alpha <= 1.0, "alpha", "must be at most 1", alpha)
    require(weight >= 0.0, "weight", "must not be negative", weight)
    model, x, mask = given(model, batch), batch["x"], batch.get("mask")
    q, p = model.posterior(x), model.prior()
    z_key, prior_key = jax.random.split(key)
    z, *_ = samples = posterior_samples(q, z_key, 1)
    log_likelihood = samples.mean(model.likelihood(z).log_prob(x))
    kl = sum(kl_of_samples(q, p, samples).values(), jnp.zeros(()))
    apart = aggregate_divergence(
        q,
        p,
        z.reshape(-1, *z.shape[2:]),
        prior_key,
        divergence,
        mask,
        weights=None if samples.weight is None else samples.weight.ravel(),
        kernel=kernel,
        bandwidth=bandwidth,
    )
    loss = weight * apart - log_likelihood
    loss = loss if alpha == 1.0 else loss + (1.0 - alpha) * kl
    metrics = {"elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl}
    return loss, {**metrics, "divergence": apart}


def wae(model, batch: Batch, key: Key, *, weight: float = 10.0, **options) -> tuple[Array, Metrics]:
    """The Wasserstein autoencoder: `infovae` at alpha = 1."""
    return infovae(model, batch, key, alpha=1.0, weight=weight, **options)


def beta_tc(
    model, batch: Batch, key: Key, *, num_examples: int, beta: float = 6.0
) -> tuple[Array, Metrics]:
    """-E_q[log p(x | z)] + I(x; z) + beta TC(z) + sum_d KL(q(z_d) || p(z_d)), in nats.

    The average KL of the ELBO taken apart: the mutual information of index and code, the total
    correlation KL(q(z) || prod_d q(z_d)), and the dimensions' own divergences. q(z) is estimated
    from the batch by minibatch-weighted sampling: log 1/(N B) sum_b q(z | x_b).

    Args:
      num_examples: N, of the training split.
      beta: weight of the total correlation; 1 is the ELBO.

    Returns:
      loss `[B]`; metrics `elbo`, `log_likelihood`, `kl`, `mutual_information`,
      `total_correlation` and `dimension_kl`, each `[B]`.

    Source: Chen, Li, Grosse & Duvenaud, "Isolating Sources of Disentanglement in Variational
    Autoencoders", 2018, Eq. 2 and 4, with alpha = gamma = 1, https://arxiv.org/abs/1802.04942.
    """
    require(num_examples >= 1, "num_examples", "must be at least 1", num_examples)
    require(beta >= 0, "beta", "must not be negative", beta)
    model, x, mask = given(model, batch), batch["x"], batch.get("mask")
    rule = f"must be at least the batch's {len(x)}"
    require(num_examples >= len(x), "num_examples", rule, num_examples)
    q, p = model.posterior(x), model.prior()
    check_events(q, p)
    require(
        isinstance(q, distrax.Independent),
        "model",
        "must have a posterior whose dimensions are independent (distrax.Independent)",
        q.name,
    )
    z, log_q = q.sample_and_log_prob(seed=key)
    log_likelihood = model.likelihood(z).log_prob(x)
    # Minibatch-weighted sampling divides by N B where an average divides by B: log N less in the
    # joint, and once in each dimension. It moves the values of the terms, not their gradients.
    constant = math.log(num_examples)
    joint = aggregated_log_prob(q, z, mask) - constant
    # The product of the marginals, each estimated from the same batch.
    apart = aggregated_log_prob(q, z, mask, dimensions=True) - constant
    product = apart.reshape(len(z), -1).sum(-1)
    log_p = p.log_prob(z)
    terms = {
        "mutual_information": log_q - joint,
        "total_correlation": joint - product,
        "dimension_kl": product - log_p,
    }
    kl = log_q - log_p
    loss = kl + (beta - 1.0) * terms["total_correlation"] - log_likelihood
    metrics = {"elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl}
    return loss, {**metrics, **terms}
