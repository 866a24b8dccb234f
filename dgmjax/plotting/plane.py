"""Figures of the plane: samples as points, densities as colour."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Limits = tuple[float, float, float, float]
"""`(x_min, x_max, y_min, y_max)`."""


def scatter(
    samples: Any,
    reference: Any = None,
    title: str = "Samples",
    names: tuple[str, str] = ("model", "data"),
) -> "Figure":
    """The points `samples[N, 2]`, over those of `reference[M, 2]` if given, to the same scale."""
    points = _points("samples", samples)
    figure = new_figure(4.6, 4.6, title)
    axes = figure.add_subplot()
    if reference is not None:
        data = _points("reference", reference)
        axes.scatter(
            data[:, 0], data[:, 1], s=_size(data), c=DATA_COLOUR, label=names[1], linewidths=0
        )
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=_size(points),
        c=MODEL_COLOUR,
        label=names[0],
        linewidths=0,
        alpha=0.6,
    )
    if reference is not None:
        # Above the axes: points lie in every corner of a grid.
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
            ncols=2,
            fontsize=8,
            markerscale=2,
            frameon=False,
        )
    axes.set_aspect("equal", adjustable="datalim")
    _finish(axes)
    return figure


def paths(points: Any, title: str = "Paths") -> "Figure":
    """The paths `points[T, N, 2]` of N points over time, from their start (grey) to their end."""
    array = np.asarray(points)
    rule = "must be [times, points, 2]"
    require(array.ndim == 3 and array.shape[2] == 2, "points", rule, array.shape, "", DataError)
    figure = new_figure(4.6, 4.6, title)
    axes = figure.add_subplot()
    axes.plot(array[:, :, 0], array[:, :, 1], color=DATA_COLOUR, linewidth=0.5, zorder=1)
    for end, colour in ((array[0], "#6d7178"), (array[-1], MODEL_COLOUR)):
        axes.scatter(end[:, 0], end[:, 1], s=_size(end), c=colour, linewidths=0, zorder=2)
    axes.set_aspect("equal", adjustable="datalim")
    _finish(axes)
    return figure


def density(
    log_prob: Callable[[np.ndarray], Any] | Any,
    limits: Limits,
    samples: Any = None,
    title: str = "Density",
    resolution: int = 200,
) -> "Figure":
    """A heat map of a density on the rectangle `limits`.

    Args:
      log_prob: a function of points `[M, 2]` (float32) that returns `[M]` nats, or its values
        `[rows, columns]` on a regular grid of `limits`, row 0 at the smallest y.
      limits: `(x_min, x_max, y_min, y_max)`.
      samples: points `[N, 2]` to draw on top.
      title: of the figure.
      resolution: points along each side where `log_prob` is a function.
    """
    x_min, x_max, y_min, y_max = limits
    rule = "must be (x_min, x_max, y_min, y_max) with each min below its max"
    require(x_min < x_max and y_min < y_max, "limits", rule, limits)
    if callable(log_prob):
        columns = np.linspace(x_min, x_max, resolution)
        rows = np.linspace(y_min, y_max, resolution)
        grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        values = np.asarray(log_prob(grid.astype(np.float32))).reshape(resolution, resolution)
    else:
        values = np.asarray(log_prob)
    require(values.ndim == 2, "log_prob", "must be [rows, columns]", values.shape, error=DataError)
    figure = new_figure(5.4, 4.6, title)
    axes = figure.add_subplot()
    heat = axes.imshow(
        np.exp(values.astype(np.float64)),
        extent=limits,
        origin="lower",
        cmap="magma",
        interpolation="bilinear",
    )
    bar = figure.colorbar(heat, ax=axes, shrink=0.85)
    bar.set_label("density", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if samples is not None:
        points = _points("samples", samples)
        axes.scatter(
            points[:, 0], points[:, 1], s=_size(points), c="white", alpha=0.5, linewidths=0
        )
        axes.set_xlim(x_min, x_max)
        axes.set_ylim(y_min, y_max)
    _finish(axes)
    return figure


def density_table(
    pictures: Sequence[Sequence[Any]], rows: Sequence[str], columns: Sequence[str], title: str = ""
) -> "Figure":
    """A table of densities, each to a scale of its own, such as models by data sets.

    Args:
      pictures: `pictures[r][c]` is `[height, width]` of densities, row 0 at the smallest y.
      rows, columns: their names; those of rows are broken at underscores.
      title: of the figure.
    """
    require(len(pictures) == len(rows), "rows", "must name every row", len(rows))
    figure = new_figure(0.95 * len(columns) + 1.2, 0.95 * len(rows) + 0.6, title)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, (row, name) in enumerate(zip(pictures, rows)):
        require(len(row) == len(columns), "columns", "must name every column", len(columns))
        for j, picture in enumerate(row):
            values = np.asarray(picture, np.float64)
            # The top hundredth of the values is one colour, or a spike would hide the rest.
            top = max(float(np.quantile(values, 0.99)), np.finfo(np.float64).tiny)
            axes[i, j].imshow(values, origin="lower", cmap="magma", vmin=0.0, vmax=top)
            axes[i, j].set_xticks([])
            axes[i, j].set_yticks([])
            if i == 0:
                axes[i, j].set_title(columns[j], fontsize=7)
        axes[i, 0].set_ylabel(name.replace("_", "\n"), fontsize=7)
    return figure


def _points(argument: str, points: Any) -> np.ndarray:
    values = np.asarray(points, dtype=np.float64)
    shaped = values.ndim == 2 and values.shape[1] == 2 and len(values) > 0
    require(shaped, argument, "must be [N, 2] with N >= 1", values.shape, error=DataError)
    return values


def _size(points: np.ndarray) -> float:
    """The area of a marker: smaller where there are many."""
    return float(np.clip(4000 / len(points), 1.0, 12.0))


def _finish(axes: Any) -> None:
    axes.set_xlabel("$x_1$")
    axes.set_ylabel("$x_2$")
    tidy(axes)
