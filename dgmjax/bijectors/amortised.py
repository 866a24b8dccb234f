"""Families of whole-vector bijectors, whose parameters an encoder predicts.

Each maps `params[..., num_params]`, of one flow for each example, to a bijector of `[..., D]`.
Zero parameters give the identity.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.bijectors.planar import Planar
from dgmjax.bijectors.radial import Radial
from dgmjax.bijectors.sylvester import (
    Sylvester,
    householder_columns,
    orthonormal_columns,
    permutation_columns,
)
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
from dgmjax.types import Array


def _split(params: Array, sizes: tuple[int, ...], family: object) -> list[Array]:
    params = as_float(params)
    check_shapes({"params": params}, params=f"... {sum(sizes)}")
    edges = [sum(sizes[:i]) for i in range(1, len(sizes))]
    return jnp.split(params, edges, axis=-1)


@dataclasses.dataclass(frozen=True)
class PlanarFamily:
    """`Planar` from 2 D + 1 parameters: u, w, b."""

    features: int

    @property
    def num_params(self) -> int:
        return 2 * self.features + 1

    def __call__(self, params: Array) -> Planar:
        u, w, b = _split(params, (self.features, self.features, 1), self)
        return Planar(u, w, b[..., 0])


@dataclasses.dataclass(frozen=True)
class RadialFamily:
    """`Radial` from D + 2 parameters: centre, alpha, beta."""

    features: int

    @property
    def num_params(self) -> int:
        return self.features + 2

    def __call__(self, params: Array) -> Radial:
        centre, alpha, beta = _split(params, (self.features, 1, 1), self)
        return Radial(centre, alpha[..., 0], beta[..., 0])


@dataclasses.dataclass(frozen=True)
class SylvesterFamily:
    """`Sylvester` from parameters: those of Q, then R and R' (M^2 + M numbers), then b.

    Args:
      features: D.
      parametrisation: "orthogonal" (Q from D M numbers), "householder" (Q from
        `num_reflections` D numbers) or "triangular" (Q fixed, M = D; `flip` reverses the order).
      num_columns: M; by default D.
      num_reflections: for "householder".
      flip: for "triangular".
    """

    features: int
    parametrisation: Literal["orthogonal", "householder", "triangular"] = "orthogonal"
    num_columns: int | None = None
    num_reflections: int = 8
    flip: bool = False

    def __post_init__(self) -> None:
        require(
            self.parametrisation in ("orthogonal", "householder", "triangular"),
            "parametrisation",
            'must be "orthogonal", "householder" or "triangular"',
            repr(self.parametrisation),
        )
        require(
            1 <= self.columns <= self.features,
            "num_columns",
            f"must lie in [1, {self.features}]",
            self.columns,
        )
        require(
            self.parametrisation != "triangular" or self.columns == self.features,
            "num_columns",
            f'must be {self.features}, the number of features, for "triangular"',
            self.columns,
        )

    @property
    def columns(self) -> int:
        return self.features if self.num_columns is None else self.num_columns

    @property
    def _basis_size(self) -> int:
        sizes = {
            "orthogonal": self.features * self.columns,
            "householder": self.features * self.num_reflections,
            "triangular": 0,
        }
        return sizes[self.parametrisation]

    @property
    def num_params(self) -> int:
        return self._basis_size + self.columns**2 + 2 * self.columns

    def __call__(self, params: Array) -> Sylvester:
        m = self.columns
        basis, matrix, diagonal, bias = _split(params, (self._basis_size, m * m, m, m), self)
        # One square matrix holds R in its upper triangle and the rest of R' in its lower one.
        matrix = matrix.reshape(*matrix.shape[:-1], m, m)
        # R' shares no entry with R but needs a diagonal of its own: the square matrix has only one.
        above = jnp.triu(jnp.swapaxes(matrix, -1, -2), 1)
        upper_tilde = above + diagonal[..., None] * jnp.eye(m, dtype=matrix.dtype)
        return Sylvester(self._basis(basis), matrix, upper_tilde, bias)

    def _basis(self, raw: Array) -> Array:
        if self.parametrisation == "orthogonal":
            return orthonormal_columns(raw.reshape(*raw.shape[:-1], self.features, self.columns))
        if self.parametrisation == "householder":
            shape = (*raw.shape[:-1], self.num_reflections, self.features)
            return householder_columns(raw.reshape(shape), self.columns)
        return permutation_columns(self.features, self.flip)
