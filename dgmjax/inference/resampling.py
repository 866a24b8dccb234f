"""Resampling of weighted particles: indices of ancestors, unbiased in every number of offspring."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgmjax.types import Array, Key

Resampling = Callable[[Key, Array], Array]
"""A key and log-weights `[N]` to ancestors `[N]`; E[offspring of i] = N w_i / sum w."""


def multinomial(key: Key, log_weights: Array) -> Array:
    """Independent ancestors.

    >>> multinomial(jax.random.key(0), jnp.log(jnp.array([0.0, 1.0, 0.0]))).tolist()
    [1, 1, 1]
    """
    return jax.random.categorical(key, log_weights, shape=log_weights.shape)


def stratified(key: Key, log_weights: Array) -> Array:
    """One uniform number in each of N strata of the distribution function."""
    uniform = jax.random.uniform(key, log_weights.shape, log_weights.dtype)
    return _inverse(log_weights, uniform)


def systematic(key: Key, log_weights: Array) -> Array:
    """One uniform number, shifted by 1/N: the least variance of the three in practice.

    Source: Douc, Cappe & Moulines, "Comparison of resampling schemes for particle filtering", 2005,
    section 2.4, https://arxiv.org/abs/cs/0507025.
    """
    uniform = jax.random.uniform(key, (), log_weights.dtype)
    return _inverse(log_weights, jnp.broadcast_to(uniform, log_weights.shape))


def _inverse(log_weights: Array, uniform: Array) -> Array:
    count = log_weights.shape[0]
    cumulated = jnp.cumsum(jax.nn.softmax(log_weights))
    points = (jnp.arange(count) + uniform) / count * cumulated[-1]  # the sum may miss 1 by a bit
    ancestors = jnp.searchsorted(cumulated, points, side="right")
    last = count - 1 - jnp.argmax((log_weights > -jnp.inf)[::-1])  # no ancestor of weight 0
    return jnp.minimum(ancestors, last)


SCHEMES: dict[str, Resampling] = {
    "multinomial": multinomial,
    "stratified": stratified,
    "systematic": systematic,
}
"""Schemes by name."""
