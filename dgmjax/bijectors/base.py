"""Base of all bijectors: shape and finiteness checks, float32 sums, static arrays.

Conventions, for all of `dgmjax.bijectors`:

* `forward` goes from the base `z` to the data `x`; `log_det` is the log absolute determinant of
  the Jacobian of the direction asked for, in nats, summed over the event.
* Arrays have shape `sample_shape + batch_shape + event_shape`; everything broadcasts over the
  leading dimensions.
* Inputs are promoted to at least float32, and so are parameters: a log-determinant is never
  summed in bfloat16.
* A bijector is a pytree (`dgmjax.bijectors.pytrees`). Its arrays are leaves; numbers, strings and
  `StaticArray`s are part of the tree's structure, so that equal bijectors, newly built, compile
  once.
* A finite point outside of the domain, or whose inverse does not converge, raises an error where
  its values are concrete and gives NaN under a transformation. A point with NaN or infinite
  entries raises none: its value or its log-determinant, or both, are not finite (NaN, or an
  infinity where the map has that limit), so that its log-density is NaN or -infinity, with and
  without `jit`. The other events of the batch are not affected.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from itertools import zip_longest
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.pytrees import Pytree
from dgmjax.errors import DataError, DgmjaxError, require
from dgmjax.shapes import require_event
from dgmjax.types import Array, PyTree

__all__ = [
    "Bijector",
    "StaticArray",
    "as_float",
    "broadcast_context",
    "check_batch",
    "check_event",
    "check_ndims",
    "is_concrete",
    "predicted",
    "promoted",
    "require_finite",
    "require_inside",
    "sum_last",
    "without_overflow",
]


class Bijector(Pytree, distrax.Bijector):
    """Base class of every bijector here: distrax's, as a complete pytree with keys.

    A subclass stores arrays and other bijectors, and everything else as static fields that compare
    by value; it defines `forward_and_log_det` and, usually, `inverse_and_log_det`.
    """


class StaticArray:
    """A NumPy array that is compared and hashed by value, so a pytree may hold it as structure.

    >>> StaticArray([1, 0]) == StaticArray([1, 0])
    True
    """

    __slots__ = ("_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = np.array(value)
        self.value.setflags(write=False)
        self._key = (self.value.shape, self.value.dtype.str, self.value.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticArray) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"StaticArray({self.value!r})"


def as_float(x: Any) -> Array:
    """`x` as an array of at least float32 (integers, bfloat16 and float16 are promoted)."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def promoted(tree: Any, dtype: Any) -> Any:
    """`tree` with its floating-point leaves in at least `dtype`; itself if they are already.

    The map of a float64 point by float32 parameters is computed, and its log-determinant summed,
    in float64.
    """
    wider = lambda leaf: jnp.promote_types(leaf.dtype, dtype)
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating)]
    if all(leaf.dtype == wider(leaf) for leaf in leaves):
        return tree

    def promote(leaf: Any) -> Any:
        return leaf.astype(wider(leaf)) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(promote, tree)


def without_overflow(vector: Array) -> Array:
    """`vector[..., D]`, divided by its largest entry where its square would over- or underflow.

    For maps that depend on the direction of a vector only.
    """
    square = jnp.sum(vector * vector, axis=-1, keepdims=True)
    # The map depends on the direction only, so that the gradient through the divisor is zero: held,
    # it does not have to be computed.
    largest = jax.lax.stop_gradient(jnp.abs(vector).max(-1, keepdims=True))
    sound = ((square > 1e-30) & (square < 1e30)) | (largest == 0)
    # In two steps: the reciprocal of a number above 8e37 is flushed to 0.
    root = jnp.where(sound, 1, jnp.sqrt(largest))
    return vector / root / root


def sum_last(log_det: Array, ndims: int) -> Array:
    """Sums the last `ndims` dimensions, in at least float32."""
    return as_float(log_det).sum(axis=tuple(range(-ndims, 0))) if ndims else as_float(log_det)


def is_concrete(x: Any) -> bool:
    """Whether the values of `x` can be read now: false for tracers and arrays on other hosts."""
    if isinstance(x, jax.core.Tracer):
        return False
    return bool(getattr(x, "is_fully_addressable", True))


_predicted: ContextVar[bool] = ContextVar("predicted", default=False)


@contextlib.contextmanager
def predicted() -> Iterator[None]:
    """Inside, parameters come from a network, and may be NaN where its input is."""
    token = _predicted.set(True)
    try:
        yield
    finally:
        _predicted.reset(token)


def require_finite(argument: str, tree: PyTree) -> None:
    """Raises `DgmjaxError` if a concrete array of `tree` holds NaN or infinity.

    Inside `predicted()` nothing is raised.
    """
    if _predicted.get():
        return
    for leaf in jax.tree.leaves(tree):
        # Transformations rebuild trees from placeholders; only real numbers are looked at.
        if not isinstance(leaf, jax.Array | np.ndarray | float | int) or not is_concrete(leaf):
            continue
        values = np.asarray(leaf)
        if values.dtype.kind in "biu":
            continue
        bad = int(np.size(values) - np.isfinite(values.astype(np.float64)).sum())
        require(
            bad == 0,
            argument,
            "must be finite",
            f"{bad} of {values.size} entries that are NaN or infinite",
            "Look for a diverged training run.",
        )


def require_inside(argument: str, x: Array, inside: Array, domain: str, remedy: str = "") -> None:
    """Raises `DataError` if concrete, finite points of `x` lie outside of a bijector's domain."""
    if not is_concrete(inside):
        return
    outside = ~np.asarray(inside) & np.isfinite(np.asarray(x))
    if outside.any():
        first = np.asarray(x)[outside].flat[0]
        require(
            False,
            argument,
            f"must lie in {domain}",
            f"{int(outside.sum())} of {outside.size} entries outside, the first {first}",
            remedy,
            DataError,
        )


def check_ndims(bijector: Any, x: Array, event_ndims: int) -> None:
    """Raises `DgmjaxError` if `x` has fewer dimensions than one event."""
    require(
        x.ndim >= event_ndims,
        "x",
        f"must have at least {event_ndims} dimensions, the event of {type(bijector).__name__}",
        f"shape {x.shape}",
    )


def check_batch(owner: Any, batch: Sequence[int], *own: Sequence[int]) -> None:
    """Raises `DgmjaxError` unless the batch shape of points broadcasts against that of parameters.

    Args:
      owner: the bijector or distribution, for its name.
      batch: of the points.
      *own: of the parameters of `owner`: that of the context, where one predicts them.
    """
    sizes = zip_longest(*(reversed(shape) for shape in (batch, *own)), fillvalue=1)
    shapes = " and ".join(str(tuple(shape)) for shape in dict.fromkeys(map(tuple, own)))
    require(
        all(len({*column} - {1}) <= 1 for column in sizes),
        "x",
        f"must have a batch shape that broadcasts against {shapes}, that of the parameters "
        f"(or of the context that predicts them) of {type(owner).__name__}",
        f"batch shape {tuple(batch)}",
        "Give one context for each point.",
    )


def check_event(
    bijector: Any, x: Array, event_shape: Sequence[int], *batch_shapes: Sequence[int]
) -> None:
    """Raises `DgmjaxError` unless the last dimensions of `x` are `event_shape`.

    Those before it must broadcast against `batch_shapes`, those of the bijector's parameters.
    """
    batch = require_event(x, event_shape, owner=type(bijector).__name__)
    check_batch(bijector, batch, *batch_shapes)


def broadcast_context(
    x: Array, event_ndims: int, context: PyTree | None, context_ndims: int = 1
) -> tuple[Array, PyTree | None]:
    """Gives `x` and every leaf of `context` one common batch shape.

    The last `event_ndims` dimensions of `x` and the last `context_ndims` of each leaf of
    `context` stay; the dimensions before them broadcast against each other.
    """
    if context is None:
        return x, None
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(context)]
    for leaf in leaves:
        require(
            leaf.ndim >= context_ndims,
            "context",
            f"must have at least `context_ndims` = {context_ndims} dimensions",
            f"shape {leaf.shape}",
        )
    shapes = [leaf.shape[: leaf.ndim - context_ndims] for leaf in leaves]
    try:
        batch = jnp.broadcast_shapes(x.shape[: x.ndim - event_ndims], *shapes)
    except ValueError as error:
        raise DgmjaxError(
            f"`context` must broadcast against the batch shape "
            f"{x.shape[: x.ndim - event_ndims]} of the input; got batch shape(s) {shapes}."
        ) from error
    context = jax.tree.map(
        lambda leaf: jnp.broadcast_to(
            leaf, batch + jnp.shape(leaf)[jnp.ndim(leaf) - context_ndims :]
        ),
        context,
    )
    return jnp.broadcast_to(x, batch + x.shape[x.ndim - event_ndims :]), context
