"""Triangular linear maps."""

import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.linear import LinearBijector, apply_matrix, as_square, solve_triangular
from dgmjax.types import Array, ArrayLike


class Triangular(LinearBijector):
    """x = L z with L triangular and a positive diagonal; log_det = sum log diag L.

    Args:
      matrix: `[..., D, D]`; its diagonal is the *logarithm* of that of L, and what is on the
        other side of the diagonal is ignored. Zeros give the identity.
      lower: lower or upper triangular.
    """

    def __init__(self, matrix: ArrayLike, lower: bool = True) -> None:
        self.matrix = as_square("matrix", matrix)
        super().__init__(self.matrix.shape[-1])
        self.lower = bool(lower)

    def _mapped(self, x: Array) -> Array:
        return apply_matrix(self._triangle(), x)

    def _unmapped(self, y: Array) -> Array:
        return solve_triangular(self._triangle(), y, lower=self.lower, unit=False)

    def _triangle(self) -> Array:
        strict = jnp.tril(self.matrix, -1) if self.lower else jnp.triu(self.matrix, 1)
        eye = np.eye(self.features, dtype=bool)
        return jnp.where(eye, jnp.exp(jnp.where(eye, self.matrix, 0)), strict)

    def _log_det(self) -> Array:
        return jnp.trace(self.matrix, axis1=-2, axis2=-1)
