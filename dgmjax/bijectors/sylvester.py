"""Sylvester flows, with an exact inverse, and three ways to parametrise them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax.linalg import triangular_solve

from dgmjax.bijectors.base import (
    Bijector,
    as_float,
    check_event,
    is_concrete,
    require_finite,
    without_overflow,
)
from dgmjax.bijectors.carry import scan
from dgmjax.bijectors.planar import solve_planar
from dgmjax.bijectors.solver import check_converged
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
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

    Source: van den Berg, Hasenclever, Tomczak & Welling, "Sylvester Normalizing Flows for
    Variational Inference", 2018, Eq. 11 to 13 and Theorem 2, https://arxiv.org/abs/1803.05649.
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
        sizes = check_shapes(
            self, basis="... D M", upper="... M M", upper_tilde="... M M", bias="... M"
        )
        fits = sizes["M"] <= sizes["D"]
        require(fits, "basis", "must be [..., D, M] with M <= D", f"shape {self.basis.shape}")
        require(0 < limit < 1, "limit", "must lie in (0, 1)", limit)
        require_finite("basis", self.basis)
        require_finite("upper, upper_tilde, bias", (self.upper, self.upper_tilde, self.bias))
        _check_orthonormal(self.basis)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        self._check_point(z)
        upper, upper_tilde = self._triangular()
        p = _apply(upper_tilde, self._project(z)) + self.bias
        return z + self._lift(_apply(upper, jnp.tanh(p))), _log_det(p, upper, upper_tilde)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        self._check_point(x)
        upper, upper_tilde = self._triangular()
        # R' Q^T times x = z + Q R tanh(p), plus b: with Q^T Q = I the right side is p + R' R
        # tanh(p).
        target = _apply(upper_tilde, self._project(x)) + self.bias
        product = jnp.matmul(upper_tilde, upper, precision=HIGHEST)
        p = check_converged(_back_substitute(product, target), target.sum(-1, keepdims=True))
        return x - self._lift(_apply(upper, jnp.tanh(p))), -_log_det(p, upper, upper_tilde)

    def _check_point(self, x: Array) -> None:
        matrices = self.basis, self.upper, self.upper_tilde
        batches = [a.shape[:-2] for a in matrices] + [self.bias.shape[:-1]]
        check_event(self, x, self.basis.shape[-2:-1], *batches)

    def _triangular(self) -> tuple[Array, Array]:
        eye = np.eye(self.basis.shape[-1], dtype=bool)
        above = np.triu(np.ones_like(eye), 1)

        def bounded(matrix: Array) -> Array:
            # |r_mm|, |r'_mm| < limit < 1: their product stays above -1, and every scalar equation
            # of the inverse increases.
            return jnp.where(eye, self.limit * jnp.tanh(matrix), jnp.where(above, matrix, 0))

        return bounded(self.upper), bounded(self.upper_tilde)

    def _project(self, z: Array) -> Array:
        return _apply(jnp.swapaxes(self.basis, -1, -2), z)

    def _lift(self, v: Array) -> Array:
        return _apply(self.basis, v)


def _check_orthonormal(basis: Array) -> None:
    if not is_concrete(basis):
        return
    columns = np.asarray(basis, np.float64)
    error = np.abs(np.swapaxes(columns, -1, -2) @ columns - np.eye(basis.shape[-1])).max()
    require(
        error < 1e-3,
        "basis",
        "must have orthonormal columns",
        f"a largest deviation of Q^T Q from the identity of {error:.2g}",
        "Use `orthonormal_columns`.",
    )


def _apply(matrix: Array, vector: Array) -> Array:
    return jnp.einsum("...ij,...j->...i", matrix, vector, precision=HIGHEST)


def _log_det(p: Array, upper: Array, upper_tilde: Array) -> Array:
    # det(I + Q R T R' Q^T) = det(I + T R' R) with T = diag(tanh'(p)): by Sylvester's identity D x D
    # becomes M x M, and triangular. 1 + r r' (1 - tanh^2) is written such that it does not cancel
    # where r r' nears -1.
    diagonal = _diagonal_of(upper) * _diagonal_of(upper_tilde)
    square = jnp.tanh(p) ** 2
    return jnp.sum(jnp.log(square + (1 + diagonal) * (1 - square)), axis=-1)


@jax.jit
def _back_substitute(product: Array, target: Array) -> Array:
    """p with p + product tanh(p) = target, for an upper triangular `product`."""
    columns = target.shape[-1]

    def solve_row(p: Array, row: Array) -> tuple[Array, None]:
        weights = jnp.take(product, row, axis=-2)
        # Row m reads tanh(p_l) of l > m only, which are solved by now; the rest of p is still zero.
        later = jnp.where(jnp.arange(columns) > row, weights, 0)
        rest = jnp.take(target, row, axis=-1) - jnp.sum(later * jnp.tanh(p), axis=-1)
        root = solve_planar(rest, 1 + jnp.take(weights, row, axis=-1))
        return jnp.where(jnp.arange(columns) == row, root[..., None], p), None

    shape = jnp.broadcast_shapes(target.shape, product.shape[:-1])
    p, _ = scan(solve_row, jnp.zeros(shape, target.dtype), jnp.arange(columns)[::-1])
    return p


def orthonormal_columns(matrix: Array) -> Array:
    """Q `[..., D, M]` from any `[..., D, M]`: Gram-Schmidt, twice, on A = `matrix` + I.

    Zeros give the first M columns of the identity. Products and sums only, so it is fast for a
    batch of matrices. With A = Q R and X = dA R^-1 the derivative is that of the QR decomposition,
        dQ = X - Q Q^T X + Q (L - L^T),  L = the part of Q^T X below its diagonal,
    which costs a tenth of going back through the M steps. Orthogonal Sylvester flows.
    """
    matrix = as_float(matrix)
    require(
        matrix.ndim >= 2 and matrix.shape[-1] <= matrix.shape[-2],
        "matrix",
        "must be [..., D, M] with M <= D",
        f"shape {matrix.shape}",
    )
    rows, columns = matrix.shape[-2:]
    return _gram_schmidt(matrix + jnp.eye(rows, columns, dtype=matrix.dtype))


@jax.custom_jvp
def _gram_schmidt(matrix: Array) -> Array:
    columns = matrix.shape[-1]

    def orthogonalise(basis: Array, index: Array) -> tuple[Array, None]:
        column = jnp.take(matrix, index, axis=-1)
        # Rounding in one pass leaves columns that are orthogonal to few digits where they are
        # nearly dependent; a second pass always suffices ("twice is enough").
        for _ in range(2):
            overlap = _apply(jnp.swapaxes(basis, -1, -2), column)
            column = column - _apply(basis, overlap)
            column = column * jax.lax.rsqrt(jnp.sum(column**2, axis=-1, keepdims=True) + 1e-30)
        return jnp.where(jnp.arange(columns) == index, column[..., None], basis), None

    return scan(orthogonalise, jnp.zeros_like(matrix), jnp.arange(columns))[0]


@_gram_schmidt.defjvp
def _gram_schmidt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (matrix,), (change,) = primals, tangents
    product = partial(jnp.matmul, precision=HIGHEST)
    basis = _gram_schmidt(matrix)
    transposed = jnp.swapaxes(basis, -1, -2)
    # A = Q R gives X = dA R^-1 = dQ + Q dR R^-1. In Q^T X = Q^T dQ + dR R^-1 the first is skew and
    # the second upper triangular, so that what is below the diagonal, L, fixes the first: Q^T dQ =
    # L - L^T. Hence dQ = X - Q dR R^-1 = X + Q (L - L^T - Q^T X).
    upper = jnp.triu(product(transposed, matrix))
    # A column that depends on those before it has no direction: keep its derivative finite.
    upper = upper + _diagonal(jnp.where(_diagonal_of(upper) == 0, 1, 0).astype(upper.dtype))
    change = triangular_solve(upper, change, left_side=False, lower=False)
    turn = product(transposed, change)
    lower = jnp.tril(turn, -1)
    turn = lower - jnp.swapaxes(lower, -1, -2) - turn
    return basis, change + product(basis, turn)


def householder_columns(vectors: Array, num_columns: int | None = None) -> Array:
    """The first `num_columns` columns of H_1 H_2 ... H_K, H_k = I - 2 v_k v_k^T / |v_k|^2.

    `vectors[..., K, D]`; the result is `[..., D, num_columns]`, by default square. A zero vector
    stands for no reflection. Householder Sylvester flows.

    With V the matrix of the rows v_k the product is I - V^T U^-1 V, where U has |v_k|^2 / 2 on its
    diagonal and the products v_k v_l, k < l, above it: one triangular system, not K products.

    Source: Joffrain, Low, Quintana-Orti, van de Geijn & Van Zee, "Accumulating Householder
    Transformations, Revisited", 2006, Theorem 1, https://doi.org/10.1145/1141885.1141886.
    """
    vectors = without_overflow(as_float(vectors))
    require(vectors.ndim >= 2, "vectors", "must be [..., K, D]", f"shape {vectors.shape}")
    size = vectors.shape[-1]
    columns = size if num_columns is None else num_columns
    require(1 <= columns <= size, "num_columns", f"must lie in [1, {size}]", columns)
    products = jnp.matmul(vectors, jnp.swapaxes(vectors, -1, -2), precision=HIGHEST)
    squares = _diagonal_of(products)
    # A zero vector has zero products with all others: with 1 on the diagonal the system stays
    # regular, and the vector moves nothing.
    halves = jnp.where(squares > 0, squares / 2, 1)
    upper = jnp.triu(products, 1) + _diagonal(halves)
    solved = triangular_solve(upper, vectors[..., :columns], left_side=True, lower=False)
    moved = jnp.matmul(jnp.swapaxes(vectors, -1, -2), solved, precision=HIGHEST)
    # Only the columns wanted were solved for: M of D.
    return jnp.eye(size, columns, dtype=vectors.dtype) - moved


def _diagonal_of(matrix: Array) -> Array:
    return jnp.diagonal(matrix, axis1=-2, axis2=-1)


def _diagonal(values: Array) -> Array:
    return values[..., None] * jnp.eye(values.shape[-1], dtype=values.dtype)


def permutation_columns(size: int, flip: bool = False) -> Array:
    """The identity, or the order reversed if `flip`: triangular Sylvester flows alternate."""
    eye = jnp.eye(size)
    return eye[::-1] if flip else eye
