"""Figures of annealed bounds and estimates against the number of temperatures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bounds_by_temperatures(
    temperatures: Sequence[int], lower: Any, upper: Any, title: str = "AIS"
) -> "Figure":
    """Mean bounds on log p(x) against the number of temperatures, with standard errors.

    Args:
      temperatures: numbers of temperatures, `T` of them.
      lower, upper: `[T, N]` in nats, for N examples.
    """
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    counts = np.asarray(temperatures)
    sound = low.ndim == 2 and low.shape == high.shape == (len(counts), low.shape[1])
    rule = f"must be [{len(counts)}, N], as `upper` is"
    require(sound and low.size > 0, "lower", rule, (low.shape, high.shape), error=DataError)
    gap = (high - low)[counts.argmax()].mean()
    rows = ((high, DATA_COLOUR, "upper, backwards"), (low, MODEL_COLOUR, "lower, forwards"))
    curves = [(values.mean(1), _errors(values), colour, name) for values, colour, name in rows]
    label = "log p(x) of simulated data, nats"
    return _by_temperatures(counts, curves, f"{title}, gap {gap:.2f} nats", label)


def _errors(values: np.ndarray) -> np.ndarray:
    """Standard errors of means of `[T, N]`; NaN, which is not drawn, for a single example."""
    if values.shape[1] == 1:
        return np.full(len(values), np.nan)
    return values.std(1, ddof=1) / np.sqrt(values.shape[1])


def estimates_by_temperatures(
    temperatures: Sequence[int], values: Any, errors: Any, title: str = "log Z"
) -> "Figure":
    """Estimates of log Z `[T]` in nats against the number of temperatures, with standard errors."""
    values, errors = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    counts = np.asarray(temperatures)
    sound = values.shape == errors.shape == counts.shape and values.size > 0
    rule = f"must be [{len(counts)}], as `errors` are"
    require(sound, "values", rule, (values.shape, errors.shape), error=DataError)
    curves = [(values, errors, MODEL_COLOUR, "")]
    return _by_temperatures(counts, curves, title, "log Z, nats")


def _by_temperatures(counts: np.ndarray, curves: Any, title: str, label: str) -> "Figure":
    figure = new_figure(5.0, 3.4, title)
    axes = figure.add_subplot()
    for values, errors, colour, name in curves:
        axes.errorbar(counts, values, errors, color=colour, marker="o", ms=4, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("temperatures", fontsize=8)
    axes.set_ylabel(label, fontsize=8)
    if any(name for *_, name in curves):
        axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    return figure
