"""Weighted sums of objectives."""

from collections.abc import Mapping

from dgmjax.errors import require
from dgmjax.types import Array, Batch, Key, Metrics, Objective


def weighted_sum(
    model, batch: Batch, key: Key, *, terms: Mapping[str, tuple[float, Objective]]
) -> tuple[Array, Metrics]:
    """sum_i weight_i loss_i, each objective with the same key: a game and a likelihood, say.

    All terms draw the same samples where they draw them alike, so that a compiler computes these
    once.

    Args:
      terms: name -> weight and objective; weights are at least 0, and those of 0 are left out.

    Returns:
      loss `[B]`; metrics `<name>/loss` and `<name>/<metric>` of each term.
    """
    counted = {name: term for name, term in terms.items() if term[0] > 0.0}
    low = {name: weight for name, (weight, _) in terms.items() if weight < 0.0}
    require(not low, "terms", "must have weights of at least 0", low)
    require(len(counted) >= 1, "terms", "must hold one with a positive weight", sorted(terms))
    losses: list[Array] = []
    metrics: dict[str, Array] = {}
    for name, (weight, objective) in counted.items():
        loss, found = objective(model, batch, key)
        losses.append(weight * loss)
        metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
        metrics[f"{name}/loss"] = loss
    return sum(losses[1:], losses[0]), metrics
