"""Evolution strategy: ascent of a fitness that has no gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Key


class Evolved(NamedTuple):
    """Result of `evolve`.

    Attributes:
      params: `[D]`, after the last generation.
      fitness: `[generations]`, mean over each generation's members.
    """

    params: Array
    fitness: Array


def evolve(
    fitness: Callable[[Array, Key], Array],
    params: Array,
    key: Key,
    *,
    generations: int = 100,
    pairs: int = 32,
    spread: float = 0.1,
    learning_rate: float = 0.05,
) -> Evolved:
    """Parameters of a high E[fitness(params + spread e)], e ~ N(0, I), by Adam along its gradient.

    The gradient is E[r e] / spread, with r the ranks of the members, from -1/2 for the worst to 1/2
    for the best: neither the scale of the fitness nor outliers matter. Members come in pairs of e
    and -e. All generations are one compiled scan.

    Args:
      fitness: `(members [M, D], key) -> [M]`; all members of a generation have the same key, so
        that they meet the same chances.
      params: `[D]`, of the first generation.
      pairs: half of the members of a generation.
      spread: standard deviation of the members.

    Source: Salimans, Ho, Chen, Sidor & Sutskever, "Evolution Strategies as a Scalable Alternative
    to Reinforcement Learning", 2017, section 2, https://arxiv.org/abs/1703.03864.

    >>> near = lambda members, key: -((members - 1.0) ** 2).sum(-1)
    >>> found = evolve(near, jnp.zeros(3), jax.random.key(0), generations=200)
    >>> bool(jnp.abs(found.params - 1.0).max() < 0.1)
    True
    """
    require_sizes(generations=generations, pairs=pairs)
    require(spread > 0, "spread", "must be positive", spread)
    require(jnp.ndim(params) == 1, "params", "must be [D]", f"shape {jnp.shape(params)}")
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, generations))

    def body(carry: Any, key: Key) -> tuple[Any, Array]:
        params, moments = carry
        draw_key, fitness_key = jax.random.split(key)
        half = jax.random.normal(draw_key, (pairs, params.size), params.dtype)
        e = jnp.concatenate([half, -half])
        found = fitness(params + spread * e, fitness_key)
        # A member that broke down is the worst, whatever its number.
        ordered = jnp.where(jnp.isfinite(found), found, -jnp.inf)
        # Members that are as good share the mean of their ranks, so that a plateau has no slope.
        below, upto = (
            jnp.searchsorted(jnp.sort(ordered), ordered, side=s) for s in ("left", "right")
        )
        rank = (below + upto - 1) / 2 / (2 * pairs - 1) - 0.5
        gradient = (rank[:, None] * e).mean(0) / spread
        update, moments = optimiser.update(-gradient, moments)
        return (optax.apply_updates(params, update), moments), found.mean()

    begin = (params, optimiser.init(params))
    (params, _), history = jax.lax.scan(body, begin, jax.random.split(key, generations))
    return Evolved(params, history)
