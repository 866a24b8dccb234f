"""Products with masked matrices whose zeros are below a staircase."""

import math
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.carry import by_platform
from dgmjax.types import Array

LEAST = 128
"""Rows and columns of a matrix that is worth halving: smaller products are all overhead."""
PARTS = 4


def staircase_product(h: Array, kernel: Array, seen: np.ndarray) -> Array:
    """h @ (kernel * M) `[..., columns]` with M[j, k] = 1 for j < seen[k], and zeros elsewhere.

    Masks of autoregressive networks have this form when units are sorted by degree. On CPUs the
    columns are halved: the left half leaves out the rows that none of its columns sees, so that
    three blocks of four of a triangle are multiplied (gradients of 512 x 512 take 0.8 of the time).
    A second halving gained nothing in whole models, and one product is faster on accelerators.

    Args:
      h: `[..., rows]`.
      kernel: `[rows, columns]`; masked entries are not read.
      seen: how many rows each column sees, `[columns]`, not decreasing.

    >>> staircase_product(jnp.ones((1, 2)), jnp.ones((2, 3)), np.array([0, 1, 2])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    batch = h.shape[:-1]
    flat = h.reshape(math.prod(batch), h.shape[-1])  # over several axes gradients cost more
    if min(kernel.shape) < LEAST:
        return _masked_product(flat, kernel, np.asarray(seen)).reshape(*batch, kernel.shape[1])
    most, all_see, halved, whole = _halves(tuple(np.asarray(seen).tolist()))
    # Sliced out here, not in the branch: rounding then adds the three cotangents to those of other
    # uses of h in the order in which it would without a choice of platforms.
    parts = flat[:, :most], flat[:, all_see:], flat[:, :all_see]
    return by_platform(halved, whole, flat, kernel, *parts).reshape(*batch, kernel.shape[1])


@lru_cache(maxsize=64)
def _halves(counts: tuple[int, ...]) -> tuple[int, int, Callable, Callable]:
    """Where the rows are cut, and the product by halves and as a whole.

    Layers with equal masks have the same functions, which JAX traces once.
    """
    # The columns of the left half see no row from `most` on. Those of the right half all see the
    # rows before `all_see`: a full product, without a mask.
    seen, half = np.array(counts), len(counts) // 2
    most, all_see = counts[half - 1], counts[half]

    def halved(_, kernel: Array, left: Array, right: Array, full: Array) -> Array:
        left = _masked_product(left, kernel[:most, :half], seen[:half])
        right = _masked_product(right, kernel[all_see:, half:], seen[half:] - all_see)
        return jnp.concatenate([left, full @ kernel[:all_see, half:] + right], -1)

    return most, all_see, halved, lambda h, kernel, *parts: _masked_product(h, kernel, seen)


def _masked_product(h: Array, kernel: Array, seen: np.ndarray) -> Array:
    mask = np.arange(len(kernel))[:, None] < seen
    return h @ (kernel if mask.all() else jnp.where(mask, kernel, 0))


def prefix_product(columns: Array, h: Array, known: Array) -> Array:
    """columns.T @ h `[units, N]` where h is zero from the place `known` on.

    On processors only the quarters of h are multiplied that have begun.

    Args:
      columns: `[features, units]`.
      h: `[features, N]`.
      known: how many features may differ from zero.

    >>> h = jnp.array([[1.0], [2.0], [0.0]])
    >>> prefix_product(jnp.ones((3, 2)), h, jnp.int32(2)).tolist()
    [[3.0], [3.0]]
    """
    features = len(h)
    if features < 2 * LEAST:
        return columns.T @ h
    size = -(-features // PARTS)
    products = [
        lambda columns, h, end=end: columns[:end].T @ h[:end]
        for end in range(size, features + size, size)
    ]
    # Where nothing is known the index is -1, which `switch` takes for 0.
    begun = lambda columns, h, known: jax.lax.switch((known - 1) // size, products, columns, h)
    return by_platform(begun, lambda columns, h, known: columns.T @ h, columns, h, known)
