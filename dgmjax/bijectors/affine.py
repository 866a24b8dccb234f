"""Elementwise shift and scale."""

import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_batch, require_finite
from dgmjax.types import Array, ArrayLike


class ElementwiseAffine(Bijector):
    """x = shift + exp(log_scale) z on each entry.

    forward: x = shift + exp(log_scale) z, log_det = log_scale
    inverse: z = (x - shift) exp(-log_scale), log_det = -log_scale

    Args:
      shift: any shape that broadcasts with the input.
      log_scale: likewise; `None` for no scaling (additive: volume-preserving).
    """

    def __init__(self, shift: ArrayLike, log_scale: ArrayLike | None = None) -> None:
        super().__init__(event_ndims_in=0, is_constant_jacobian=True)
        require_finite("shift", shift)
        require_finite("log_scale", log_scale)
        self.shift = as_float(shift)
        self.log_scale = None if log_scale is None else as_float(log_scale)

    def forward(self, x: Array) -> Array:
        x = self._input(x)
        return self.shift + (x if self.log_scale is None else jnp.exp(self.log_scale) * x)

    def inverse(self, y: Array) -> Array:
        z = self._input(y) - self.shift
        return z if self.log_scale is None else z * jnp.exp(-self.log_scale)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        y = self.forward(x)
        return y, self._log_det(y)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = self.inverse(y)
        return x, -self._log_det(x)

    def _input(self, x: Array) -> Array:
        x = as_float(x)
        own = [a.shape for a in (self.shift, self.log_scale) if a is not None]
        check_batch(self, x.shape, *own)
        return x

    def _log_det(self, like: Array) -> Array:
        if self.log_scale is None:
            return jnp.zeros_like(like)
        return jnp.broadcast_to(self.log_scale, like.shape).astype(like.dtype)
