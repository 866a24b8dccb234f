"""Rollouts: many environments and many steps as one compiled scan."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.applications.imitation.environment import Environment, chosen
from dgmjax.errors import require_sizes
from dgmjax.types import Array, Key, PyTree

Act = Callable[[Array, Array, Key], Array]
"""`(observation [E, ...], code [E], key) -> action [E, ...]`."""


class Episodes(NamedTuple):
    """Where E environments are between two rollouts.

    Attributes:
      state: of each.
      time: steps since its reset, int32 `[E]`.
      code: latent code of its episode, int32 `[E]`.
      total: sum of the rewards of its episode so far, `[E]`.
    """

    state: PyTree
    time: Array
    code: Array
    total: Array


class Transitions(NamedTuple):
    """What was seen in T steps of E environments, `[T, E, ...]`.

    Attributes:
      observation: before the step.
      action: as the policy chose it.
      reward: of the environment.
      next_observation: after the step, and before a reset.
      terminated: the task ended: the future is worth nothing.
      truncated: time was up: the future is worth what the next state is worth.
      code: latent code of the episode.
      total: return of the episode so far, this step included.
      potential: of the state before and after the step, where the environment has one, else 0.
    """

    observation: Array
    action: Array
    reward: Array
    next_observation: Array
    terminated: Array
    truncated: Array
    code: Array
    total: Array
    potential: tuple[Array, Array]


def begin(
    environment: Environment, key: Key, num: int, *, num_codes: int = 0, apart: bool = False
) -> Episodes:
    """`num` environments at the start of an episode.

    Args:
      num_codes: values of the latent code, of equal probability; 0 for none.
      apart: the first episodes are shorter, by uniform numbers of steps, so that later rollouts
        see all times of an episode alike.
    """
    require_sizes(num=num)
    reset_key, code_key, time_key = jax.random.split(key, 3)
    time = jnp.zeros(num, jnp.int32)
    if apart:
        time = jax.random.randint(time_key, (num,), 0, environment.horizon)
    code = jnp.zeros(num, jnp.int32)
    if num_codes:
        code = jax.random.randint(code_key, (num,), 0, num_codes)
    return Episodes(environment.reset(reset_key, (num,)), time, code, jnp.zeros(num))


def rollout(
    environment: Environment,
    act: Act,
    episodes: Episodes,
    key: Key,
    num_steps: int,
    *,
    num_codes: int = 0,
) -> tuple[Episodes, Transitions]:
    """`num_steps` steps of all environments; those whose episode ends begin another.

    Args:
      act: the policy.
      episodes: where they are; see `begin`.
      num_codes: values of the latent code, drawn anew at a reset; 0 for none.

    >>> from dgmjax.applications import ENVIRONMENTS, begin
    >>> pendulum, key = ENVIRONMENTS["pendulum"], jax.random.key(0)
    >>> still = lambda observation, code, key: jnp.zeros((len(code), 1))
    >>> _, seen = rollout(pendulum, still, begin(pendulum, key, 3), key, 200)
    >>> seen.observation.shape, seen.truncated.sum(0).tolist(), bool(seen.terminated.any())
    ((200, 3, 3), [1, 1, 1], False)
    """

    def body(episodes: Episodes, key: Key) -> tuple[Episodes, Transitions]:
        act_key, begin_key = jax.random.split(key)
        before = environment.observe(episodes.state)
        action = act(before, episodes.code, act_key)
        state, reward, terminated = environment.step(episodes.state, action)
        total, time = episodes.total + reward, episodes.time + 1
        truncated = (time >= environment.horizon) & ~terminated
        seen = Transitions(
            before,
            action,
            reward,
            environment.observe(state),
            terminated,
            truncated,
            episodes.code,
            total,
            (_potential(environment, episodes.state), _potential(environment, state)),
        )
        fresh = begin(environment, begin_key, len(time), num_codes=num_codes)
        going = Episodes(state, time, episodes.code, total)
        return chosen(terminated | truncated, fresh, going), seen

    return jax.lax.scan(body, episodes, jax.random.split(key, num_steps))


def _potential(environment: Environment, state: PyTree) -> Array:
    return jnp.zeros(()) if environment.potential is None else environment.potential(state)


def random_actions(environment: Environment) -> Act:
    """Actions drawn from the family at parameters of zero, whatever is observed."""
    shape = (*environment.action_shape, environment.actions.num_params)

    def act(observation: Array, code: Array, key: Key) -> Array:
        del observation
        return environment.actions(jnp.zeros((*code.shape, *shape))).sample(seed=key)

    return act
