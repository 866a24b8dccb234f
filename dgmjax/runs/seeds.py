"""Records of several seeds as one: the mean or interquartile mean over seeds, with its error."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dgmjax.errors import RunError, require
from dgmjax.files import write_atomically
from dgmjax.runs import strict_json
from dgmjax.runs.record import Record
from dgmjax.runs.record_table import mean_and_error

RESAMPLES = 2000
"""Bootstrap resamples of the error of an interquartile mean."""

FEW = 4
"""Seeds below which no quarter can be left out."""


def interquartile_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """The mean of the middle half: of n values the lowest and highest floor(n / 4) are left out.

    Source: Agarwal, Schwarzer, Castro, Courville & Bellemare, "Deep Reinforcement Learning at the
    Edge of the Statistical Precipice", 2021, section 4.3, https://arxiv.org/abs/2108.13264.

    >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 90.0])))
    1.5
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, np.float64), axis, 0), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(0)


def over_seeds(runs: Sequence[Sequence[Record]], *, interquartile: bool = False) -> list[Record]:
    """For every measurement that all runs have, the mean of its values over the runs.

    The standard error is that of the mean over seeds, their standard deviation over the root of
    their number; that of the examples, which all runs share, is not in it. `seed` and `step` are
    those of the first run, and `seconds` the sum.

    Args:
      runs: the records of each seed, at least two.
      interquartile: `interquartile_mean` in place of the mean, and the standard deviation of its
        bootstrap in place of the error; the estimator then says so.
    """
    require(len(runs) >= 2, "runs", "must be at least two", len(runs), error=RunError)
    by_name = [{_name(record): record for record in records} for records in runs]
    found = []
    for name, first in by_name[0].items():
        if all(name in records for records in by_name):
            values = np.array([records[name].value for records in by_name], np.float64)
            seconds = sum(records[name].seconds for records in by_name)
            error: float | None
            if interquartile:
                mean, error = _interquartile(values)
                first = replace(first, estimator=f"{first.estimator}; {middle_of(len(values))}")
            else:
                mean, error = mean_and_error(values.tolist())
            found.append(replace(first, value=mean, standard_error=error, seconds=seconds))
    return found


def middle_of(num: int) -> str:
    """What an estimator is of `num` seeds."""
    return f"interquartile mean of {num} seeds"


def _interquartile(values: np.ndarray) -> tuple[float, float | None]:
    rows = np.random.Generator(np.random.Philox(0)).random((len(values), RESAMPLES))
    drawn = values[(rows * len(values)).astype(int)]
    with np.errstate(invalid="ignore"):  # of an infinite density
        mean, error = float(interquartile_mean(values)), float(interquartile_mean(drawn).std())
    return mean, error if math.isfinite(error) else None


def _name(record: Record) -> tuple[str | None, ...]:
    return record.metric, record.model, record.dataset, record.split, record.estimator


def seeds_lines(runs: Sequence[Sequence[Record]]) -> list[str]:
    """A line for each measurement over the seeds; none for one seed.

    From four seeds on it has the interquartile mean as well.
    """
    if len(runs) < 2:
        return []
    lines = [f"over {len(runs)} seeds: {record.summary()}" for record in over_seeds(runs)]
    if len(runs) < FEW:
        return lines
    middles = over_seeds(runs, interquartile=True)
    each = zip(lines, middles, strict=True)
    return [f"{line}; interquartile mean {middle.formatted_value()}" for line, middle in each]


def write_seeds(folder: str | os.PathLike, runs: Sequence[Sequence[Record]]) -> None:
    """Writes the records over several seeds to `seeds.json` in a folder; nothing for one seed."""
    if len(runs) < 2:
        return
    records = over_seeds(runs, interquartile=len(runs) >= FEW)
    entries = [record.to_json() for record in records]
    write_atomically(
        Path(folder) / "seeds.json", (strict_json.dumps(entries, indent=2) + "\n").encode()
    )
