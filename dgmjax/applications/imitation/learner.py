"""Learner of a policy: rollouts, rewards of any kind, advantages, and an update of any kind."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.applications.imitation.advantages import generalised_advantages
from dgmjax.applications.imitation.agent import Agent
from dgmjax.applications.imitation.rewards import Reward
from dgmjax.applications.imitation.rollouts import Transitions, begin, rollout
from dgmjax.applications.imitation.updates import OWN, Update
from dgmjax.errors import require, require_sizes
from dgmjax.training.gradients import Gradients
from dgmjax.training.learner import GradientLearner, Player, State
from dgmjax.types import Array, Batch, Key, Metrics, PyTree

EPISODES = "episodes"
"""Name under which the environments are kept, beside the collections of the module."""


class PolicyLearner:
    """One step: a rollout, its rewards and advantages, and a step of every player.

    The judges (critic, recognition) learn from the same rollout as the policy, whose rewards come
    from the judges as they were before. The state holds the environments, so that a resumed run
    continues in the middle of their episodes.

    Args:
      module: the agent.
      reward: see `rewards`; the environment's, a critic's, or a sum.
      update: see `updates`.
      judges: players of what the reward is made of, on batches of demonstrations `x` and `action`
        beside as many `events` and `codes` of the agent.
      num_environments, num_steps: E and T of a rollout.
      discount, decay: see `generalised_advantages`.
    """

    def __init__(
        self,
        module: Agent,
        reward: Reward,
        update: Update,
        judges: Mapping[str, Player] | None = None,
        *,
        num_environments: int = 32,
        num_steps: int = 64,
        discount: float = 0.99,
        decay: float = 0.95,
        ema_decay: float | None = None,
    ):
        require_sizes(num_environments=num_environments, num_steps=num_steps)
        for name, value in (("discount", discount), ("decay", decay)):
            require(0.0 <= value <= 1.0, name, "must be in [0, 1]", value)
        rows = num_environments * num_steps
        require(
            rows % update.minibatches == 0,
            "minibatches",
            f"must divide the {rows} transitions of a step",
            update.minibatches,
        )
        judges = dict(judges or {})
        self.module, self.reward, self.update, self.judges = module, reward, update, judges
        self.num_environments, self.num_steps = num_environments, num_steps
        self.discount, self.decay = discount, decay
        self.inner = GradientLearner(module, {**judges, **update.players}, ema_decay)
        self.gradients: Gradients = self.inner.gradients
        self.batches_per_step = max([player.steps for player in judges.values()], default=1)
        self._others: dict[Gradients, PolicyLearner] = {}

    def with_gradients(self, gradients: Gradients) -> "PolicyLearner":
        """The same learner with another way to take gradients.

        Raises:
          DgmjaxError: it cannot divide the transitions of a minibatch.
        """
        rows = self.num_environments * self.num_steps // self.update.minibatches
        gradients.check(rows, f"the {rows} transitions of a minibatch")
        if gradients not in self._others:
            other = PolicyLearner(
                self.module,
                self.reward,
                self.update,
                self.judges,
                num_environments=self.num_environments,
                num_steps=self.num_steps,
                discount=self.discount,
                decay=self.decay,
                ema_decay=self.inner.ema_decay,
            )
            other.inner, other.gradients = self.inner.with_gradients(gradients), gradients
            self._others[gradients] = other
        return self._others[gradients]

    def init(self, key: Key, batch: Batch) -> State:
        """Parameters of all players, and environments that are out of step with each other."""
        inner_key, begin_key = jax.random.split(key)
        episodes = begin(
            self.module.environment,
            begin_key,
            self.num_environments,
            num_codes=self.module.num_codes,
            apart=True,
        )
        state = self.inner.init(inner_key, self._blank(episodes, batch))
        return replace(state, collections={**state.collections, EPISODES: episodes})

    def _blank(self, episodes: Any, batch: Batch) -> dict[str, Any]:
        """A batch of zeros in the place of the agent's own transitions."""
        environment, rows = self.module.environment, len(batch["x"])
        observation = environment.observe(episodes.state)
        zeros = jnp.zeros(self.num_environments)
        kind = jnp.int32 if environment.discrete else jnp.float32
        action = jnp.zeros((self.num_environments, *environment.action_shape), kind)
        own = dict.fromkeys(("log_prob", "advantage", "target"), zeros)
        own |= {"x": observation, "action": action, "code": episodes.code}
        event = self.module.event(observation[:1], action[:1])
        events, codes = jnp.repeat(event, rows, 0), jnp.zeros(rows, jnp.int32)
        return {**batch, OWN: own, "events": events, "codes": codes}

    def step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        # Players draw from `fold_in(key, index)` of their places: this key is of none of them.
        roll_key, pick_key, order_key = jax.random.split(jax.random.fold_in(key, 2**31), 3)
        collections = dict(state.collections)
        episodes = collections.pop(EPISODES)
        params = state.params

        def apply(params: PyTree, *inputs: Any, method: Callable | str) -> Any:
            return self.module.apply({"params": params, **collections}, *inputs, method=method)

        act = lambda s, c, key: apply(params, s, c, key, method="act")
        module, steps = self.module, self.num_steps
        episodes, seen = rollout(
            module.environment, act, episodes, roll_key, steps, num_codes=module.num_codes
        )
        data = self._flat(batch)
        own, metrics = apply(params, seen, data, method=self._judged)
        if self.update.trust_region is not None:
            policy, found = self._natural(apply, params, own)
            params = {**params, "policy": policy}
            metrics |= found
        stacked = self._batches(batch, seen, own, apply, params, pick_key, order_key)
        moved, found = self.inner.step(
            replace(state, params=params, collections=collections), stacked
        )
        moved = replace(moved, collections={**moved.collections, EPISODES: episodes})
        return moved, {**metrics, **found}

    def _flat(self, batch: Batch) -> dict[str, Array]:
        """Demonstrations of the whole step as one batch."""
        if self.batches_per_step == 1:
            return dict(batch)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), dict(batch))

    def _judged(self, model: Agent, seen: Transitions, batch: Batch) -> Any:
        """Transitions `[T E, ...]` with log-probabilities, advantages and targets; metrics."""
        reward = self.reward(model, seen, batch)
        worth = min(1.0 / max(1.0 - self.discount, 1e-6), model.environment.horizon)
        value = worth * model.values(seen.observation, seen.code)
        next_value = worth * model.values(seen.next_observation, seen.code)
        ends = (seen.terminated, seen.truncated)
        advantage = generalised_advantages(
            reward, value, next_value, *ends, discount=self.discount, decay=self.decay
        )
        policy = model.actions(seen.observation, seen.code)
        own = {
            "x": seen.observation,
            "action": seen.action,
            "code": seen.code,
            "log_prob": model.over_action(policy.log_prob(seen.action)),
            "advantage": (advantage - advantage.mean()) / (advantage.std() + 1e-8),
            # Networks learn the value of a step: sums over the future are two orders larger.
            "target": (advantage + value) / worth,
        }
        own = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), own)
        residual = jnp.var(advantage / worth)
        metrics = {
            # Of episodes of a fixed horizon an estimate of the return, also where none has ended.
            "return": seen.reward.mean() * model.environment.horizon,
            "reward": reward.mean(),
            "explained": 1.0 - residual / (jnp.var(own["target"]) + 1e-8),
        }
        return own, metrics

    def _natural(self, apply: Callable, params: PyTree, own: dict[str, Array]) -> Any:
        """The policy's parameters after a step in its trust region."""
        old = apply(params, own["x"], own["code"], method="actions")

        def at(policy: PyTree) -> Any:
            moved = {**params, "policy": policy}
            return apply(moved, own["x"], own["code"], method="actions")

        over = self.module.over_action

        def gain(policy: PyTree) -> Array:
            log_prob = over(at(policy).log_prob(own["action"]))
            return (jnp.exp(log_prob - own["log_prob"]) * own["advantage"]).mean()

        def divergence(policy: PyTree) -> Array:
            return over(old.kl_divergence(at(policy))).mean()

        region = self.update.trust_region
        moved = region(gain, divergence, params["policy"])  # type: ignore[misc]
        return moved.params, {"policy/kl": moved.divergence, "policy/share": moved.share}

    def _batches(
        self,
        batch: Batch,
        seen: Transitions,
        own: dict[str, Array],
        apply: Callable,
        params: PyTree,
        pick_key: Key,
        order_key: Key,
    ) -> dict[str, Any]:
        """What the players read, a batch for each of their steps."""
        count, each = self.inner.batches_per_step, self.update.minibatches
        total = self.num_environments * self.num_steps
        passes = -(-count // each)
        orders = jax.vmap(lambda k: jax.random.permutation(k, total))(
            jax.random.split(order_key, passes)
        )
        rows = orders.reshape(passes * each, total // each)[:count]
        demonstrations = dict(batch)
        if self.batches_per_step == 1:
            demonstrations = jax.tree.map(lambda a: a[None], demonstrations)
        # Judges read the first batches only; the rest is there for the sake of its shape.
        turns = jnp.arange(count) % self.batches_per_step
        found: dict[str, Any] = jax.tree.map(lambda a: a[turns], demonstrations)
        picks = jax.random.randint(pick_key, found["x"].shape[:2], 0, total)
        picked = lambda array: array.reshape(total, *array.shape[2:])[picks]
        observation, action = picked(seen.observation), picked(seen.action)
        found["events"] = apply(params, observation, action, method="event")
        found["codes"] = picked(seen.code)
        found[OWN] = jax.tree.map(lambda a: a[rows], own)
        return found if count > 1 else jax.tree.map(lambda a: a[0], found)

    def bind(self, state: State) -> Any:
        return self.module.bind(self.variables(state))

    def variables(self, state: State) -> PyTree:
        """Parameters, averaged where an average is kept; without the environments."""
        others = {name: tree for name, tree in state.collections.items() if name != EPISODES}
        return self.inner.variables(replace(state, collections=others))

    def call(self, variables: PyTree, method: Callable | str, *arguments: Any) -> Any:
        """`method` of the agent, or a function of it, compiled."""
        return self.inner.call(variables, method, *arguments)
