"""Measured values against a setting that was varied, one panel for each quantity."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_setting(
    setting: Any, values: Mapping[str, Any], name: str, title: str = "", log: bool = False
) -> "Figure":
    """A panel for each of `values`, by its name: `[S]` numbers at the settings `[S]`.

    Args:
      name: of the setting.
      log: both axes are logarithmic.
    """
    setting = np.asarray(setting, np.float64)
    require(len(values) > 0, "values", "must name at least one quantity", "none", error=DataError)
    figure = new_figure(3.2 * len(values) + 0.6, 3.0, title)
    for place, (quantity, given) in enumerate(values.items()):
        array = np.asarray(given, np.float64)
        rule = f"must be [S], one for each of the {setting.size} settings"
        require(array.shape == setting.shape, "values", rule, array.shape, error=DataError)
        axes = figure.add_subplot(1, len(values), place + 1)
        axes.plot(setting, array, color=MODEL_COLOUR, marker="o", markersize=3, linewidth=1)
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(setting, [f"{value:g}" for value in setting], minor=False)
        axes.set_xlabel(name, fontsize=8)
        axes.set_ylabel(quantity, fontsize=8)
        tidy(axes)
    return figure
