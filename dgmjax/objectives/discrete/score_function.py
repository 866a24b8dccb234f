"""Score-function gradients: for latents that cannot be reparameterised, of any distribution.

Each objective returns as its value the negative bound, in nats per example, and has as its
gradient the estimator: value + surrogate - stop_gradient(surrogate).
"""

from typing import Literal

import jax
import jax.numpy as jnp

from dgmjax.contracts import given, has_baseline, log_joint as joint
from dgmjax.errors import require
from dgmjax.masks import weighted_mean
from dgmjax.types import Array, Batch, Key, Metrics

stop = jax.lax.stop_gradient


def reinforce(
    model, batch: Batch, key: Key, *, num_samples: int = 1, leave_one_out: bool = False
) -> tuple[Array, Metrics]:
    """-ELBO = -E_q[l], l = log p(x, z) - log q(z | x), with the gradient of its posterior

        (1/K) sum_k (l_k - b_k) d log q(z_k | x),

    and log p(x, z) differentiated as usual. b_k is a baseline, which must not depend on z_k:

    - none: b = 0 (a model without `baseline`);
    - running or learned: `model.baseline(x)`, see `models.WithBaseline` (NVIL); its prediction
      is trained here by least squares;
    - `leave_one_out`: the mean of the other samples' l, K >= 2 (a baseline that only depends on x
      then changes nothing).

    Args:
      model: with `prior()`, `posterior(x)` and `likelihood(z)`; optionally `baseline(x)`,
        `signal_scale()` and `observe(residual, mask)`.
      num_samples: K.

    Returns:
      loss `[B]`; metrics `elbo` `[B]` and `signal_variance` (of l - b over the batch).

    Raises:
      DgmjaxError: K < 1, or K < 2 with `leave_one_out`.

    Sources: Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist
    Reinforcement Learning", 1992, https://doi.org/10.1007/BF00992696; Mnih & Gregor, "Neural
    Variational Inference and Learning in Belief Networks", 2014, Eq. 7 and 8,
    https://arxiv.org/abs/1402.0030; Kool, van Hoof & Welling, "Buy 4 REINFORCE Samples, Get a
    Baseline for Free!", 2019, Eq. 8, https://openreview.net/forum?id=r1lgTGL5DE.
    """
    least = 2 if leave_one_out else 1
    require(num_samples >= least, "num_samples", f"must be at least {least}", num_samples)
    log_joint, log_q, signal = _terms(model, batch, key, num_samples)
    elbo, fit = signal.mean(0), jnp.zeros(())
    if leave_one_out:
        # l_k - mean of the others = (l_k - mean of all) K / (K - 1): the baseline of sample k does
        # not contain l_k, and the estimator stays unbiased.
        signal = (signal - elbo) * (num_samples / (num_samples - 1))
    elif has_baseline(model):
        residual = signal - model.baseline(batch["x"])
        signal, fit = stop(residual) / model.signal_scale(), 0.5 * jnp.square(residual).mean(0)
        model.observe(residual, batch.get("mask"))
    # The least-squares fit has its minus sign here, since the surrogate as a whole is ascended.
    surrogate = (stop(signal) * log_q + log_joint).mean(0) - fit
    mask = batch.get("mask")
    variance = weighted_mean(jnp.square(signal), mask) - weighted_mean(signal, mask) ** 2
    metrics = {"elbo": elbo, "signal_variance": variance}
    return with_gradient(-elbo, -surrogate), metrics


def vimco(
    model,
    batch: Batch,
    key: Key,
    *,
    num_samples: int = 5,
    baseline: Literal["geometric", "arithmetic", "none"] = "geometric",
) -> tuple[Array, Metrics]:
    """-L_K = -log (1/K) sum_k w_k, w = p(x, z) / q(z | x), with the gradient

        sum_k (L_K - L_K^(-k)) d log q(z_k | x) + sum_k (w_k / sum w) d log w_k.

    L_K^(-k) is the bound with w_k replaced by the mean of the others: geometric, as in the paper,
    or arithmetic; "none" leaves it out, which is REINFORCE of the bound.

    Args:
      num_samples: K, at least 2 (at least 1 without a baseline).

    Returns:
      loss `[B]`; metrics `bound` (L_K), `elbo` (mean of log w) and `effective_sample_size`, `[B]`.

    Source: Mnih & Rezende, "Variational Inference for Monte Carlo Objectives", 2016, Eq. 6, 9 and
    10, https://arxiv.org/abs/1602.06725.
    """
    known = ("geometric", "arithmetic", "none")
    require(baseline in known, "baseline", f"must be one of {known}", repr(baseline))
    least = 1 if baseline == "none" else 2
    require(num_samples >= least, "num_samples", f"must be at least {least}", num_samples)
    log_joint, log_q, log_w = _terms(model, batch, key, num_samples)
    bound = jax.nn.logsumexp(log_w, axis=0) - jnp.log(num_samples)
    signal = jnp.broadcast_to(bound, log_w.shape)
    if baseline != "none":
        without = _bounds_without_one(log_w, baseline)
        # -inf where w_k is the only weight above 0: there 0, which reads no z_k either, serves.
        signal = bound - jnp.where(jnp.isneginf(without), 0.0, without)
    weights = jax.nn.softmax(log_w, axis=0)
    log_ratio = jnp.where(weights > 0.0, log_joint - log_q, 0.0)  # not 0 times -inf
    # `log_w` is held (see `_terms`): d L_K = sum_k (w_k / sum w) d log w_k is written out, beside
    # the score term that a sum over discrete z has in place of a path.
    surrogate = (stop(signal) * log_q + stop(weights) * log_ratio).sum(0)
    metrics = {
        "bound": bound,
        "elbo": log_w.mean(0),
        "effective_sample_size": 1.0 / jnp.square(weights).sum(0),
    }
    return with_gradient(-bound, -surrogate), metrics


def _bounds_without_one(log_w: Array, mean: str) -> Array:
    """L_K^(-k) of every k, `[K, B]`: w_k replaced by a mean of the other weights."""
    num = log_w.shape[0]
    # The table [k, i] has all weights but w_k in row k. Masking costs K^2 B numbers, but
    # subtracting w_k from the sum would leave nothing but rounding errors where w_k dominates it,
    # which is where the baseline counts most.
    own = jnp.eye(num, dtype=bool)[..., None]
    others = jnp.where(own, -jnp.inf, log_w)  # [k, i, B]
    if mean == "geometric":
        zero = jnp.isneginf(log_w)
        some = jnp.where(zero, 0.0, log_w)
        instead = (some.sum(0) - some) / (num - 1)
        instead = jnp.where(zero.sum(0) > zero, -jnp.inf, instead)  # another weight is 0
    else:
        instead = jax.nn.logsumexp(others, axis=1) - jnp.log(num - 1)
    replaced = jnp.where(own, instead[:, None], others)
    return jax.nn.logsumexp(replaced, axis=1) - jnp.log(num)


def _terms(model, batch: Batch, key: Key, num_samples: int) -> tuple[Array, Array, Array]:
    """log p(x, z_k) and log q(z_k | x), `[K, B]`, at held samples; and their difference, held."""
    model, x = given(model, batch), batch["x"]
    q = model.posterior(x)
    # Held, so that a posterior that could be reparameterised has no second gradient through z.
    z = jax.tree.map(stop, q.sample(seed=key, sample_shape=(num_samples,)))
    log_joint = joint(model, x, z)
    log_q = q.log_prob(z)
    return log_joint, log_q, stop(log_joint - log_q)


def with_gradient(value: Array, surrogate: Array) -> Array:
    """The value of the first with the gradient of the second."""
    zero = surrogate - stop(surrogate)  # NaN where the bound and its surrogate are infinite
    return stop(value) + jnp.where(jnp.isinf(value), 0.0, zero)
