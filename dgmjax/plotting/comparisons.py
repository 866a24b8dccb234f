"""Several groups of numbers in one figure: histograms, and curves over a common axis."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (MODEL_COLOUR, "#c8102e", "#2e8b57", "#7b4fa3", "#b8860b", "#444444")
_BINS = 60
_OUTER = 0.5  # per cent of all numbers at each end that the axis may leave out


def histograms(panels: Mapping[str, Mapping[str, Any]], title: str = "") -> "Figure":
    """A panel for each quantity, with a histogram of each group of its numbers.

    Args:
      panels: quantity -> group -> `[N]` numbers; each histogram has an area of 1.
    """
    require(len(panels) > 0, "panels", "must name at least one quantity", "none", error=DataError)
    figure = new_figure(3.6 * len(panels) + 0.4, 3.0, title)
    for place, (quantity, groups) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        rule = "must have at least one group for each quantity"
        require(len(groups) > 0, "panels", rule, quantity, error=DataError)
        arrays = {name: _finite(name, given) for name, given in groups.items()}
        low, high = np.percentile(np.concatenate(list(arrays.values())), [_OUTER, 100.0 - _OUTER])
        edges = np.linspace(low, max(high, low + 1e-6), _BINS + 1)
        for colour, (name, array) in zip(COLOURS * len(arrays), arrays.items()):
            inside = np.clip(array, edges[0], edges[-1])
            axes.hist(inside, edges.tolist(), density=True, color=colour, alpha=0.5, label=name)
        axes.set_xlabel(quantity, fontsize=8)
        axes.set_yticks([])
        axes.legend(fontsize=7, frameon=False)
        tidy(axes)
    return figure


def roc_curves(inside: Any, outside: Mapping[str, Any], title: str = "") -> "Figure":
    """Share of the `outside` groups that is found against the share of `inside` that is, too.

    Args:
      inside: `[N]` scores, high for what is as it should be.
      outside: name -> `[M]` scores.
    """
    usual = np.sort(_finite("inside", inside))
    figure = new_figure(4.2, 3.9, title)
    axes = figure.add_subplot()
    for colour, (name, given) in zip(COLOURS * len(outside), outside.items()):
        scores = np.sort(_finite(name, given))
        at = np.concatenate([[-np.inf], np.unique(np.concatenate([usual, scores]))])
        false, true = (np.searchsorted(s, at, side="right") / len(s) for s in (usual, scores))
        axes.plot(false, true, color=colour, linewidth=1.3, label=name)
    axes.plot([0, 1], [0, 1], color="#b9bcc2", linewidth=0.8, zorder=0)
    axes.set_xlabel("false alarms", fontsize=8)
    axes.set_ylabel("found", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    tidy(axes)
    return figure


def _finite(name: str, given: Any) -> np.ndarray:
    array = np.asarray(given, np.float64)
    sound = array.ndim == 1 and array.size > 0 and bool(np.isfinite(array).all())
    require(sound, name, "must be [N], finite and not empty", array.shape, error=DataError)
    return array
