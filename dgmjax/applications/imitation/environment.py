"""Environments: pure functions `reset` and `step`, and facts about observations and actions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.distributions.families import Family
from dgmjax.errors import require
from dgmjax.types import Array, Key, PyTree


class Outcome(NamedTuple):
    """Result of a step.

    Attributes:
      state: the next one.
      reward: `[...]`.
      terminated: `[...]`, whether the task itself has ended. That time is up is no concern of the
        environment: see `Transitions.truncated`.
    """

    state: PyTree
    reward: Array
    terminated: Array


def _as_given(action: Array) -> Array:
    return action


@dataclass(frozen=True)
class Environment:
    """A Markov decision process over batches of states; hashable, without state of its own.

    Attributes:
      name: as users know it.
      reset: `(key, shape) -> state`, whose leaves have the leading axes `shape`.
      step: `(state, action) -> Outcome`, of any batch of states.
      observe: `state -> observation [..., *observation_shape]`.
      observation_shape: of one observation.
      actions: family of the distribution of an action, or of each number of one.
      horizon: steps of an episode.
      action_shape: () for a choice, `(D,)` for D numbers.
      unit: of rewards, about what one step is worth; values are learned in it.
      scale: size of each number of an observation; networks read the quotient.
      executed: what the environment does of an action (clipped torques, unit directions): what a
        critic sees.
      potential: `state -> [...]`, for `shaped_reward` where the reward alone is too rare to be
        found, or None.
      absorbs: terminal states absorb, see `fixed_horizon`.
    """

    name: str
    reset: Callable[[Key, tuple[int, ...]], PyTree]
    step: Callable[[Any, Array], Outcome]
    observe: Callable[[Any], Array]
    observation_shape: tuple[int, ...]
    actions: Family
    horizon: int = 200
    action_shape: tuple[int, ...] = ()
    unit: float = 1.0
    scale: tuple[float, ...] | float = 1.0
    executed: Callable[[Array], Array] = _as_given
    potential: Callable[[Any], Array] | None = None
    absorbs: bool = False

    @property
    def discrete(self) -> bool:
        """Whether an action is a choice among a number of them."""
        return self.actions.values == "levels"


class Absorbed(NamedTuple):
    """State of a `fixed_horizon` environment: the inner state, and whether it is the last one."""

    state: PyTree
    ended: Array


@lru_cache
def fixed_horizon(environment: Environment) -> Environment:
    """The environment whose terminal states absorb: no episode ends before the horizon.

    Where the task has ended, every action leads to the same absorbing state, with a reward of 0:
    the return is that of the episode that ended. Observations have one more number, 1 in the
    absorbing state, where the others are 0. `terminated` is never true. Imitation needs it: where
    an episode's length depends on the policy, a reward of one sign rewards long (or short) episodes
    whatever the demonstrations were.

    Source: Kostrikov, Agrawal, Dwibedi, Levine & Tompson, "Discriminator-Actor-Critic: Addressing
    Sample Inefficiency and Reward Bias in Adversarial Imitation Learning", 2019, section 4.2,
    https://arxiv.org/abs/1809.02925.

    >>> from dgmjax.applications import ENVIRONMENTS
    >>> cartpole = fixed_horizon(ENVIRONMENTS["cartpole"])
    >>> fallen = Absorbed(jnp.array([0.0, 0.0, 1.0, 0.0]), jnp.array(True))
    >>> outcome = cartpole.step(fallen, jnp.array(1))
    >>> float(outcome.reward), bool(outcome.terminated), cartpole.observe(outcome.state).tolist()
    (0.0, False, [0.0, 0.0, 0.0, 0.0, 1.0])
    """
    rule = "must have observations of one axis"
    shape = environment.observation_shape
    require(len(shape) == 1 and not environment.absorbs, "environment", rule, shape)

    def reset(key: Key, shape: tuple[int, ...]) -> Absorbed:
        return Absorbed(environment.reset(key, shape), jnp.zeros(shape, bool))

    def step(state: Absorbed, action: Array) -> Outcome:
        outcome = environment.step(state.state, action)
        after = chosen(state.ended, state.state, outcome.state)
        reward = jnp.where(state.ended, 0.0, outcome.reward)
        ended = state.ended | outcome.terminated
        return Outcome(Absorbed(after, ended), reward, jnp.zeros_like(ended))

    def observe(state: Absorbed) -> Array:
        seen, ended = environment.observe(state.state), state.ended[..., None]
        return jnp.concatenate([jnp.where(ended, 0.0, seen), ended.astype(seen.dtype)], -1)

    scale, potential = environment.scale, environment.potential

    return replace(
        environment,
        reset=reset,
        step=step,
        observe=observe,
        observation_shape=(shape[0] + 1,),
        scale=(*(scale if isinstance(scale, tuple) else (scale,) * shape[0]), 1.0),
        potential=None if potential is None else _until_the_end(potential),
        absorbs=True,
    )


def _until_the_end(potential: Callable[[PyTree], Array]) -> Callable[[Absorbed], Array]:
    """The potential, 0 in the absorbing state: what is left of the last one is not paid for."""
    return lambda state: jnp.where(state.ended, 0.0, potential(state.state))


def chosen(condition: Array, yes: PyTree, no: PyTree) -> PyTree:
    """`yes` where `condition[...]`, else `no`; leaves have further axes at their end."""

    def choose(a: Array, b: Array) -> Array:
        wide = condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim))
        return jnp.where(wide, a, b)

    return jax.tree.map(choose, yes, no)
