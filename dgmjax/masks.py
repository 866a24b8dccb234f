"""Means over the rows of a batch that are data; padding (mask 0) does not count."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax.numpy as jnp

from dgmjax.types import Array

_counted: ContextVar[Array | None] = ContextVar("counted", default=None)


@contextlib.contextmanager
def counting(mask: Array | None) -> Iterator[None]:
    """Inside, `weights_of(h)` are those of a batch with this mask `[B]`; None for no padding.

    For layers that compute over the rows of a batch deep inside of a network, whose calls know
    nothing of padding.
    """
    token = _counted.set(mask)
    try:
        yield
    finally:
        _counted.reset(token)


def weights_of(h: Array) -> Array | None:
    """Weights of the rows of `h[n B, ...]` with its dimensions, inside of `counting(mask[B])`.

    Several batches one after another, data and samples, repeat the mask. None outside of it, or if
    h has another number of rows.
    """
    mask = _counted.get()
    if mask is None or not h.ndim or not len(mask) or len(h) % len(mask):
        return None
    return jnp.tile(mask, len(h) // len(mask)).reshape(-1, *[1] * (h.ndim - 1))


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
