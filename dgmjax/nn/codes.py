"""Codes of a given codebook: the nearest, what they leave of a vector, and how many are in use."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.types import Array


def nearest(z: Array, codebook: Array) -> Array:
    """argmin_k |z - e_k|^2, `[N]` int32, of `z[N, F]` and `codebook[K, F]`, by one product."""
    # |z|^2 is the same for all codes and left out. At full precision, as accelerators would
    # otherwise round near ties to another code.
    middle = codebook.mean(0)  # far from 0 the difference of two large numbers would lose digits
    z, codebook = z - middle, codebook - middle
    products = jnp.matmul(z, codebook.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmin(jnp.square(codebook).sum(-1) - 2.0 * products, axis=-1)


def residual_codes(z: Array, codebook: Array, depth: int) -> tuple[list[Array], list[Array]]:
    """Indices `[N]` of the nearest codes to r_0 = z, r_1 = r_0 - e_1, .., and these r_d `[N, F]`.

    One of each for every depth, 0 .. depth - 1.
    """
    indices: list[Array] = []
    residuals = [z]
    for _ in range(depth):
        indices.append(nearest(residuals[-1], codebook))
        residuals.append(residuals[-1] - codebook[indices[-1]])
    return indices, residuals[:depth]


def sum_of(terms: Sequence[Array]) -> Array:
    """The sum from the first term to the last: in this order wherever codes are summed."""
    return functools.reduce(jnp.add, terms)


def perplexity(usage: Array) -> Array:
    """exp(-sum_k p_k log p_k): how many codes are in use, of shares or counts `[..., K]`.

    1 where all of them are 0, as in a batch of padding.

    >>> perplexity(jnp.array([2.0, 2.0, 0.0])).round(4).item()
    2.0
    """
    total = usage.sum(-1, keepdims=True)
    shares = usage / jnp.where(total > 0, total, 1.0)
    return jnp.exp(-jax.scipy.special.xlogy(shares, shares).sum(-1))
