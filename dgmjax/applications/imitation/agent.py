"""Agents: a policy, the value of states, and a critic of states and actions in one module."""

from typing import Any, ClassVar

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.applications.imitation.environment import Environment
from dgmjax.applications.imitation.rollouts import Transitions, begin, rollout
from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.mlp import MLP
from dgmjax.types import Array, Batch, Key


class Agent(nn.Module):
    """pi(a | s, c), V(s, c), a critic of (s, a), and the recognition q(c | s, a) of latent codes.

    An implicit model of the states and actions that the policy visits: the critic tells them from
    demonstrations, in any game of `objectives.GAMES`. A batch holds demonstrations, `x` (states)
    and `action`, and what a `PolicyLearner` adds of the agent's own.

    Attributes:
      environment: that it acts in.
      policy: `(observation, code) -> [..., *action_shape, num_params]` of `environment.actions`.
      value: `(observation, code) -> [..., 1]`, of a state for each step of the future.
      critic: `event -> [..., F]`, see `event`; F is 1 for games of values.
      recognition: `event -> [..., num_codes]`.
      num_codes: values of the latent code of an episode; 0 for none.

    Sources: Ho & Ermon, "Generative Adversarial Imitation Learning", 2016,
    https://arxiv.org/abs/1606.03476; Li, Song & Ermon, "InfoGAIL: Interpretable Imitation Learning
    from Visual Demonstrations", 2017, https://arxiv.org/abs/1703.08840 (codes).
    """

    environment: Environment
    policy: nn.Module
    value: nn.Module
    critic: nn.Module
    recognition: nn.Module
    num_codes: int = 0
    preserve_adopted_names: ClassVar[bool] = True

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        whole = self.environment.discrete
        return {"x": "real", "action": self._levels() if whole else "real"}

    def _levels(self) -> range:
        return range(self.environment.actions.num_params)

    def _read(self, observation: Array) -> Array:
        return as_float(observation) / jnp.asarray(self.environment.scale, jnp.float32)

    def _context(self, code: Array | None) -> Array | None:
        if not self.num_codes:
            return None
        return jax.nn.one_hot(jnp.zeros((), int) if code is None else code, self.num_codes)

    def actions(self, observation: Array, code: Array | None = None) -> distrax.Distribution:
        """pi(a | s, c), with batch shape `[..., *action_shape]`: see `log_prob_of`."""
        params = self.policy(self._read(observation), self._context(code))
        return self.environment.actions(params)

    def over_action(self, values: Array) -> Array:
        """The sum over the numbers of an action, `[..., *action_shape]` -> `[...]`."""
        return values.sum(tuple(range(-len(self.environment.action_shape), 0)))

    def values(self, observation: Array, code: Array | None = None) -> Array:
        """V(s, c) as the reward of a step that it stands for, `[...]`: see `PolicyLearner`."""
        return as_float(self.value(self._read(observation), self._context(code)))[..., 0]

    def event(self, observation: Array, action: Array) -> Array:
        """State and executed action as one vector `[..., D]`; choices are one-hot."""
        environment = self.environment
        action = environment.executed(action)
        if environment.discrete:
            action = jax.nn.one_hot(action, environment.actions.num_params)
        observation = self._read(observation)
        batch = observation.shape[: observation.ndim - len(environment.observation_shape)]
        parts = [as_float(part).reshape(*batch, -1) for part in (observation, action)]
        return jnp.concatenate(parts, -1)

    def pairs(self, batch: Batch, key: Key) -> tuple[Array, Array]:
        """Events of the demonstrations, and of the agent itself (`batch["events"]`)."""
        del key
        return self.event(batch["x"], batch["action"]), batch["events"]

    def features(self, event: Array) -> Array:
        """The critic's output `[..., F]`."""
        return as_float(self.critic(event))

    def logit(self, event: Array) -> Array:
        """The critic's value `[...]`."""
        value = self.features(event)
        require(value.shape[-1] == 1, "critic", "must have one output", value.shape[-1])
        return value[..., 0]

    def log_recognition(self, event: Array, code: Array) -> Array:
        """log q(c | s, a), `[...]` in nats."""
        logits = as_float(self.recognition(event))
        return distrax.Categorical(logits).log_prob(code)

    def act(self, observation: Array, code: Array, key: Key | None) -> Array:
        """A draw from the policy; its mode without a key."""
        policy = self.actions(observation, code)
        return policy.mode() if key is None else policy.sample(seed=key)

    def play(
        self, key: Key, num: int, code: Array | None = None, *, greedy: bool = False
    ) -> Transitions:
        """Whole episodes, `[horizon, num, ...]`, each from its start; later ones count as nothing.

        Args:
          code: of the episodes, int32 `[num]`; drawn if None.
          greedy: modes of the policy in place of draws.
        """
        begin_key, key = jax.random.split(key)
        episodes = begin(self.environment, begin_key, num, num_codes=self.num_codes)
        if code is not None:
            episodes = episodes._replace(code=jnp.broadcast_to(code, (num,)).astype(jnp.int32))
        act = lambda s, c, key: self.act(s, c, None if greedy else key)
        horizon = self.environment.horizon
        return rollout(self.environment, act, episodes, key, horizon, num_codes=self.num_codes)[1]

    def returns(self, key: Key, num: int, *, greedy: bool = False) -> Array:
        """Returns `[num]` of episodes from their start to their end."""
        seen = self.play(key, num, greedy=greedy)
        ended = seen.terminated | seen.truncated
        return jnp.take_along_axis(seen.total, jnp.argmax(ended, 0)[None], 0)[0]

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """States that the policy visits at uniform times of independent episodes."""
        del context
        play_key, time_key = jax.random.split(key)
        num = 1
        for size in sample_shape:
            num *= size
        seen = self.play(play_key, num).observation
        time = jax.random.randint(time_key, (num,), 0, self.environment.horizon)
        drawn = seen[time, jnp.arange(num)]
        return drawn.reshape(*sample_shape, *self.environment.observation_shape)


def dense_agent(
    environment: Environment,
    hidden: tuple[int, ...] = (64, 64),
    critic_hidden: tuple[int, ...] = (64, 64),
    *,
    critic_outputs: int = 1,
    num_codes: int = 0,
) -> Agent:
    """An agent of multi-layer perceptrons, whose first policy is the family at parameters of zero.

    >>> from dgmjax.applications import ENVIRONMENTS
    >>> agent = dense_agent(ENVIRONMENTS["cartpole"])
    >>> states = jnp.zeros((3, 4))
    >>> variables = agent.init(jax.random.key(0), states, method="actions")
    >>> policy = agent.apply(variables, states, method="actions")
    >>> [round(float(nats), 3) for nats in policy.log_prob(1)]
    [-0.693, -0.693, -0.693]
    """
    require_sizes(hidden=hidden, critic_hidden=critic_hidden, critic_outputs=critic_outputs)
    shape = (*environment.action_shape, environment.actions.num_params)
    return Agent(
        environment=environment,
        policy=MLP(hidden, shape, nn.tanh, zero_output=True),
        value=MLP(hidden, (1,), nn.tanh, zero_output=True),
        critic=MLP(critic_hidden, (critic_outputs,), nn.tanh),
        recognition=MLP(critic_hidden, (max(num_codes, 1),), nn.tanh),
        num_codes=num_codes,
    )
