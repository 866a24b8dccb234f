"""Means over the rows of a batch that are data; padding (mask 0) does not count."""

import jax.numpy as jnp

from dgmjax.types import Array


def weighted_mean(
    values: Array, mask: Array | None = None, axis: int | tuple[int, ...] | None = None
) -> Array:
    """sum(mask values) / sum(mask) over some axes, all if None; 0 where no mask is above 0.

    Args:
      mask: as many dimensions as `values` at most, broadcast to it; None for all 1. Padding must
        be finite.

    >>> x = jnp.array([[1.0, 3.0], [5.0, 5.0], [9e9, 9e9]])
    >>> weighted_mean(x, jnp.array([1.0, 1.0, 0.0])[:, None], 0).tolist()
    [3.0, 4.0]
    """
    if mask is None:
        return values.mean(axis)
    weights = jnp.broadcast_to(mask, values.shape)
    total = weights.sum(axis)
    return (values * weights).sum(axis) / jnp.where(total > 0, total, 1.0)


def kept(x: Array, mask: Array) -> Array:
    """`x[*shape, ...]` with zeros, not NaN, where `mask[*shape]` is not above 0.

    Networks that read the result have finite gradients, whatever the padding holds.
    """
    x = jnp.asarray(x)
    there = (mask > 0).reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
    return jnp.where(there, x, jnp.zeros((), x.dtype))


def over_sites(mask: Array | None, ndims: int) -> Array | None:
    """A mask of rows `[B]`, with `ndims` axes of size 1 for those of each row."""
    return None if mask is None else mask.reshape(*mask.shape, *[1] * ndims)
