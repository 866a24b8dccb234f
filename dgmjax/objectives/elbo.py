"""The evidence lower bound."""

from typing import Literal

import jax

from dgmjax.errors import require
from dgmjax.objectives.likelihood import original_units
from dgmjax.types import Array, Batch, Key, Metrics

KL = Literal["auto", "analytic", "sampled"]


def kl_divergence(q, p, z: Array, kl: KL = "auto", log_q: Array | None = None) -> Array:
    """KL(q || p) in nats: analytic where distrax knows it, else log q(z) - log p(z) at `z`.

    Args:
      q, p: distributions over the same event.
      z: samples of q, `[K, *batch, *event]`, used by the sampled form, which averages over K.
      log_q: log q(z), `[K, *batch]`, where it is known already: a flow gives it with its samples,
        and would otherwise have to be inverted.
      kl: "analytic" raises where no closed form is known; "auto" falls back to samples.
    """
    require(kl in ("auto", "analytic", "sampled"), "kl", "must be auto, analytic or sampled", kl)
    if kl != "sampled":
        try:
            return q.kl_divergence(p)
        except NotImplementedError:
            require(
                kl == "auto",
                "kl",
                "has no closed form for these distributions",
                f"KL({q.name} || {p.name})",
                'Use kl="sampled" or "auto".',
            )
    log_q = q.log_prob(z) if log_q is None else log_q
    return (log_q - p.log_prob(z)).mean(0)


def elbo(
    model,
    batch: Batch,
    key: Key,
    *,
    beta: float | Array = 1.0,
    num_samples: int = 1,
    kl: KL = "auto",
) -> tuple[Array, Metrics]:
    """-(E_q[log p(x | z)] - beta KL(q(z | x) || p(z))), in nats per example.

    Args:
      model: with `prior()`, `posterior(x)` and `likelihood(z)`.
      beta: weight of the KL term; 1 is the bound on log p(x). The metric `elbo` always has
        weight 1, so that training and validation mean the same.
      num_samples: posterior samples the expectation averages over, at least 1.
      kl: closed form, samples, or whichever there is.

    Returns:
      loss `[B]`; metrics `elbo`, `log_likelihood`, `kl`, each `[B]`.

    Source: Kingma & Welling 2014, equation 3; beta: Higgins et al., "beta-VAE", 2017, equation 4.
    """
    require(num_samples >= 1, "num_samples", "must be at least 1", num_samples)
    q, p = model.posterior(batch["x"]), model.prior()
    z, log_q = q.sample_and_log_prob(seed=key, sample_shape=(num_samples,))
    # One sample loses its axis: networks over [1, B] cost more to differentiate than over [B].
    latent = z if num_samples > 1 else jax.tree.map(lambda leaf: leaf[0], z)
    log_likelihood = model.likelihood(latent).log_prob(batch["x"])
    log_likelihood = log_likelihood if num_samples == 1 else log_likelihood.mean(0)
    log_likelihood = log_likelihood + original_units(batch)
    divergence = kl_divergence(q, p, z, kl, log_q)
    metrics = {
        "elbo": log_likelihood - divergence,
        "log_likelihood": log_likelihood,
        "kl": divergence,
    }
    return beta * divergence - log_likelihood, metrics
