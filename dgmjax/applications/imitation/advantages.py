"""Generalised advantages."""

import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array


def generalised_advantages(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    *,
    discount: float,
    decay: float,
) -> Array:
    """A_t = delta_t + discount decay A_{t+1} within an episode, `[T, ...]`.

    delta_t = r_t + discount V(s'_t) - V(s_t), without V(s'_t) where the task terminated. Where time
    was up (`truncated`) the sum ends, but the state reached keeps its value.

    Args:
      reward, value: r_t and V(s_t), `[T, ...]`.
      next_value: V(s'_t) of the state before a reset.
      terminated, truncated: of the step.
      discount, decay: gamma and lambda, in [0, 1].

    Source: Schulman, Moritz, Levine, Jordan & Abbeel, "High-Dimensional Continuous Control Using
    Generalized Advantage Estimation", 2016, Eq. 16, https://arxiv.org/abs/1506.02438.

    >>> r, no = jnp.ones(3), jnp.zeros(3, bool)
    >>> generalised_advantages(r, 0 * r, 0 * r, no, no, discount=0.5, decay=1.0).tolist()
    [1.75, 1.5, 1.0]
    """
    reward = jnp.asarray(reward)
    steps = reward.ndim >= 1 and len(reward) >= 1
    require(steps, "reward", "must be of shape [T, ...] with at least one step", reward.shape)
    others = {
        "value": value,
        "next_value": next_value,
        "terminated": terminated,
        "truncated": truncated,
    }
    for name, array in others.items():
        # Of another shape it would be broadcast.
        rule = f"must have the shape of the rewards, {reward.shape}"
        require(jnp.shape(array) == reward.shape, name, rule, jnp.shape(array))
    for name, share in {"discount": discount, "decay": decay}.items():
        known = not isinstance(share, jax.core.Tracer)
        require(not known or bool(0.0 <= share <= 1.0), name, "must be in [0, 1]", share)
    terminated, truncated = (jnp.asarray(flag, bool) for flag in (terminated, truncated))
    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    ended = terminated | truncated
    goes_on = jnp.where(ended, 0.0, discount * decay)

    def body(after: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, goes_on = inputs
        advantage = delta + goes_on * after
        return advantage, advantage

    return jax.lax.scan(body, jnp.zeros_like(delta[0]), (delta, goes_on), reverse=True)[1]
