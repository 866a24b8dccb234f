"""Events of one shape as events of another."""

import math

import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_event
from dgmjax.errors import as_sizes, require
from dgmjax.types import Array


class Reshape(Bijector):
    """Entries in row-major order, in another shape; log_det = 0.

    forward: `[*base_shape]` to `[*event_shape]`
    inverse: the way back

    A flow over vectors becomes one over images, with `Fixed(Reshape, ((784,), (28, 28, 1)))` as the
    layer beside the data.

    Args:
      base_shape: of the event on the base's side.
      event_shape: of that on the data's side, of as many entries.

    >>> Reshape((6,), (2, 3)).forward(jnp.arange(6.0)).tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """

    def __init__(self, base_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        base, event = as_sizes("base_shape", base_shape), as_sizes("event_shape", event_shape)
        rule = f"must have as many entries as `base_shape`, {math.prod(base)}"
        require(math.prod(base) == math.prod(event), "event_shape", rule, event)
        super().__init__(
            event_ndims_in=len(base), event_ndims_out=len(event), is_constant_jacobian=True
        )
        self.base_shape, self.event_shape = base, event

    def forward(self, x: Array) -> Array:
        return self._reshaped(x, self.base_shape, self.event_shape)

    def inverse(self, y: Array) -> Array:
        return self._reshaped(y, self.event_shape, self.base_shape)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        y = self.forward(x)
        return y, jnp.zeros(y.shape[: y.ndim - self.event_ndims_out], y.dtype)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = self.inverse(y)
        return x, jnp.zeros(x.shape[: x.ndim - self.event_ndims_in], x.dtype)

    def _reshaped(self, x: Array, given: tuple[int, ...], wanted: tuple[int, ...]) -> Array:
        x = as_float(x)
        check_event(self, x, given)
        return x.reshape(*x.shape[: x.ndim - len(given)], *wanted)
