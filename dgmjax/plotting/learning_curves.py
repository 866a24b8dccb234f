"""Learning curves from the metrics of a run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MANY = 60  # more points than this are drawn pale, with a smoothed line on top
_COLOURS = (
    *("#2e8b57", "#7b4fa3", "#b8860b", "#444444"),
    *("#1b9e9e", "#d95f02", "#8c510a", "#e377c2", "#9acd32", "#6a8fbf"),
)
_FIXED = {"train": MODEL_COLOUR, "validation": "#c8102e"}  # the same in every figure


def _colours(names: Sequence[str]) -> list[str]:
    """A colour for each quantity of a panel: fixed ones for training and validation."""
    if len(names) == 1:
        return [MODEL_COLOUR]
    free = iter(_COLOURS * len(names))
    # A trainer names what it trains on without a prefix: `loss` beside `validation/loss`.
    trained = {name for name in names if f"validation/{name}" in names}
    kind = lambda name: "train" if name in trained else name.partition("/")[0]
    return [_FIXED.get(kind(name)) or next(free) for name in names]


def curves(
    metrics: Sequence[Mapping[str, Any]],
    names: Sequence[str] | None = None,
    title: str = "Learning curves",
) -> "Figure":
    """One panel per quantity, over the training step.

    Names such as `train/loss` and `validation/loss` share the panel `loss`. A quantity with many
    points is drawn pale under its moving average. Non-finite values leave a gap.

    Args:
      metrics: lines `{"step": ..., name: value, ...}`; a name may be absent from some.
      names: which to draw, in this order; None for all.
      title: of the figure.
    """
    found = dict.fromkeys(name for line in metrics for name in line if name != "step")
    chosen = list(found) if names is None else [name for name in names if name in found]
    require(bool(chosen), "metrics", "must hold at least one quantity", "none", error=DataError)
    panels: dict[str, list[str]] = {}
    for name in chosen:
        panels.setdefault(name.rpartition("/")[2], []).append(name)
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(3.4 * columns + 0.4, 2.4 * rows + 0.5, title)
    for index, (panel, members) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for colour, name in zip(_colours(members), members):
            _draw(axes, metrics, name, colour, alone=len(members) == 1)
        axes.set_title(panel.replace("_", " "), fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        if len(members) > 1:
            axes.legend(fontsize=7, frameon=False)
        tidy(axes)
    return figure


def _draw(
    axes: Any, metrics: Sequence[Mapping[str, Any]], name: str, colour: str, alone: bool
) -> None:
    pairs = [(line["step"], line[name]) for line in metrics if name in line]
    steps, values = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    values = np.where(np.isfinite(values), values, np.nan)
    label = None if alone else name
    if len(values) <= _MANY:
        marker = "o" if len(values) < 20 else None
        axes.plot(steps, values, color=colour, linewidth=1.3, marker=marker, ms=3, label=label)
        return
    axes.plot(steps, values, color=DATA_COLOUR if alone else colour, linewidth=0.6, alpha=0.5)
    axes.plot(steps, _smooth(values), color=colour, linewidth=1.4, label=label)


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean over a window of about a fortieth of the points, ignoring gaps."""
    width = max(len(values) // 40, 1)
    kernel = np.ones(2 * width + 1)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="same")
    count = np.convolve(known.astype(float), kernel, mode="same")
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
