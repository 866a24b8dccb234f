"""Figure of a lower and an upper bound that approach each other."""

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
    gap = (high - low)[-1].mean()
    figure = new_figure(5.0, 3.4, f"{title}, gap {gap:.2f} nats")
    axes = figure.add_subplot()
    rows = ((high, DATA_COLOUR, "upper, backwards"), (low, MODEL_COLOUR, "lower, forwards"))
    for values, colour, name in rows:
        error = values.std(1) / np.sqrt(values.shape[1])
        axes.errorbar(counts, values.mean(1), error, color=colour, marker="o", ms=4, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("temperatures", fontsize=8)
    axes.set_ylabel("log p(x) of simulated data, nats", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    return figure
