"""Linear maps of the last axis; here, those by any matrix."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import (
    Bijector,
    as_float,
    check_event,
    is_concrete,
    promoted,
    require_finite,
)
from dgmjax.errors import require
from dgmjax.types import Array, ArrayLike

HIGHEST = jax.lax.Precision.HIGHEST


def as_square(argument: str, matrix: ArrayLike) -> Array:
    matrix = as_float(matrix)
    require(
        matrix.ndim >= 2 and matrix.shape[-1] == matrix.shape[-2] and matrix.shape[-1] > 0,
        argument,
        "must be square, [..., D, D]",
        f"shape {matrix.shape}",
    )
    require_finite(argument, matrix)
    return matrix


def apply_matrix(matrix: Array, vector: Array) -> Array:
    return jnp.einsum("...ij,...j->...i", matrix, vector, precision=HIGHEST)


def solve_triangular(matrix: Array, vector: Array, lower: bool, unit: bool) -> Array:
    """matrix^-1 vector, for vectors with any leading shape.

    Leading axes of the vectors that the matrices `[..., D, D]` do not have become columns, with one
    solve per matrix.
    """
    dtype = jnp.promote_types(matrix.dtype, vector.dtype)
    matrix, vector = matrix.astype(dtype), vector.astype(dtype)
    own = matrix.ndim - 1  # axes of a vector that belong to a matrix
    lead, rest = vector.shape[: max(0, vector.ndim - own)], vector.shape[-own:-1] if own > 1 else ()
    batch = jnp.broadcast_shapes(matrix.shape[:-2], rest)
    vector = jnp.broadcast_to(vector, (*lead, *batch, vector.shape[-1]))
    columns = jnp.moveaxis(vector.reshape(math.prod(lead), *batch, vector.shape[-1]), 0, -1)
    solution = jax.lax.linalg.triangular_solve(
        jnp.broadcast_to(matrix, (*batch, *matrix.shape[-2:])),
        columns,
        left_side=True,
        lower=lower,
        unit_diagonal=unit,
    )
    return jnp.moveaxis(solution, -1, 0).reshape(vector.shape)


class LinearBijector(Bijector):
    """A linear map of `[..., D]`; subclasses define its action on vectors and its `_log_det`.

    Where one map meets more than D vectors (the positions of images), it is first applied to the
    basis: a single product then maps them all.
    """

    def __init__(self, features: int) -> None:
        super().__init__(event_ndims_in=1, is_constant_jacobian=True)
        self.features = int(features)

    def _mapped(self, x: Array) -> Array:
        """The map of vectors `[..., D]`."""
        raise NotImplementedError(f"{type(self).__name__} must define _mapped().")

    def _unmapped(self, y: Array) -> Array:
        """The inverse map of vectors `[..., D]`."""
        raise NotImplementedError(f"{type(self).__name__} must define _unmapped().")

    def _log_det(self) -> Array:
        """log|det| of the map, `[...]`."""
        raise NotImplementedError(f"{type(self).__name__} must define _log_det().")

    def forward(self, x: Array) -> Array:
        x = self._input(x)
        return self._to_all(promoted(self, x.dtype)._mapped, x)

    def inverse(self, y: Array) -> Array:
        y = self._input(y)
        return self._to_all(promoted(self, y.dtype)._unmapped, y)

    def _to_all(self, mapped: Callable[[Array], Array], x: Array) -> Array:
        single = all(leaf.ndim <= 2 for leaf in jax.tree.leaves(self))
        if not single or x.size <= self.features**2:
            return mapped(x)
        basis = mapped(jnp.eye(self.features, dtype=x.dtype))  # its rows are the columns of the map
        return jnp.matmul(x, basis, precision=HIGHEST)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        y = self.forward(x)
        return y, self._spread_log_det(y)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = self.inverse(y)
        return x, -self._spread_log_det(x)

    def _spread_log_det(self, x: Array) -> Array:
        return jnp.broadcast_to(promoted(self, x.dtype)._log_det(), x.shape[:-1])

    def _input(self, x: Array) -> Array:
        x = as_float(x)
        check_event(self, x, (self.features,), *(a.shape[:-2] for a in jax.tree.leaves(self)))
        return x


class Linear(LinearBijector):
    """x = W z, log_det = log|det W|; the inverse solves with W. Costs O(D^3) for W itself.

    Raises `DgmjaxError` if W is concrete and singular.
    """

    def __init__(self, matrix: ArrayLike) -> None:
        self.matrix = as_square("matrix", matrix)
        super().__init__(self.matrix.shape[-1])
        if is_concrete(self.matrix):
            # float32 has about 7 digits: at a condition number of 1e7 a solve loses all of them.
            condition = np.linalg.cond(np.asarray(self.matrix, np.float64)).max()
            require(
                condition < 1e7,
                "matrix",
                "must be invertible in float32",
                f"a condition number of {condition:.2g}",
                "Start from an orthogonal matrix, or use `LU`.",
            )

    def _mapped(self, x: Array) -> Array:
        return apply_matrix(self.matrix, x)

    def _unmapped(self, y: Array) -> Array:
        y = y.astype(jnp.promote_types(y.dtype, self.matrix.dtype))
        if self.matrix.ndim == 2:  # one factorisation
            columns = y.reshape(y.size // self.features, self.features).T
            return jnp.linalg.solve(self.matrix, columns).T.reshape(y.shape)
        return jnp.linalg.solve(self.matrix, y[..., None])[..., 0]

    def _log_det(self) -> Array:
        return jnp.linalg.slogdet(self.matrix)[1]
