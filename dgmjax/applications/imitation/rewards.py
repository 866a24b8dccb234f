"""Rewards of a `PolicyLearner`, as data: functions `(model, seen, batch) -> [T, E]`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.applications.imitation.rollouts import Transitions
from dgmjax.errors import require
from dgmjax.objectives.adversarial.games import Game, game_of
from dgmjax.types import Array, Batch

Reward = Callable[[Any, Transitions, Batch], Array]
"""`(model, seen, batch) -> [T, E]`: the batch holds demonstrations `x` and `action`."""


def environment_reward(model, seen: Transitions, batch: Batch) -> Array:
    """The environment's own, in its unit."""
    del batch
    return seen.reward / model.environment.unit


def shaped_reward(discount: float) -> Reward:
    """r + discount Phi(s') - Phi(s), with the potential Phi of the environment, 0 where it ends.

    It has the optimal policies of r itself.

    Source: Ng, Harada & Russell, "Policy Invariance Under Reward Transformations", 1999,
    https://people.eecs.berkeley.edu/~russell/papers/icml99-shaping.pdf.
    """

    def reward(model, seen: Transitions, batch: Batch) -> Array:
        before, after = seen.potential
        shaping = discount * jnp.where(seen.terminated, 0.0, after) - before
        return environment_reward(model, seen, batch) + shaping / model.environment.unit

    return reward


def game_reward(game: str | Game = "non_saturating") -> Reward:
    """Minus the generator's loss in a game between demonstrations and the agent.

    With D the critic's value: "minimax" gives -log(1 - sigmoid(D)), the reward of GAIL;
    "non_saturating" gives log sigmoid(D), "wasserstein" D itself. Where the generator's loss
    compares with data, each event meets one of the batch. Moment matching has one loss for a batch,
    of which an event's share is its witness, E k(x, event) - E k(own, event).

    Sources: Ho & Ermon, "Generative Adversarial Imitation Learning", 2016, Eq. 18,
    https://arxiv.org/abs/1606.03476; Kim & Park, "Imitation Learning via Kernel Mean Embedding",
    2018, https://ojs.aaai.org/index.php/AAAI/article/view/11720 (moment matching).
    """
    return partial(_of_game, game_of(game))


def _of_game(row: Game, model, seen: Transitions, batch: Batch) -> Array:
    shape = seen.reward.shape
    own = model.event(seen.observation, seen.action)
    own = own.reshape(-1, own.shape[-1])
    data = model.event(batch["x"], batch["action"])
    look = {"value": model.logit, "features": model.features, "none": lambda event: event}[row.head]
    values = look(own)
    if row.witness is not None:
        return row.witness(values, look(data), values).reshape(shape)
    compared = look(data)[jnp.arange(len(own)) % len(data)] if row.reads_data else None
    return -row.generator(compared, values).reshape(shape)


def with_information(reward: Reward, weight: float = 1.0) -> Reward:
    """reward + weight log q(c | s, a): codes that can be recognised from what the agent does.

    Source: Li, Song & Ermon, "InfoGAIL", 2017, Eq. 3, https://arxiv.org/abs/1703.08840.
    """
    require(weight >= 0, "weight", "must be at least 0", weight)

    def both(model, seen: Transitions, batch: Batch) -> Array:
        events = model.event(seen.observation, seen.action)
        known = model.log_recognition(events, seen.code)
        return reward(model, seen, batch) + weight * jax.lax.stop_gradient(known)

    return both
