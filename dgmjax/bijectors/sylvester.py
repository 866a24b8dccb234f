"""Sylvester flows, with an exact inverse, and three ways to parametrise them."""

import jax
import jax.numpy as jnp
import numpy as np
from distrax import Bijector

from dgmjax.bijectors.base import as_float, check_event, is_concrete, require_finite
from dgmjax.bijectors.planar import solve_planar
from dgmjax.bijectors.solver import check_converged
from dgmjax.errors import require
from dgmjax.types import Array

HIGHEST = jax.lax.Precision.HIGHEST


class Sylvester(Bijector):
    """x = z + Q R tanh(R' Q^T z + b): M planar flows at once.

    Q `[D, M]` has orthonormal columns; R and R' `[M, M]` are upper triangular.
    forward: log_det = sum_m log(1 + r_mm r'_mm tanh'(p_m)), p = R' Q^T z + b
    inverse: p solves p + (R' R) tanh(p) = R' Q^T x + b. The matrix R' R is upper triangular, so
             this is M increasing scalar equations, solved from the last to the first; each is
             bracketed and always converges. Then z = x - Q R tanh(p).

    Invertible where r_mm r'_mm > -1: the diagonals are `limit * tanh(given diagonal)`.

    Args:
      basis: Q, `[..., D, M]`: from `orthonormal_columns`, `householder_columns` or
        `permutation_columns` for the orthogonal, Householder and triangular flows.
      upper: R `[..., M, M]` before its diagonal is bounded; what is below the diagonal is
        ignored.
      upper_tilde: R', likewise.
      bias: b, `[..., M]`.
      limit: bound of the diagonals, in (0, 1). All zeros give the identity.

    Source: van den Berg, Hasenclever, Tomczak, Welling, "Sylvester Normalizing Flows for
    Variational Inference", 2018, Eq. 11-13 and Theorem 2.
    """

    def __init__(
        self,
        basis: Array,
        upper: Array,
        upper_tilde: Array,
        bias: Array,
        limit: float = 0.995,
    ) -> None:
        self.basis, self.bias = as_float(basis), as_float(bias)
        self.upper, self.upper_tilde = as_float(upper), as_float(upper_tilde)
        self._check(limit)
        super().__init__(event_ndims_in=1)
        self.limit = float(limit)

    def _check(self, limit: float) -> None:
        shape = self.basis.shape
        require(
            self.basis.ndim >= 2 and shape[-1] <= shape[-2],
            "basis",
            "must be [..., D, M] with M <= D",
            f"shape {shape}",
        )
        columns = shape[-1]
        for name, matrix in (("upper", self.upper), ("upper_tilde", self.upper_tilde)):
            require(
                matrix.shape[-2:] == (columns, columns),
                name,
                f"must be [..., {columns}, {columns}], as `basis` has {columns} columns",
                f"shape {matrix.shape}",
            )
        require(
            self.bias.shape[-1:] == (columns,),
            "bias",
            f"must be [..., {columns}], as `basis` has {columns} columns",
            f"shape {self.bias.shape}",
        )
        require(0 < limit < 1, "limit", "must lie in (0, 1)", limit)
        require_finite("basis", self.basis)
        require_finite("upper, upper_tilde, bias", (self.upper, self.upper_tilde, self.bias))
        if is_concrete(self.basis):
            basis = np.asarray(self.basis, np.float64)
            error = np.abs(np.swapaxes(basis, -1, -2) @ basis - np.eye(columns)).max()
            require(
                error < 1e-3,
                "basis",
                "must have orthonormal columns",
                f"a largest deviation of Q^T Q from the identity of {error:.2g}",
                "Use `orthonormal_columns`.",
            )

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        check_event(self, z, self.basis.shape[-2:-1])
        upper, upper_tilde = self._triangular()
        p = _apply(upper_tilde, self._project(z)) + self.bias
        return z + self._lift(_apply(upper, jnp.tanh(p))), _log_det(p, upper, upper_tilde)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        check_event(self, x, self.basis.shape[-2:-1])
        upper, upper_tilde = self._triangular()
        target = _apply(upper_tilde, self._project(x)) + self.bias
        product = jnp.matmul(upper_tilde, upper, precision=HIGHEST)
        p = check_converged(_back_substitute(product, target))
        return x - self._lift(_apply(upper, jnp.tanh(p))), -_log_det(p, upper, upper_tilde)

    def _triangular(self) -> tuple[Array, Array]:
        eye = np.eye(self.basis.shape[-1], dtype=bool)
        above = np.triu(np.ones_like(eye), 1)

        def bounded(matrix: Array) -> Array:
            return jnp.where(eye, self.limit * jnp.tanh(matrix), jnp.where(above, matrix, 0))

        return bounded(self.upper), bounded(self.upper_tilde)

    def _project(self, z: Array) -> Array:
        return _apply(jnp.swapaxes(self.basis, -1, -2), z)

    def _lift(self, v: Array) -> Array:
        return _apply(self.basis, v)


def _apply(matrix: Array, vector: Array) -> Array:
    return jnp.einsum("...ij,...j->...i", matrix, vector, precision=HIGHEST)


def _log_det(p: Array, upper: Array, upper_tilde: Array) -> Array:
    diagonal = jnp.diagonal(upper, axis1=-2, axis2=-1)
    diagonal = diagonal * jnp.diagonal(upper_tilde, axis1=-2, axis2=-1)
    square = jnp.tanh(p) ** 2
    return jnp.sum(jnp.log(square + (1 + diagonal) * (1 - square)), axis=-1)


@jax.jit
def _back_substitute(product: Array, target: Array) -> Array:
    """p with p + product tanh(p) = target, for an upper triangular `product`."""
    columns = target.shape[-1]

    def solve_row(p: Array, row: Array) -> tuple[Array, None]:
        weights = jnp.take(product, row, axis=-2)
        later = jnp.where(jnp.arange(columns) > row, weights, 0)
        rest = jnp.take(target, row, axis=-1) - jnp.sum(later * jnp.tanh(p), axis=-1)
        root = solve_planar(rest, 1 + jnp.take(weights, row, axis=-1))
        return jnp.where(jnp.arange(columns) == row, root[..., None], p), None

    shape = jnp.broadcast_shapes(target.shape, product.shape[:-1])
    p, _ = jax.lax.scan(solve_row, jnp.zeros(shape, target.dtype), jnp.arange(columns)[::-1])
    return p


def orthonormal_columns(matrix: Array) -> Array:
    """Q `[..., D, M]` from any `[..., D, M]`: Gram-Schmidt, twice, on `matrix + I`.

    Zeros give the first M columns of the identity. Products and sums only, so it is fast for a
    batch of matrices and differentiable. Orthogonal Sylvester flows.
    """
    matrix = as_float(matrix)
    require(
        matrix.ndim >= 2 and matrix.shape[-1] <= matrix.shape[-2],
        "matrix",
        "must be [..., D, M] with M <= D",
        f"shape {matrix.shape}",
    )
    rows, columns = matrix.shape[-2:]
    matrix = matrix + jnp.eye(rows, columns, dtype=matrix.dtype)

    def orthogonalise(basis: Array, index: Array) -> tuple[Array, None]:
        column = jnp.take(matrix, index, axis=-1)
        for _ in range(2):
            overlap = _apply(jnp.swapaxes(basis, -1, -2), column)
            column = column - _apply(basis, overlap)
            column = column * jax.lax.rsqrt(jnp.sum(column**2, axis=-1, keepdims=True) + 1e-30)
        return jnp.where(jnp.arange(columns) == index, column[..., None], basis), None

    return jax.lax.scan(orthogonalise, jnp.zeros_like(matrix), jnp.arange(columns))[0]


def householder_columns(vectors: Array, num_columns: int | None = None) -> Array:
    """The first `num_columns` columns of H_1 H_2 ... H_K, H_k = I - 2 v_k v_k^T / |v_k|^2.

    `vectors[..., K, D]`; the result is `[..., D, num_columns]`, by default square. A zero vector
    stands for no reflection. Householder Sylvester flows.
    """
    vectors = as_float(vectors)
    require(vectors.ndim >= 2, "vectors", "must be [..., K, D]", f"shape {vectors.shape}")
    count, size = vectors.shape[-2:]
    columns = size if num_columns is None else num_columns
    require(1 <= columns <= size, "num_columns", f"must lie in [1, {size}]", columns)
    basis = jnp.broadcast_to(
        jnp.eye(size, columns, dtype=vectors.dtype), (*vectors.shape[:-2], size, columns)
    )
    for index in reversed(range(count)):
        v = vectors[..., index, :]
        square = jnp.sum(v * v, axis=-1)[..., None, None]
        overlap = _apply(jnp.swapaxes(basis, -1, -2), v)
        outer = v[..., :, None] * overlap[..., None, :]
        basis = basis - jnp.where(square > 0, 2 * outer / jnp.where(square > 0, square, 1), 0)
    return basis


def permutation_columns(size: int, flip: bool = False) -> Array:
    """The identity, or the order reversed if `flip`: triangular Sylvester flows alternate."""
    eye = jnp.eye(size)
    return eye[::-1] if flip else eye
