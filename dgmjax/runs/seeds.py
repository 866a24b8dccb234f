"""Records of several seeds as one: the mean over seeds and its standard error."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dgmjax.errors import RunError, require
from dgmjax.runs.record import Record


def over_seeds(runs: Sequence[Sequence[Record]]) -> list[Record]:
    """For every measurement that all runs have, the mean of its values over the runs.

    The standard error is that of the mean over seeds, their standard deviation over the root of
    their number; that of the examples, which all runs share, is not in it. `seed` and `step` are
    those of the first run, and `seconds` the sum.

    Args:
      runs: the records of each seed, at least two.
    """
    require(len(runs) >= 2, "runs", "must be at least two", len(runs), error=RunError)
    by_name = [{_name(record): record for record in records} for records in runs]
    found = []
    for name, first in by_name[0].items():
        if all(name in records for records in by_name):
            values = np.array([records[name].value for records in by_name], np.float64)
            error = float(values.std(ddof=1)) / math.sqrt(len(values))
            seconds = sum(records[name].seconds for records in by_name)
            mean = float(values.mean())
            found.append(replace(first, value=mean, standard_error=error, seconds=seconds))
    return found


def _name(record: Record) -> tuple[str | None, ...]:
    return record.metric, record.model, record.dataset, record.split, record.estimator


def seeds_lines(runs: Sequence[Sequence[Record]]) -> list[str]:
    """A line for each measurement over the seeds; none for one seed."""
    if len(runs) < 2:
        return []
    return [f"over {len(runs)} seeds: {record.summary()}" for record in over_seeds(runs)]
