"""Permutations of parameters whose gradients are permutations again."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.types import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def permuted(values: Array, order: Array, axis: int = 0) -> Array:
    """`values[order]` along an axis, for an `order` that holds every place of it once.

    The gradient is that of the inverse permutation, a second look-up. By default JAX scatters into
    zeros, since it cannot know that no place occurs twice; on a CPU that takes seven times as long.
    Only reverse mode is supported.

    Args:
      values: `[..., n, ...]`.
      order: a permutation of 0 .. n - 1; not checked, it may be traced.
      axis: of `values`, the one of n.

    >>> permuted(jnp.array([10, 20, 30]), jnp.array([2, 0, 1])).tolist()
    [30, 10, 20]
    """
    return jnp.take(values, order, axis)


def _forward(values: Array, order: Array, axis: int) -> tuple[Array, Array]:
    return permuted(values, order, axis), order


def _backward(axis: int, order: Array, cotangent: Array) -> tuple[Array, np.ndarray]:
    # The transpose of a permutation is its inverse. An integer argument has the tangent type
    # float0, of no numbers.
    return jnp.take(cotangent, jnp.argsort(order), axis), np.zeros(order.shape, jax.dtypes.float0)


permuted.defvjp(_forward, _backward)
