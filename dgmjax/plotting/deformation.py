"""Strip of a grid of the plane that a flow deforms layer by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECOND_COLOUR = "#c8102e"


def deformation(
    stages: Any,
    titles: Sequence[str] | None = None,
    every: int = 1,
    title: str = "From the base to the data",
) -> "Figure":
    """A strip of pictures of one grid of the plane, on its way from the base to the data.

    The two directions have two colours, from light to dark, so that turns can be followed.

    Args:
      stages: `[stages, rows, columns, 2]`: where the grid's points lie after each layer.
      titles: one per stage.
      every: draw each `every`-th row and column, through all of its points.
      title: of the figure.
    """
    grids = np.asarray(stages, dtype=np.float64)
    require(
        grids.ndim == 4 and grids.shape[-1] == 2 and grids.size > 0,
        "stages",
        "must be [stages, rows, columns, 2], and not empty",
        grids.shape,
        error=DataError,
    )
    require(every >= 1, "every", "must be at least 1", every)
    names = [str(index) for index in range(len(grids))] if titles is None else list(titles)
    require(len(names) == len(grids), "titles", f"must be {len(grids)}, one a stage", len(names))
    figure = new_figure(2.1 * len(grids) + 0.2, 2.6, title)
    for index, (grid, name) in enumerate(zip(grids, names)):
        axes = figure.add_subplot(1, len(grids), index + 1)
        _draw_lines(axes, grid[::every], MODEL_COLOUR)
        _draw_lines(axes, grid[:, ::every].swapaxes(0, 1), _SECOND_COLOUR)
        axes.set_title(name, fontsize=8)
        axes.set_aspect("equal", adjustable="datalim")
        tidy(axes)
    return figure


def _draw_lines(axes: Any, lines: np.ndarray, colour: str) -> None:
    for index, line in enumerate(lines):
        alpha = 0.25 + 0.75 * index / max(len(lines) - 1, 1)
        axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=0.7, alpha=alpha)
