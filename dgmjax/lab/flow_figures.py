"""Figures of a trained flow: a grid after each layer, interpolations, temperatures.

Each takes the trained model (see `dgmjax.lab.figures`); its module has `bijector()` and
`base_model()`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.lab.figures import FIGURE_SEED
from dgmjax.plotting.deformation import deformation
from dgmjax.plotting.images import traversals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MANY = 7  # pictures in a strip


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
    """Samples at temperatures, see `Flow.sample`: a row per temperature; columns share z."""
    import jax

    given = np.asarray(values, np.float32)
    require(given.ndim == 1 and given.size > 0, "values", "must name a temperature", values)
    key = jax.random.key(FIGURE_SEED)
    samples = trained.call(_sampler(columns), key, given)
    title = f"Temperatures: {trained.experiment.model}"
    names = [f"T = {value:g}" for value in given]
    return _table(trained, samples, names, title, "one point of the base per column")


@lru_cache
def _sampler(columns: int) -> Any:
    """The same function for the same number, so that it compiles once."""
    import jax

    def sample(model: Any, key: Any, values: Any) -> Any:
        made = model()
        one = lambda value: made.sample(seed=key, sample_shape=(columns,), temperature=value)
        return jax.vmap(one)(values)

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
