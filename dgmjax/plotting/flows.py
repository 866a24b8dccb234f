"""Figures of flows: how a grid is deformed layer by layer, interpolations, temperatures.

`deformation` takes points; the others take a trained flow (see `dgmjax.lab.figures`), whose
model has `bijector()` and `base_model()`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy
from dgmjax.plotting.images import traversals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SEED = 1
_MANY = 7  # pictures in a strip
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
      titles: one a stage.
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


def grid_through_layers(trained: Any, limit: float = 2.5, lines: int = 21) -> "Figure":
    """The grid [-limit, limit]^2 of the base after the layers of a trained flow of the plane.

    At most seven pictures: the base, the data, and layers evenly spread between them.
    """
    line = np.linspace(-limit, limit, 8 * (lines - 1) + 1, dtype=np.float32)
    stages = np.asarray(trained.call(_stages, np.stack(np.meshgrid(line, line), -1)))
    count = min(len(stages), _MANY)
    chosen = np.linspace(0, len(stages) - 1, count).round().astype(int)
    names = ["base", *(f"layer {index}" for index in chosen[1:-1]), "data"]
    title = f"From the base to the data: {trained.experiment.model}"
    return deformation(stages[chosen], names, every=8, title=title)


def _stages(model: Any, z: Any) -> Any:
    """`z` after no layer, after the first, ..., after all; repeated layers are counted apart."""
    import jax.numpy as jnp

    from dgmjax.bijectors import Repeat

    stages = [z]
    for bijector in model.bijector().bijectors:
        repeated = isinstance(bijector, Repeat)
        parts = [bijector.layer(i) for i in range(bijector.num_layers)] if repeated else [bijector]
        for part in parts:
            stages.append(part.forward(stages[-1]))
    return jnp.stack(stages)


def interpolations(trained: Any, rows: int = 6, columns: int = 9) -> "Figure":
    """Test images joined by straight lines in the base: each row goes from one to another."""
    x = np.asarray(trained.arrays("test")["x"])
    require(len(x) >= 2, "test", "must hold at least two images", len(x), error=DataError)
    rows = min(rows, len(x) // 2)
    weights = np.linspace(0.0, 1.0, columns, dtype=np.float32)
    between = trained.call(_interpolated, x[:rows], x[rows : 2 * rows], weights)
    title = f"Interpolations: {trained.experiment.model}"
    return _table(trained, between, [""] * rows, title, "from one test image to another")


def _interpolated(model: Any, first: Any, last: Any, weights: Any) -> Any:
    bijector = model.bijector()
    ends = bijector.inverse(first)[:, None], bijector.inverse(last)[:, None]
    weight = weights.reshape(-1, *[1] * (ends[0].ndim - 2))
    return bijector.forward((1.0 - weight) * ends[0] + weight * ends[1])


def temperatures(
    trained: Any, values: Sequence[float] = (0.5, 0.7, 0.9, 1.0), columns: int = 9
) -> "Figure":
    """Samples x = f(m + T (z - m)), one row a temperature T; columns share z; m is the base's mean.

    Source: Kingma & Dhariwal, "Glow", 2018, section 6 ("low-temperature sampling").
    """
    import jax

    given = np.asarray(values, np.float32)
    require(given.ndim == 1 and given.size > 0, "values", "must name a temperature", values)
    key = jax.random.key(FIGURE_SEED)
    samples = trained.call(_sampler(columns), key, given)
    title = f"Temperatures: {trained.experiment.model}"
    names = [f"T = {value:g}" for value in given]
    return _table(trained, samples, names, title, "one point of the base a column")


@lru_cache
def _sampler(columns: int) -> Any:
    """The same function for the same number, so that it compiles once."""

    def sample(model: Any, key: Any, values: Any) -> Any:
        base = model.base_model()
        z, mean = base.sample(seed=key, sample_shape=(columns,)), base.mean()
        scale = values.reshape(-1, *[1] * z.ndim)
        return model.bijector().forward(mean + scale * (z - mean))

    return sample


def _table(trained: Any, x: Any, labels: Sequence[str], title: str, below: str) -> "Figure":
    """Rows of images in the units of the raw data."""
    experiment = trained.experiment
    transform = experiment.evaluation_transform or experiment.transform
    x = np.asarray(transform.inverse(x))
    high = experiment.dataset.info["value_range"][1]
    figure = traversals(x / high if x.max() > 1.0 else x, labels, title)
    figure.axes[0].set_xlabel(below)
    return figure
