"""Linear maps by an LU factorisation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import StaticArray
from dgmjax.bijectors.linear import (
    Linear,
    LinearBijector,
    apply_matrix,
    as_square,
    solve_triangular,
)
from dgmjax.bijectors.permutation import Permutation
from dgmjax.errors import require
from dgmjax.types import Array, ArrayLike


class LU(LinearBijector):
    """x = P L U z: L unit lower triangular, U upper triangular, P a fixed permutation.

    log_det = sum log|diag U|. Any invertible matrix, up to signs, at O(D^2).

    Args:
      matrix: `[..., D, D]`: L below the diagonal, U above it, log|diag U| on it. Zeros give the
        permutation alone.
      permutation: P: entry i of x is entry `permutation[i]` of L U z. Default: none.
      signs: signs of diag U, fixed. Default: all positive.

    `LU.from_matrix(W)` factorises a given matrix, a random rotation for instance.

    Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
    Eq. 10 and 11, https://arxiv.org/abs/1807.03039.
    """

    def __init__(self, matrix: ArrayLike, permutation: Any = None, signs: Any = None) -> None:
        self.matrix = as_square("matrix", matrix)
        super().__init__(self.matrix.shape[-1])
        size = self.features
        self.permutation = Permutation(range(size) if permutation is None else permutation)
        require(
            self.permutation.features == size,
            "permutation",
            f"must have {size} entries, as `matrix` is {size} x {size}",
            self.permutation.features,
        )
        fixed = np.ones(size) if signs is None else np.asarray(signs)
        require(
            fixed.shape == (size,) and bool((np.abs(fixed) == 1).all()),
            "signs",
            f"must be {size} entries of 1 or -1",
            fixed,
        )
        # Not learned: an entry that changes its sign passes through a singular matrix.
        self.signs = StaticArray(fixed.astype(np.float32))

    @classmethod
    def from_matrix(cls, matrix: Array) -> "LU":
        """The factorisation of one concrete, invertible matrix `[D, D]`."""
        concrete = Linear(matrix).matrix
        require(concrete.ndim == 2, "matrix", "must be [D, D]", f"shape {concrete.shape}")
        lu, _, order = jax.lax.linalg.lu(concrete)
        diagonal = np.diagonal(np.asarray(lu))
        packed = np.array(lu)
        np.fill_diagonal(packed, np.log(np.abs(diagonal)))
        # lu holds W[order] = L U, so W is L U with its rows put back.
        return cls(jnp.asarray(packed), np.argsort(np.asarray(order)), np.sign(diagonal))

    def _mapped(self, x: Array) -> Array:
        lower, upper = self._factors()
        return self.permutation.forward(apply_matrix(lower, apply_matrix(upper, x)))

    def _unmapped(self, y: Array) -> Array:
        lower, upper = self._factors()
        z = self.permutation.inverse(y)
        z = solve_triangular(lower, z, lower=True, unit=True)
        return solve_triangular(upper, z, lower=False, unit=False)

    def _factors(self) -> tuple[Array, Array]:
        eye = np.eye(self.features, dtype=bool)
        diagonal = self.signs.value * jnp.exp(jnp.diagonal(self.matrix, axis1=-2, axis2=-1))
        lower = jnp.where(eye, 1, jnp.tril(self.matrix, -1))
        return lower, jnp.where(eye, diagonal[..., None], jnp.triu(self.matrix, 1))

    def _log_det(self) -> Array:
        return jnp.trace(self.matrix, axis1=-2, axis2=-1)
