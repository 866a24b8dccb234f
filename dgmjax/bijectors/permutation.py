"""Fixed reordering of the last axis."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import Bijector, StaticArray, as_float, check_event, is_concrete
from dgmjax.errors import require
from dgmjax.types import Array


class Permutation(Bijector):
    """x_i = z_(indices[i]), log_det = 0.

    Args:
      indices: a permutation of 0, ..., D - 1, known when the bijector is built (it is part of
        the structure, not a leaf). `range(D)[::-1]` reverses the order.

    >>> [int(i) for i in Permutation([2, 0, 1]).forward(jnp.array([10, 11, 12]))]
    [12, 10, 11]
    """

    def __init__(self, indices: Any) -> None:
        require(
            is_concrete(indices), "indices", "must be known when the bijector is built", indices
        )
        order = np.asarray(indices)
        require(
            order.ndim == 1
            and order.dtype.kind in "iu"
            and np.array_equal(np.sort(order), np.arange(len(order))),
            "indices",
            "must be a permutation of 0, 1, ..., D - 1",
            order,
        )
        super().__init__(event_ndims_in=1, is_constant_jacobian=True)
        self.indices = StaticArray(order)

    @property
    def features(self) -> int:
        """D."""
        return len(self.indices.value)

    def forward(self, x: Array) -> Array:
        return self._take(x, self.indices.value)

    def inverse(self, y: Array) -> Array:
        return self._take(y, np.argsort(self.indices.value))

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        y = self.forward(x)
        return y, jnp.zeros(y.shape[:-1], y.dtype)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = self.inverse(y)
        return x, jnp.zeros(x.shape[:-1], x.dtype)

    def _take(self, x: Array, order: np.ndarray) -> Array:
        x = as_float(x)
        check_event(self, x, (self.features,))
        size = len(order)
        # Slices where they do: the gradient of a gather is a scatter, which is slow.
        if np.array_equal(order, np.arange(size)):
            return x
        if np.array_equal(order, np.arange(size)[::-1]):
            return x[..., ::-1]
        return x[..., order.astype(np.int32)]
