"""Measured values against a setting that was varied: a panel for each, or all in one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy
from dgmjax.plotting.comparisons import COLOURS

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


def compared(
    curves: Mapping[str, Any],
    name: str,
    quantity: str,
    title: str = "",
    dashed: str = "Lasso",
    log: bool = True,
) -> "Figure":
    """Several methods in one panel.

    Args:
      curves: method -> `[S, 2]`, each a setting and the value there.
      name: of the setting.
      quantity: of the values.
      dashed: methods whose name begins with it, such as baselines, are drawn in grey, with dashes.
      log: both axes are logarithmic.
    """
    require(len(curves) > 0, "curves", "must name at least one method", "none", error=DataError)
    figure = new_figure(5.6, 4.2, title)
    axes = figure.add_subplot()
    markers, groups = "osv^Dx", {True: 0, False: 0}
    for method, given in curves.items():
        aside = method.startswith(dashed)
        place, groups[aside] = groups[aside], groups[aside] + 1
        # Colours tell methods apart, and markers those that have to share one.
        turn = place if aside else place // len(COLOURS)
        array = np.asarray(given, np.float64)
        pairs = array.ndim == 2 and array.shape[1] == 2
        rule = "must be [S, 2], positive" if log else "must be [S, 2]"
        sound = pairs and (not log or bool((array > 0).all()))
        require(sound, method, rule, array.shape, error=DataError)
        array = array[np.argsort(array[:, 0])]
        axes.plot(
            *array.T,
            color="#8a8d93" if aside else COLOURS[place % len(COLOURS)],
            marker=markers[turn % len(markers)],
            linestyle="--" if aside else "-",
            markersize=3.5,
            linewidth=1.2,
            label=method,
        )
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel(name, fontsize=8)
    axes.set_ylabel(quantity, fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    tidy(axes)
    return figure
