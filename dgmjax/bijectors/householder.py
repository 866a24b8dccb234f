"""Products of Householder reflections."""

from collections.abc import Iterable

import jax.numpy as jnp

from dgmjax.bijectors.base import as_float, require_finite, without_overflow
from dgmjax.bijectors.linear import LinearBijector
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
from dgmjax.types import Array, ArrayLike


class Householder(LinearBijector):
    """x = H_1 H_2 ... H_K z, H_k = I - 2 v_k v_k^T / |v_k|^2: orthogonal, log_det = 0.

    Args:
      vectors: `[..., K, D]`. A zero vector stands for no reflection.

    Source: Tomczak & Welling, "Improving Variational Auto-Encoders using Householder Flow", 2016,
    Eq. 8, https://arxiv.org/abs/1611.09630.
    """

    def __init__(self, vectors: ArrayLike) -> None:
        self.vectors = as_float(vectors)
        size = check_shapes(self, vectors="... K D")["D"]
        require(size > 0, "vectors", "must be [..., K, D] with D >= 1", size)
        require_finite("vectors", self.vectors)
        super().__init__(self.vectors.shape[-1])

    def _mapped(self, x: Array) -> Array:
        # The product is applied from the right. Each reflection is its own inverse, so that the
        # inverse map is the same reflections in the other order.
        return self._reflect(x, reversed(range(self.vectors.shape[-2])))

    def _unmapped(self, y: Array) -> Array:
        return self._reflect(y, range(self.vectors.shape[-2]))

    def _reflect(self, x: Array, order: Iterable[int]) -> Array:
        for index in order:
            v = without_overflow(self.vectors[..., index, :])
            square = jnp.sum(v * v, axis=-1, keepdims=True)
            # Replaced before the division: otherwise a zero vector would have NaN gradients.
            weight = jnp.where(square > 0, 2 / jnp.where(square > 0, square, 1), 0)
            x = x - weight * jnp.sum(v * x, axis=-1, keepdims=True) * v
        return x

    def _log_det(self) -> Array:
        return jnp.zeros(self.vectors.shape[:-2], self.vectors.dtype)
