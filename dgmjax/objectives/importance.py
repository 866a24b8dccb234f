"""Importance-weighted bounds, in bounded memory for any number of samples."""

import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.objectives.likelihood import original_units
from dgmjax.types import Array, Batch, Key, Metrics


def log_weights(model, batch: Batch, key: Key, *, num_samples: int) -> Array:
    """log w_k = log p(x, z_k) - log q(z_k | x) with z_k ~ q(z | x), `[K, B]`, in nats.

    Uses `model.log_joint(x, z)` where the model has it, else prior and likelihood.
    """
    x = batch["x"]
    z, log_q = model.posterior(x).sample_and_log_prob(seed=key, sample_shape=(num_samples,))
    if hasattr(model, "log_joint"):
        log_p = model.log_joint(x, z)
    else:
        log_p = model.prior().log_prob(z) + model.likelihood(z).log_prob(x)
    return log_p - log_q + original_units(batch)


def iwae(model, batch: Batch, key: Key, *, num_samples: int = 1) -> tuple[Array, Metrics]:
    """-L_K = -log (1/K) sum_k w_k, in nats per example; K = 1 is the ELBO with a sampled KL.

    E[L_1] <= E[L_K] <= log p(x), rising with K.

    Returns:
      loss `[B]`; metrics `bound` (L_K), `elbo` (mean of log w) and `effective_sample_size`
      ((sum w)^2 / sum w^2, between 1 and K), each `[B]`.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016,
    equations 8 and 14.
    """
    require(num_samples >= 1, "num_samples", "must be at least 1", num_samples)
    log_w = log_weights(model, batch, key, num_samples=num_samples)
    bound = jax.nn.logsumexp(log_w, axis=0) - jnp.log(num_samples)
    normalised = jax.nn.softmax(jax.lax.stop_gradient(log_w), axis=0)
    metrics = {
        "bound": bound,
        "elbo": log_w.mean(0),
        "effective_sample_size": 1.0 / (normalised**2).sum(0),
    }
    return -bound, metrics


def importance_bound(
    model, batch: Batch, key: Key, *, num_samples: int = 5000, chunk: int = 50
) -> tuple[Array, Metrics]:
    """-L_K for evaluation, `chunk` samples at a time: memory does not grow with K.

    The running maximum and scaled sum make one exact log-sum-exp of all K weights.

    Args:
      num_samples: K.
      chunk: samples evaluated together; must divide K.

    Returns:
      loss `[B]` and the metric `nll_bound_k{K}` (the same: an upper bound on -log p(x)).
    """
    require(num_samples >= 1, "num_samples", "must be at least 1", num_samples)
    chunk = min(chunk, num_samples)
    require(
        num_samples % chunk == 0,
        "chunk",
        f"must divide num_samples={num_samples}",
        chunk,
        "Choose a divisor, e.g. 50 for 5000.",
    )

    def body(state, index):
        maximum, total = state
        log_w = log_weights(model, batch, jax.random.fold_in(key, index), num_samples=chunk)
        new = jnp.maximum(maximum, log_w.max(0))
        return (new, total * jnp.exp(maximum - new) + jnp.exp(log_w - new).sum(0)), None

    size = batch["x"].shape[0]
    start = (jnp.full(size, -jnp.inf), jnp.zeros(size))
    (maximum, total), _ = jax.lax.scan(body, start, jnp.arange(num_samples // chunk))
    nll = jnp.log(num_samples) - maximum - jnp.log(total)
    return nll, {f"nll_bound_k{num_samples}": nll}
