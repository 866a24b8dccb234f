"""Space to channels, and back."""

import numbers

import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_ndims
from dgmjax.errors import require
from dgmjax.types import Array


class Squeeze(Bijector):
    """From the data to the base, an image is squeezed; log_det = 0.

    inverse: `[H, W, C]` to `[H / f, W / f, f^2 C]`: each f x f block of pixels becomes channels,
             in the order row of the block, column of the block, channel
    forward: the way back, `[H, W, C]` to `[f H, f W, C / f^2]`

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, section 3.6,
    https://arxiv.org/abs/1605.08803.

    >>> Squeeze(2).inverse(jnp.zeros((28, 28, 1))).shape
    (14, 14, 4)
    """

    def __init__(self, factor: int = 2) -> None:
        whole = isinstance(factor, numbers.Integral) and factor >= 1
        require(whole, "factor", "must be an integer >= 1", factor)
        super().__init__(event_ndims_in=3, is_constant_jacobian=True)
        self.factor = factor

    def forward(self, x: Array) -> Array:
        x = as_float(x)
        check_ndims(self, x, 3)
        *batch, height, width, channels = x.shape
        f = self.factor
        require(
            channels % (f * f) == 0,
            "x",
            f"must have a number of channels that {f * f} divides",
            f"shape {x.shape}",
        )
        x = x.reshape(*batch, height, width, f, f, channels // (f * f))
        return jnp.swapaxes(x, -4, -3).reshape(*batch, height * f, width * f, channels // (f * f))

    def inverse(self, y: Array) -> Array:
        y = as_float(y)
        check_ndims(self, y, 3)
        *batch, height, width, channels = y.shape
        f = self.factor
        require(
            height % f == 0 and width % f == 0,
            "x",
            f"must have a height and width that {f} divides",
            f"shape {y.shape}",
            "Pad or crop the images.",
        )
        y = y.reshape(*batch, height // f, f, width // f, f, channels)
        return jnp.swapaxes(y, -4, -3).reshape(*batch, height // f, width // f, channels * f * f)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        y = self.forward(x)
        return y, jnp.zeros(y.shape[:-3], y.dtype)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = self.inverse(y)
        return x, jnp.zeros(x.shape[:-3], x.dtype)
