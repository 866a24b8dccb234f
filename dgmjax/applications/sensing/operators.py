"""Linear measurements y = A x + n, n ~ N(0, scale^2 I): compression, inpainting, averages, noise.

An operator is data and the name of a pure function, so that it passes through `jit` as a pytree
and equal kinds compile once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import as_float
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.shapes import require_event
from dgmjax.types import Array, ArrayLike, Key, PyTree


def _matrix(matrix: Array, x: Array, ndims: int) -> Array:
    return _flat(x, ndims) @ matrix.T


def _entries(indices: Array, x: Array, ndims: int) -> Array:
    return jnp.take(_flat(x, ndims), indices, axis=-1)


def _separable(matrices: tuple[Array, ...], x: Array, ndims: int) -> Array:
    return _flat(along_axes(matrices, x, ndims), ndims)


APPLY: dict[str, Callable[[PyTree, Array, int], Array]] = {
    "matrix": _matrix,
    "entries": _entries,
    "separable": _separable,
}
"""(data, x[..., *event], rank of the event) -> A x `[..., m]`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Operator:
    """y = A x + n with n ~ N(0, scale^2 I) for x of `event_shape`; y is a vector `[..., m]`.

    Made by `measurement_matrix`, `random_measurements`, `inpainting`, `block_average` and
    `denoising`.

    Attributes:
      kind: row of `APPLY`.
      event_shape: of x.
      data: what that row reads.
      scale: standard deviation of the noise of a measurement.

    >>> operator = block_average((4, 4, 1), 2)
    >>> operator.size, operator(jnp.ones((3, 4, 4, 1))).shape
    (4, (3, 4))
    """

    kind: str = field(metadata={"static": True})
    event_shape: tuple[int, ...] = field(metadata={"static": True})
    data: Any
    scale: Array | float = 0.0

    def __call__(self, x: Array) -> Array:
        """A x, without noise, in floating point also for whole and boolean x."""
        require_event(x, self.event_shape)
        return APPLY[self.kind](self.data, as_float(x), len(self.event_shape))

    @property
    def size(self) -> int:
        """m, the number of measurements."""
        return jax.eval_shape(self, jax.ShapeDtypeStruct(self.event_shape, jnp.float32)).shape[-1]

    def observe(self, key: Key, x: Array) -> Array:
        """A x + n."""
        y = self(x)
        return y + self.scale * jax.random.normal(key, y.shape, y.dtype)

    def adjoint(self, y: Array) -> Array:
        """A^T y `[..., *event]`."""
        self.check(y)
        y = as_float(y)
        x = jax.ShapeDtypeStruct((*y.shape[:-1], *self.event_shape), y.dtype)
        # A may be wider than y, and its transpose takes what A returns.
        return jax.linear_transpose(self, x)(y.astype(jax.eval_shape(self, x).dtype))[0]

    def matrix(self) -> Array:
        """A, `[m, D]`."""
        dims = math.prod(self.event_shape)
        return self(jnp.eye(dims).reshape(dims, *self.event_shape)).T

    def check(self, y: Array) -> None:
        """Raises `DgmjaxError` unless y holds the measurements of this operator."""
        rule = f"must end in the {self.size} measurements of the operator"
        require(jnp.shape(y)[-1:] == (self.size,), "y", rule, f"shape {jnp.shape(y)}")


def measurement_matrix(
    matrix: ArrayLike, event_shape: tuple[int, ...], scale: float = 0.0
) -> Operator:
    """y = A x for a matrix `[m, D]` that reads x in raster order."""
    shape, array = as_sizes("event_shape", event_shape), as_float(matrix)
    dims = math.prod(shape)
    fits = array.ndim == 2 and array.shape[1] == dims and array.shape[0] >= 1
    rule = f"must be [m, {dims}] with m >= 1, for events of shape {shape}"
    require(fits, "matrix", rule, f"shape {array.shape}")
    return _made("matrix", shape, array, scale)


def random_measurements(
    key: Key, size: int, event_shape: tuple[int, ...], scale: float = 0.0
) -> Operator:
    """y = A x with A_ij ~ N(0, 1/m): E |A x|^2 = |x|^2, whatever the number m of measurements.

    Source: Bora, Jalal, Price & Dimakis, "Compressed Sensing using Generative Models", 2017,
    section 6.1, https://arxiv.org/abs/1703.03208.
    """
    require_sizes(size=size)
    dims = math.prod(as_sizes("event_shape", event_shape))
    matrix = jax.random.normal(key, (size, dims)) / math.sqrt(size)
    return measurement_matrix(matrix, event_shape, scale)


def inpainting(observed: ArrayLike, scale: float = 0.0) -> Operator:
    """y = the entries of x at which `observed[*event]` is true, in raster order."""
    array = np.asarray(observed)
    boolean = bool(array.dtype == bool and array.any())
    given = f"{int(array.astype(bool).sum())} entries, {array.dtype}"
    require(boolean, "observed", "must be a boolean array with an entry that is true", given)
    return _made("entries", array.shape, jnp.asarray(np.flatnonzero(array)), scale)


def block_average(event_shape: tuple[int, ...], factor: int, scale: float = 0.0) -> Operator:
    """y = the means of blocks of `factor` entries along each axis: a lower resolution.

    The axis of channels, where there are several axes, stays as it is: images `[H, W, C]` have
    blocks of factor^2 pixels, sound `[T]` of `factor` samples.
    """
    shape = as_sizes("event_shape", event_shape)
    require_sizes(factor=factor)
    spatial = shape[:-1] if len(shape) > 1 else shape
    divides = all(size % factor == 0 for size in spatial)
    require(divides, "factor", f"must divide the sides {spatial}", factor)
    mean = lambda n: jnp.repeat(jnp.eye(n // factor), factor, 1) / factor
    return _made("separable", shape, tuple(mean(size) for size in spatial), scale)


def denoising(event_shape: tuple[int, ...], scale: float) -> Operator:
    """y = x + n."""
    return _made("separable", as_sizes("event_shape", event_shape), (), scale)


def low_resolution_shape(operator: Operator) -> tuple[int, ...]:
    """The shape of A x as an image or a sequence, of a `block_average`."""
    separable = operator.kind == "separable"
    require(separable, "operator", "must act along the axes of x", operator.kind)
    sizes = tuple(matrix.shape[0] for matrix in operator.data)
    return sizes + operator.event_shape[len(sizes) :]


def along_axes(matrices: tuple[Array, ...], x: Array, ndims: int) -> Array:
    """The i-th matrix `[n', n]` applied along the i-th axis of events of `ndims` axes."""
    for place, matrix in enumerate(matrices):
        axis = x.ndim - ndims + place
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    return x


def _made(kind: str, shape: tuple[int, ...], data: PyTree, scale: float) -> Operator:
    require(0.0 <= scale < math.inf, "scale", "must be a finite number, at least 0", scale)
    return Operator(kind, shape, data, scale)


def _flat(x: Array, ndims: int) -> Array:
    return x.reshape(*x.shape[: x.ndim - ndims], math.prod(x.shape[x.ndim - ndims :]))
