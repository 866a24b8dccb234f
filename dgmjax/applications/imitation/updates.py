"""Updates of a policy from its advantages, as data: PPO and TRPO."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import optax

from dgmjax.applications.imitation.losses import clipped_gain, value_error
from dgmjax.applications.imitation.natural import TrustRegion
from dgmjax.errors import require_sizes
from dgmjax.training.learner import Player
from dgmjax.training.optimisers import adam

OWN = "own"
"""Name of the part of a batch that holds the policy's own transitions, as a batch."""


@dataclass(frozen=True)
class Update:
    """How a policy and its values move in one step of a `PolicyLearner`.

    Attributes:
      players: that descend gradients, on the part `OWN` of a batch: the policy's transitions.
      minibatches: into which the transitions of a step are divided, anew in each pass.
      trust_region: of a natural gradient step of the policy before that, or None.
    """

    players: Mapping[str, Player]
    minibatches: int
    trust_region: TrustRegion | None = None


def ppo(
    steps: int,
    *,
    learning_rate: float = 1e-3,
    value_rate: float = 1e-3,
    schedule: str = "cosine",
    passes: int = 4,
    minibatches: int = 8,
    clip: float = 0.2,
    entropy: float = 0.0,
) -> Update:
    """Proximal policy optimisation: `clipped_gain` over several passes, and `value_error` likewise.

    Args:
      steps: of the learner, for the schedules.
      learning_rate, value_rate: of the two Adams.
      passes: over the transitions of a step.
      clip, entropy: see `clipped_gain`.
    """
    require_sizes(steps=steps, passes=passes, minibatches=minibatches)
    moves = passes * minibatches
    rate = partial(adam, steps=steps * moves, schedule=schedule, clip=0.5)
    gain = partial(clipped_gain, clip=clip, entropy=entropy)
    players = {
        "policy": Player(gain, rate(learning_rate), ("policy",), moves, OWN),
        "value": Player(value_error, rate(value_rate), ("value",), moves, OWN),
    }
    return Update(players, minibatches)


def trpo(
    steps: int,
    *,
    learning_rate: float = 0.0,
    value_rate: float = 1e-3,
    schedule: str = "cosine",
    passes: int = 4,
    minibatches: int = 8,
    trust_region: TrustRegion | None = None,
) -> Update:
    """Trust region policy optimisation: a natural gradient step, and `value_error` by Adam.

    Args:
      steps, value_rate, schedule, passes, minibatches: see `ppo`.
      learning_rate: is not read, since the trust region gives the length of a step.
      trust_region: with its default settings if None.
    """
    del learning_rate
    require_sizes(steps=steps, passes=passes, minibatches=minibatches)
    moves = passes * minibatches
    optimiser = adam(value_rate, steps * moves, schedule=schedule)
    players = {
        # Moves nothing: it reports the entropy and how far the natural step has led.
        "policy": Player(clipped_gain, optax.set_to_zero(), ("policy",), part=OWN),
        "value": Player(value_error, optimiser, ("value",), moves, OWN),
    }
    return Update(players, minibatches, trust_region or TrustRegion())


UPDATES: dict[str, Callable[..., Update]] = {"ppo": ppo, "trpo": trpo}
"""By name."""
