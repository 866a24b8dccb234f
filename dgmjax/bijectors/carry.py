"""Loops and branches, by value or by platform; in `shard_map` arrays vary over its axes."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.types import PyTree


def varying(start: PyTree, step: Callable[[PyTree], PyTree]) -> PyTree:
    """`start`, whose arrays vary over the mesh axes over which those after `step` vary.

    Inside `shard_map` the type of an array says over which axes its values may differ. A loop
    must carry one type, but zeros vary over none until they meet the data. Outside of `shard_map`
    nothing is done, and `step` is not traced.

    Args:
      start: what the loop carries at first.
      step: one pass of the loop's body, `carry -> carry`.
    """
    settled = not jax.sharding.get_abstract_mesh().manual_axes
    while not settled:  # each pass adds an axis to one leaf at least
        before = jax.tree.map(lambda leaf: _axes(jax.typeof(leaf)), start)
        start = jax.tree.map(_cast, start, jax.eval_shape(step, start))
        settled = before == jax.tree.map(lambda leaf: _axes(jax.typeof(leaf)), start)
    return start


def _cast(leaf: Any, after: Any) -> Any:
    missing = tuple(sorted(_axes(after) - _axes(jax.typeof(leaf))))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf


def _axes(kind: Any) -> frozenset[str]:
    """The axes over which an array of this type varies (the attribute's name depends on JAX)."""
    manual = getattr(kind, "manual_axis_type", None)
    return frozenset(manual.varying if manual is not None else getattr(kind, "vma", None) or ())


def widened(start: PyTree, step: Callable[[PyTree], PyTree]) -> PyTree:
    """`start`, whose floating-point arrays are as wide as those after `step`.

    With `jax_enable_x64` parameters of float32 meet zeros of float64, and a loop must carry one
    type. Without it nothing is done, and `step` is not traced.
    """
    settled = jax.dtypes.canonicalize_dtype("float64") != "float64"
    while not settled:  # each pass widens one leaf at least
        before = start
        start = jax.tree.map(_widen, start, jax.eval_shape(step, start))
        settled = all(map(operator.is_, jax.tree.leaves(before), jax.tree.leaves(start)))
    return start


def _widen(leaf: Any, after: Any) -> Any:
    if not hasattr(leaf, "dtype"):  # a Python number takes any type
        return leaf
    narrow = jnp.issubdtype(after.dtype, jnp.floating) and leaf.dtype != after.dtype
    narrow = narrow and jnp.promote_types(leaf.dtype, after.dtype) == after.dtype
    return leaf.astype(after.dtype) if narrow else leaf


def scan(body: Callable, start: PyTree, xs: PyTree, **options: Any) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan`, also where the carry starts narrower than it ends.

    That is with fewer varying axes, or with floating-point arrays of fewer bits.
    """
    first = lambda carry: body(carry, jax.tree.map(lambda leaf: leaf[0], xs))[0]
    return jax.lax.scan(body, varying(widened(start, first), first), xs, **options)


def fori_loop(
    lower: int, upper: int, body: Callable[[Any, PyTree], PyTree], start: PyTree
) -> PyTree:
    """`jax.lax.fori_loop`, with the same liberties as `scan`."""
    first = lambda carry: body(lower, carry)
    return jax.lax.fori_loop(lower, upper, body, varying(widened(start, first), first))


def cond(condition: Any, true: Callable, false: Callable, *operands: PyTree) -> PyTree:
    """`jax.lax.cond`, also where one branch varies over fewer axes than the other."""
    return jax.lax.cond(condition, *_alike(true, false, operands), *operands)


def by_platform(cpu: Callable, others: Callable, *operands: PyTree) -> PyTree:
    """`cpu(*operands)` where the program is compiled for a CPU, elsewhere `others(*operands)`.

    The choice is made when the program is lowered, not when it is traced: what is traced, or
    exported, on one platform is right and fast on another. Both branches are traced, so that
    their derivatives should need the same residuals, at best the operands themselves.

    >>> int(by_platform(lambda x: x + 1, lambda x: 1 + x, 1))
    2
    """
    cpu, others = _alike(cpu, others, operands)
    return jax.lax.platform_dependent(*operands, cpu=cpu, default=others)


def _alike(one: Callable, other: Callable, operands: tuple) -> tuple[Callable, Callable]:
    """Both, with results that vary over the same axes."""
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return one, other
    of_one, of_other = jax.eval_shape(one, *operands), jax.eval_shape(other, *operands)
    return _cast_result(one, of_other), _cast_result(other, of_one)


def _cast_result(branch: Callable, other: PyTree) -> Callable:
    return lambda *operands: jax.tree.map(_cast, branch(*operands), other)
