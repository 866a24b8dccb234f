"""Linear controllers of a world model's code and memory, in the dream and in reality."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.applications.imitation.environment import Environment
from dgmjax.errors import require_sizes
from dgmjax.types import Array, Key

Frames = Callable[[Any], Array]
"""`state -> pictures [..., H, W, C]`."""


class Task(NamedTuple):
    """What a controller has to do.

    Attributes:
      environment: with actions of real numbers.
      frames: pictures of its states.
      limit: of each number of an action, by its absolute value.
      horizon: steps.
    """

    environment: Environment
    frames: Frames
    limit: float
    horizon: int


def num_parameters(model: Any) -> int:
    """D of a controller of a `WorldModel`."""
    return model.actions * (model.latent + model.features + 1)


def controlled(model: Any, params: Array, z: Array, h: Array, limit: float) -> Array:
    """limit tanh(W (z, h, 1)), `[M, R, A]`, of members `params[M, D]` at `z[M, R, latent]`."""
    seen = jnp.concatenate([z, h, jnp.ones_like(z[..., :1])], -1)
    weights = params.reshape(len(params), seen.shape[-1], model.actions)
    return limit * jnp.tanh(jnp.einsum("mrf,mfa->mra", seen, weights))


def dreamt(
    model: Any, task: Task, params: Array, start: Array, key: Key, temperature: float = 1.0
) -> Array:
    """Returns `[M]`, in units of the environment, of controllers in the model's own dream.

    Args:
      params: `[M, D]`.
      start: codes `[R, latent]` in which episodes begin; a return is the mean over them.
    """
    batch = (len(params), len(start))
    z = jnp.broadcast_to(start, (*batch, start.shape[-1]))

    def body(carry: Any, key: Key) -> tuple[Any, Array]:
        memory, z = carry
        action = controlled(model, params, z, memory[0], task.limit)
        memory = model.remember(memory, z, action / task.limit)
        code, reward = model.predicted(memory[0], temperature)
        # One draw for all members: they meet the same chances.
        return (memory, _common_draw(code, key)), reward.mean()

    begin = (model.memory.init_carry(batch), z)
    _, rewards = jax.lax.scan(body, begin, jax.random.split(key, task.horizon))
    return rewards.sum(0).mean(1)


def _common_draw(code: Any, key: Key) -> Array:
    """A sample whose noise is the same for every member of a population."""
    return jax.vmap(lambda one: one.sample(seed=key))(code)


def lived(model: Any, task: Task, params: Array, key: Key, num: int) -> Array:
    """Returns `[M, num]`, in units of the environment, of controllers in reality.

    They see pictures through the model's encoder, and remember through its memory.
    """
    batch = (len(params), num)
    state = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (batch[0], *leaf.shape)),
        task.environment.reset(key, (num,)),
    )

    def body(carry: Any, _: None) -> tuple[Any, Array]:
        memory, state = carry
        z = model.encode(task.frames(state))
        action = controlled(model, params, z, memory[0], task.limit)
        memory = model.remember(memory, z, action / task.limit)
        outcome = task.environment.step(state, action)
        return (memory, outcome.state), outcome.reward

    begin = (model.memory.init_carry(batch), state)
    _, rewards = jax.lax.scan(body, begin, None, task.horizon)
    return rewards.sum(0) / task.environment.unit


def held_actions(
    key: Key, shape: tuple[int, int, int], limit: float, most_steps: int = 20
) -> Array:
    """Random actions `[E, T, A]` that explore: each is held for some steps.

    Uniform in [-limit, limit], and drawn anew at each step with probability 2 / (most_steps + 1):
    an action is held for (most_steps + 1) / 2 steps on average, as if all numbers up to
    `most_steps` were equally frequent.
    """
    require_sizes(most_steps=most_steps)
    value_key, change_key = jax.random.split(key)
    values = jax.random.uniform(value_key, shape, minval=-limit, maxval=limit)
    change = jax.random.bernoulli(change_key, 2.0 / (most_steps + 1.0), (*shape[:2], 1))

    def body(held: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        value, change = now
        held = jnp.where(change, value, held)
        return held, held

    first = values[:, 0]
    _, actions = jax.lax.scan(body, first, (values.swapaxes(0, 1), change.swapaxes(0, 1)))
    return actions.swapaxes(0, 1)
