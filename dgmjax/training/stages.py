"""Stages of training: objectives that take over from each other at given steps."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.training.averages import WEIGHT
from dgmjax.types import Array, Batch, Key, Metrics, Objective


@dataclass(frozen=True)
class Stages:
    """The objective of each stage of a run, as `optax.join_schedules` is the schedule of each.

    Stage i lasts from step `boundaries[i - 1]` to the one before `boundaries[i]`. All belong to one
    compiled step, one optimiser state and one run, which resumes in any of them. Of metrics those
    are logged that all stages have. Outside of training it is the last objective.

    Attributes:
      objectives: of the stages, at least one.
      boundaries: first steps of all stages but the first, increasing.

    >>> from functools import partial
    >>> from dgmjax import objectives
    >>> few, many = (partial(objectives.iwae, num_samples=k) for k in (1, 50))
    >>> player_objective = Stages((few, many), (10_000,))
    """

    objectives: tuple[Objective, ...]
    boundaries: tuple[int, ...] = ()

    def __post_init__(self):
        count = len(self.objectives)
        require(count >= 1, "objectives", "must hold at least one objective", "none")
        starts = (0, *self.boundaries)
        require(
            len(starts) == count and all(a < b for a, b in pairwise(starts)),
            "boundaries",
            f"must be {count - 1} steps above 0 that increase, one less than the objectives",
            self.boundaries,
        )

    def __call__(self, model: Any, batch: Batch, key: Key) -> tuple[Array, Metrics]:
        """Loss and metrics of the last stage."""
        return self.objectives[-1](model, batch, key)


def staged(objective: Objective, step: Array, evaluate: Callable[[Objective, bool], Any]) -> Any:
    """`evaluate(objective, weighted)` of the stage: ((loss, (metrics, others)), gradient).

    The gradient belongs inside: that of a switch would make room, and write zeros, for what every
    other stage keeps for its backward pass. `weighted` asks for the metric `WEIGHT`, where another
    stage has one.
    """
    if not isinstance(objective, Stages):
        return evaluate(objective, False)
    if len(objective.objectives) == 1:
        return evaluate(objective.objectives[0], False)
    # Branches of a switch must agree in structure.
    found = [jax.eval_shape(lambda o=o: evaluate(o, False)[0][1][0]) for o in objective.objectives]
    weighted = any(WEIGHT in metrics for metrics in found)
    common = set.intersection(*(set(metrics) for metrics in found))
    common |= {WEIGHT} if weighted else set()

    def branch(objective: Objective) -> Callable[[], Any]:
        def evaluated() -> Any:
            (loss, (metrics, others)), gradient = evaluate(objective, weighted)
            return (loss, ({name: metrics[name] for name in sorted(common)}, others)), gradient

        return evaluated

    stage = jnp.searchsorted(jnp.asarray(objective.boundaries), step, side="right")
    return jax.lax.switch(stage, [branch(o) for o in objective.objectives])
