"""Times of a batch, drawn so that together they vary less than independent ones."""

import math

import jax
import jax.numpy as jnp

from dgmjax.types import Array, Key


def even_times(key: Key, batch: tuple[int, ...]) -> Array:
    """Uniform numbers in [0, 1), spread evenly over the batch: (u + i / B) mod 1.

    Each is uniform; together they vary less than independent ones.

    Source: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, appendix I.1,
    https://arxiv.org/abs/2107.00630.
    """
    size = math.prod(batch)
    spread = (jax.random.uniform(key) + jnp.arange(size) / max(size, 1)) % 1.0
    return spread.reshape(batch)


def spread_times(key: Key, batch_shape: tuple[int, ...]) -> Array:
    """Uniform numbers in [0, 1), one in each of as many equal parts.

    Those along the last axis are in a random order; along the axes before it they are equally far
    apart, so that the copies of an example cover the whole of time.
    """
    num, last = math.prod(batch_shape), batch_shape[-1] if batch_shape else 1
    start, order = jax.random.split(key)
    place = jax.random.permutation(order, last) / max(num, 1)
    spread = (
        jax.random.uniform(start)
        + place
        + last / max(num, 1) * jnp.arange(num // max(last, 1))[:, None]
    )
    return (spread % 1.0).reshape(batch_shape)
