"""Clusters to start EM from: k-means++ and a few rounds of k-means."""

import jax
import jax.numpy as jnp

from dgmjax.types import Array, Key


def seeded_clusters(key: Key, x: Array, rows: Array, num_clusters: int, rounds: int = 20) -> Array:
    """One-hot clusters `[B, K]` of `x[B, D]`, zero where the row's weight `rows[B]` is 0.

    The first centre is a row drawn at random, each further one a row drawn in proportion to its
    squared distance to the nearest centre so far; then `rounds` of k-means.

    Source: Arthur & Vassilvitskii, "k-means++: The Advantages of Careful Seeding", 2007,
    section 2.2, https://dl.acm.org/doi/10.5555/1283383.1283494.
    """
    keys = jax.random.split(key, num_clusters)
    x = x - x.mean(0)  # clusters do not depend on the origin, but the digits of distances do
    # Padding has the weight exp(log 0) = 0, and is never drawn.
    first = x[jax.random.categorical(keys[0], jnp.log(rows))]
    centres = jnp.broadcast_to(first, (num_clusters, x.shape[1]))

    def add(i, state):
        centres, nearest = state
        # Where all rows are centres already, any row will do.
        weights = jnp.where((nearest * rows).sum() > 0, nearest * rows, rows)
        chosen = x[jax.random.categorical(keys[i], jnp.log(weights))]
        nearest = jnp.minimum(nearest, ((x - chosen) ** 2).sum(-1))
        return centres.at[i].set(chosen), nearest

    nearest = ((x - first) ** 2).sum(-1)
    centres, _ = jax.lax.fori_loop(1, num_clusters, add, (centres, nearest))

    def clusters(centres):
        # Expanded, so that no array [B, K, D] is made. It loses digits where centres are close, but
        # is only compared, and a tie is as good either way.
        squared = ((x**2).sum(-1)[:, None] - 2.0 * x @ centres.T) + (centres**2).sum(-1)
        return jax.nn.one_hot(squared.argmin(1), num_clusters, dtype=x.dtype) * rows[:, None]

    def move(_, centres):
        members = clusters(centres)
        counts = members.sum(0)[:, None]
        # A cluster without rows keeps its centre; it may win some back later.
        return jnp.where(counts > 0, members.T @ x / jnp.maximum(counts, 1.0), centres)

    return clusters(jax.lax.fori_loop(0, rounds, move, centres))
