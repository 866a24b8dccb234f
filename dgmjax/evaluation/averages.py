"""Averages of objectives over a split: exact, whatever the batch size."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import require
from dgmjax.types import Array, Key, Metrics

Evaluate = Callable[[Mapping[str, Any], Key], tuple[Array, Metrics]]
"""An objective with its model already given: `(batch, key) -> (loss[B], metrics)`."""


class Measurement(NamedTuple):
    """A number, its standard error (None where there is none) and the examples behind it."""

    value: float
    standard_error: float | None
    num_examples: int


def per_example(
    evaluate: Evaluate,
    arrays: Mapping[str, np.ndarray],
    batch_size: int,
    key: Key,
    *,
    part: tuple[int, int] = (0, 1),
) -> dict[str, np.ndarray]:
    """The loss (as `loss`) and every per-example metric, in the stored order, `[N]` each.

    The last batch is padded to full size, so one compilation serves all; padding is dropped
    here. Batch i uses `fold_in(key, i)`.

    Args:
      evaluate: compiled by the caller.
      arrays: transformed evaluation data.
      part: `(i, n)` computes batches i, i + n, ... and leaves zeros elsewhere: the sum over the n
        parts is the whole, bit for bit.
    """
    require(batch_size >= 1, "batch_size", "must be at least 1", batch_size)
    rows = len(next(iter(arrays.values())))
    results: dict[str, np.ndarray] = {}
    for index, batch in enumerate(evaluation_batches(arrays, batch_size)):
        # The first batch says which metrics there are, and of which shapes.
        if index % part[1] != part[0] and index > 0:
            continue
        loss, metrics = evaluate(batch, jax.random.fold_in(key, index))
        real = batch["mask"] > 0
        for name, value in {"loss": loss, **metrics}.items():
            values = np.asarray(value)
            if values.shape[:1] != real.shape:
                continue
            if name not in results:
                results[name] = np.zeros((rows, *values.shape[1:]), values.dtype)
            if index % part[1] == part[0]:
                start = index * batch_size
                results[name][start : start + int(real.sum())] = values[real]
    return results


def average(values: np.ndarray) -> Measurement:
    """Mean of `[N]` values with its standard error s / sqrt(N), computed in float64.

    >>> average(np.array([1.0, 2.0, 3.0]))
    Measurement(value=2.0, standard_error=0.5773502691896258, num_examples=3)

    Of one value there is no standard error. None at all, and arrays of another shape, are refused.
    """
    values = np.asarray(values, np.float64)
    rule = "must be of shape [N], of at least one value"
    require(values.ndim == 1 and len(values) > 0, "values", rule, values.shape)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Measurement(float(values.mean()), error, len(values))
