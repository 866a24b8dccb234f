"""Bar charts of the variance of gradient estimators."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gradient_variances(
    variances: Mapping[str, float],
    reference: str | None = None,
    title: str = "Variance of the gradient",
) -> "Figure":
    """One horizontal bar per estimator, on a logarithmic axis, in the order given, from the top.

    Args:
      variances: positive numbers by name.
      reference: the one drawn pale, with a line at its value; none if None.
    """
    values = np.array(list(variances.values()), np.float64)
    sound = values.size > 0 and bool(np.all(np.isfinite(values) & (values > 0)))
    require(sound, "variances", "must be positive, and not empty", variances, error=DataError)
    known = reference is None or reference in variances
    require(known, "reference", f"must be one of {list(variances)}", repr(reference))
    figure = new_figure(6.0, 0.32 * len(values) + 1.0, title)
    axes = figure.add_subplot()
    colours = [DATA_COLOUR if name == reference else MODEL_COLOUR for name in variances]
    rows = np.arange(len(values))
    axes.barh(rows, values, color=colours)
    axes.set_yticks(rows, list(variances))
    axes.invert_yaxis()
    axes.set_xscale("log")
    if reference is not None:
        axes.axvline(variances[reference], color="black", linewidth=0.8, linestyle=":")
    for row, value in zip(rows, values):
        axes.annotate(f" {value:.3g}", (value, row), va="center", fontsize=7)
    axes.margins(x=0.15)
    axes.set_xlabel("sum over parameters of the posterior", fontsize=8)
    tidy(axes)
    return figure
