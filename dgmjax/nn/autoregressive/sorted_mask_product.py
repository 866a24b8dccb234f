"""Products with masked matrices whose zeros are below a staircase."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.types import Array

LEAST = 128
"""Rows and columns of a matrix that is worth halving: smaller products are all overhead."""
HALVINGS = 1
PARTS = 4


def staircase_product(
    h: Array, kernel: Array, seen: np.ndarray, halvings: int | None = None
) -> Array:
    """h @ (kernel * M) `[..., columns]` with M[j, k] = 1 for j < seen[k], and zeros elsewhere.

    Masks of autoregressive networks have this form when units are sorted by degree. On CPUs the
    columns are halved: the left half leaves out the rows that none of its columns sees, so that
    three blocks of four of a triangle are multiplied (gradients of 512 x 512 take 0.8 of the time).
    A second halving gained nothing in whole models, and one product is faster on accelerators.

    Args:
      h: `[..., rows]`.
      kernel: `[rows, columns]`; masked entries are not read.
      seen: how many rows each column sees, `[columns]`, not decreasing.
      halvings: how often columns are halved; by default as above.

    >>> staircase_product(jnp.ones((1, 2)), jnp.ones((2, 3)), np.array([0, 1, 2])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    if halvings is None:
        halvings = HALVINGS if jax.default_backend() == "cpu" else 0
    batch = h.shape[:-1]
    flat = h.reshape(math.prod(batch), h.shape[-1])  # over several axes gradients cost more
    return _product(flat, kernel, np.asarray(seen), halvings).reshape(*batch, kernel.shape[1])


def _product(h: Array, kernel: Array, seen: np.ndarray, halvings: int) -> Array:
    rows, columns = kernel.shape
    if halvings == 0 or min(rows, columns) < LEAST:
        mask = np.arange(rows)[:, None] < seen
        return h @ (kernel if mask.all() else jnp.where(mask, kernel, 0))
    # The columns of the left half see no row from `most` on, so these rows are left out. Those of
    # the right half all see the rows before `all_see`: a full product, without a mask. Staircases
    # remain in two corners, to be halved again.
    half = columns // 2
    most, all_see = int(seen[half - 1]), int(seen[half])
    left = _product(h[:, :most], kernel[:most, :half], seen[:half], halvings - 1)
    right = _product(h[:, all_see:], kernel[all_see:, half:], seen[half:] - all_see, halvings - 1)
    return jnp.concatenate([left, h[:, :all_see] @ kernel[:all_see, half:] + right], -1)


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
    if jax.default_backend() != "cpu" or features < 2 * LEAST:
        return columns.T @ h
    size = -(-features // PARTS)
    products = [
        lambda columns, h, end=end: columns[:end].T @ h[:end]
        for end in range(size, features + size, size)
    ]
    # Where nothing is known the index is -1, which `switch` takes for 0.
    return jax.lax.switch((known - 1) // size, products, columns, h)
