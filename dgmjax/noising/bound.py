"""Variational bound of a process and a prediction of the noise: arrays and functions, no Flax."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.noising.gaussian import GaussianProcess
from dgmjax.noising.times import even_times
from dgmjax.types import Array, Key


class Terms(NamedTuple):
    """The parts of a variational bound, each `[B]` in nats and at least 0 on average.

    prior + diffusion + reconstruction >= -log p(x); the reconstruction of real data is a
    log-density, and may be negative.
    """

    prior: Array
    diffusion: Array
    reconstruction: Array

    @property
    def total(self) -> Array:
        """The bound on -log p(x)."""
        return self.prior + self.diffusion + self.reconstruction


def variational_bound(
    process: GaussianProcess,
    predict: Callable[[Array, Array], Array],
    x: Array,
    key: Key,
    *,
    event_ndims: int,
    num_steps: int | None = None,
    times: Literal["time", "log_snr"] = "time",
    control_variate: bool = True,
) -> Terms:
    """The bound of the generative model that denoises step by step, by one draw.

    prior = KL(q(x_1 | x) || p(x_1)), reconstruction = -E log N(x; x_0 / signal, noise^2 /
    signal^2) at the start of the process's `bounded_span`, and between them

    diffusion = 1/2 E_t[-d/dt log_snr(t) |eps - eps^(x_t, t)|^2]

    in continuous time, or T/2 E_i[(exp(log_snr(s_i) - log_snr(t_i)) - 1) |eps - eps^|^2] for T
    steps. One time is drawn for each example, spread evenly over the batch.

    Args:
      predict: `(x_t[*batch, *event], t[*batch])` -> eps^, of the shape of x.
      x: data `[*batch, *event]`.
      event_ndims: rank of an event.
      num_steps: T; None for continuous time.
      times: drawn uniformly, or such that log_snr is uniform (not for a learnt schedule, which has
        no gradient then).
      control_variate: subtract what is expected for normal data of variance 1, and add its mean.
        Real data hide nearly all of eps at the start, where this is most of the variance; whole
        numbers hide nothing.

    Source: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, Eq. 11 to 18,
    https://arxiv.org/abs/2107.00630.

    The bound of a standard normal, whose noise is known, is -log p(x) on average:

    >>> from dgmjax.noising import variance_preserving
    >>> process, x = variance_preserving(), jax.random.normal(jax.random.key(0), (1000, 2))
    >>> noise = lambda x, t: process.coefficients(t)[1][:, None] * x
    >>> terms = variational_bound(process, noise, x, jax.random.key(1), event_ndims=1)
    >>> nll = 0.5 * (x**2).sum(-1) + jnp.log(2 * jnp.pi)
    >>> bool(abs((terms.total - nll).mean()) < 0.1)
    True
    """
    require(0 <= event_ndims <= x.ndim, "event_ndims", f"must be in 0 .. {x.ndim}", event_ndims)
    first, last = process.bounded_span
    batch, num_dims = x.shape[: x.ndim - event_ndims], math.prod(x.shape[x.ndim - event_ndims :])
    total = lambda values: values.sum(tuple(range(len(batch), values.ndim)))
    time_key, noise_key = jax.random.split(key)
    u = even_times(time_key, batch).astype(x.dtype)
    require(times in ("time", "log_snr"), "times", "must be 'time' or 'log_snr'", repr(times))
    whole = num_steps is None or times == "time"
    require(whole, "times", "must be 'time' for a number of steps, which are equal in it", times)
    if num_steps is not None:
        require_sizes(num_steps=num_steps)
        step = jnp.minimum(jnp.floor(u * num_steps), num_steps - 1)
        # Rounding may not leave the span, outside of which there is no process.
        at = lambda k: jnp.clip(first + (last - first) * (k / num_steps), first, last)
        s, t = at(step), at(step + 1)
        weight = num_steps * jnp.expm1(process.log_snr(s) - process.log_snr(t))
    elif times == "time":
        t = first + (last - first) * u
        weight = -(last - first) * process.log_snr_and_rate(t)[1]
    else:
        high, low = (process.log_snr(end) for end in (first, last))
        t, weight = process.time_of(high + (low - high) * u), high - low
    noise = jax.random.normal(noise_key, x.shape, x.dtype)
    found = predict(process.interpolate(x, noise, t), t)
    rule = f"must return the shape of x, {x.shape}"
    require(found.shape == x.shape, "predict", rule, f"shape {found.shape}")
    error = total((noise - found) ** 2)
    if control_variate:
        # The best prediction for normal data leaves the variance s = sigmoid(log_snr) of eps, of
        # which s^2 |eps|^2 is seen; the integral of s over log_snr is a softplus.
        s = jax.nn.sigmoid(process.log_snr(t))
        error = error - s**2 * (total(noise**2) - num_dims)
        if num_steps is None:
            high, low = (jax.nn.softplus(process.log_snr(end)) for end in (first, last))
            error = error - num_dims * (s - (high - low) / weight)
    signal, scale = process.coefficients(jnp.asarray(last))
    prior = 0.5 * total((signal / scale * x) ** 2)
    scale_at_start = jnp.exp(-process.log_snr(jnp.asarray(first)) / 2)
    constant = num_dims * (0.5 + 0.5 * math.log(2 * math.pi) + jnp.log(scale_at_start))
    return Terms(prior, 0.5 * weight * error, jnp.broadcast_to(constant, batch))
