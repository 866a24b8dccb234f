"""Weighted sums of objectives."""

from collections.abc import Mapping

from dgmjax.errors import require
from dgmjax.objectives.schedules import Scheduled, scheduled
from dgmjax.types import Array, Batch, Key, Metrics, Objective


def weighted_sum(
    model, batch: Batch, key: Key, *, terms: Mapping[str, tuple[Scheduled, Objective]]
) -> tuple[Array, Metrics]:
    """sum_i weight_i loss_i, each objective with the same key: a game and a likelihood, say.

    All terms draw the same samples where they draw them alike, so that a compiler computes these
    once.

    Args:
      terms: name -> weight and objective; weights are numbers of at least 0, and those of 0 are
        left out, or functions of the training step.

    Returns:
      loss `[B]`; metrics `<name>/loss` and `<name>/<metric>` of each term.
    """
    fixed = {name: one for name, (one, _) in terms.items() if isinstance(one, int | float)}
    counted = {name: term for name, term in terms.items() if fixed.get(name, 1.0) > 0.0}
    low = {name: weight for name, weight in fixed.items() if weight < 0.0}
    require(not low, "terms", "must have weights of at least 0", low)
    require(len(counted) >= 1, "terms", "must hold one with a positive weight", sorted(terms))
    losses: list[Array] = []
    metrics: dict[str, Array] = {}
    for name, (weight, objective) in counted.items():
        loss, found = objective(model, batch, key)
        losses.append(scheduled(weight, batch) * loss)
        metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
        metrics[f"{name}/loss"] = loss
    return sum(losses[1:], losses[0]), metrics
