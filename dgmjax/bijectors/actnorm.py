"""Activation normalisation: a scale and a shift for each channel."""

import math

import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_batch, require_finite
from dgmjax.errors import DataError, require
from dgmjax.masks import weighted_mean
from dgmjax.types import Array, ArrayLike


class ActNorm(Bijector):
    """x = shift + exp(log_scale) z, with one shift and scale for each channel (last axis).

    forward: log_det = (number of positions) * sum_c log_scale_c
    inverse: z = (x - shift) exp(-log_scale)

    Args:
      shift, log_scale: `[C]`. With those of `actnorm_init(x)`, the inverse of the batch x has
        mean 0 and variance 1 in every channel.
      event_ndims: 1 for vectors `[C]`, 3 for images `[H, W, C]`.

    Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
    section 3.1, https://arxiv.org/abs/1807.03039.
    """

    def __init__(self, shift: ArrayLike, log_scale: ArrayLike, event_ndims: int = 1) -> None:
        self.shift, self.log_scale = as_float(shift), as_float(log_scale)
        require(
            self.shift.ndim >= 1 and self.shift.shape == self.log_scale.shape,
            "shift",
            "must be [C], of the shape of `log_scale`",
            f"shapes {self.shift.shape} and {self.log_scale.shape}",
        )
        require(event_ndims >= 1, "event_ndims", "must be at least 1", event_ndims)
        require_finite("shift, log_scale", (self.shift, self.log_scale))
        super().__init__(event_ndims_in=event_ndims, is_constant_jacobian=True)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        x = self._input(x)
        shift, log_scale = self._spread()
        y = shift + jnp.exp(log_scale) * x
        return y, self._log_det(y)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        y = self._input(y)
        shift, log_scale = self._spread()
        x = (y - shift) * jnp.exp(-log_scale)
        return x, -self._log_det(x)

    def _input(self, x: Array) -> Array:
        x = as_float(x)
        channels = self.shift.shape[-1]
        require(
            x.ndim >= self.event_ndims_in and x.shape[-1] == channels,
            "x",
            f"must have at least {self.event_ndims_in} dimensions, the last of {channels} channels",
            f"shape {x.shape}",
        )
        check_batch(self, x.shape[: x.ndim - self.event_ndims_in], self.shift.shape[:-1])
        return x

    def _spread(self) -> tuple[Array, Array]:
        """Parameters with a batch shape, to be put in front of the positions."""
        ones = (1,) * (self.event_ndims_in - 1)

        def spread(a: Array) -> Array:
            return a.reshape(*a.shape[:-1], *ones, a.shape[-1])

        return spread(self.shift), spread(self.log_scale)

    def _log_det(self, x: Array) -> Array:
        ndims = self.event_ndims_in
        # Each channel's scale acts once at every position.
        positions = math.prod(x.shape[x.ndim - ndims : -1])
        return jnp.broadcast_to(
            positions * jnp.sum(self.log_scale.astype(x.dtype), axis=-1), x.shape[: x.ndim - ndims]
        )


def actnorm_init(
    x: Array, epsilon: float = 1e-6, weights: Array | None = None
) -> tuple[Array, Array]:
    """`(shift, log_scale)` of `[C]` from a batch `[..., C]`: its mean and log standard deviation.

    log_scale = log(variance + epsilon) / 2, so that a constant channel is not divided by zero.

    Args:
      weights: of the positions, see `moments`.
    """
    x = as_float(x)
    count = math.prod(x.shape[:-1])
    require(
        x.ndim >= 2 and count >= 2,
        "x",
        "must hold at least 2 examples",
        f"shape {x.shape}",
        error=DataError,
    )
    mean, variance = moments(x, weights)
    # Beyond 1e19 squares overflow: such channels are measured in units of their largest entry.
    largest = jnp.abs(x).max(tuple(range(x.ndim - 1)))
    sound = jnp.isfinite(variance)
    unit = jnp.where(sound, 1, largest)
    unit_mean, unit_variance = moments(x / unit, weights)
    log_scale = 0.5 * jnp.log(variance + epsilon)
    unit_log_scale = jnp.log(unit) + 0.5 * jnp.log(unit_variance + epsilon)
    return jnp.where(sound, mean, unit * unit_mean), jnp.where(sound, log_scale, unit_log_scale)


def moments(x: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Mean and variance `[C]` of `x[..., C]`; weights, broadcast to x, leave out padding."""
    axes = tuple(range(x.ndim - 1))
    if weights is None:
        return x.mean(axes), x.var(axes)
    mean = weighted_mean(x, weights, axes)
    return mean, weighted_mean(jnp.square(x - mean), weights, axes)
