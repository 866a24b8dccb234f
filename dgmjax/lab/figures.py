"""Figures of a trained model, for experiments to name: each takes the trained model alone.

A trained model has `experiment`, `arrays(split)`, `sample(num)` and `call(method, *arguments)`;
see `dgmjax.lab.trained.Trained`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.completed import completions as completed_images, text as text_figure
from dgmjax.plotting.images import image_grid, reconstructions as paired_images
from dgmjax.plotting.imputed import imputations as imputed_images
from dgmjax.plotting.plane import density as density_figure, scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SEED = 1


def picture(trained: Any, x: np.ndarray) -> "Figure":
    """Samples `x` as a picture: images as a grid, points of the plane beside the data."""
    experiment = trained.experiment
    return picture_of(x, experiment.model, experiment.dataset.info, _raw_points(trained))


def picture_of(
    x: np.ndarray, model: str, info: Mapping[str, Any], points: np.ndarray | None = None
) -> "Figure":
    """The same for a model of this name, of data with these facts and perhaps without points."""
    name = f"Samples: {model}"
    if x.ndim == 4:
        return image_grid(_unit(info, x), title=name)
    require(
        x.ndim == 2 and x.shape[1] == 2,
        "x",
        "must be images or points of the plane for a picture",
        f"shape {x.shape}",
        "Write .npy or .npz instead.",
        DataError,
    )
    return scatter(x, reference=None if points is None else points[:2000], title=name)


def _raw_points(trained: Any) -> np.ndarray:
    """Test points in the units of the data, which are those of `trained.sample`."""
    return np.asarray(trained.experiment.dataset.splits["test"]["x"])


def samples(trained: Any, num: int = 64) -> "Figure":
    """Samples of the model."""
    return picture(trained, trained.sample(num if _is_image(trained) else 2000, FIGURE_SEED))


def means(trained: Any, num: int = 64) -> "Figure":
    """E[x | z] for z drawn from the prior: samples without observation noise."""
    import jax

    key = jax.random.key(FIGURE_SEED)
    x = trained.call(_mean_of(num), key)
    return image_grid(np.asarray(x), title=f"Means of prior samples: {trained.experiment.model}")


@lru_cache
def _mean_of(num: int):
    def mean(model, key):
        return model.mean(key, (num,))

    return mean


def data(trained: Any, num: int = 64) -> "Figure":
    """Test data, as the model sees them."""
    x = trained.arrays("test")["x"][:num]
    return image_grid(x, title=f"Data: {trained.experiment.dataset.name}")


def reconstructions(trained: Any, num: int = 16) -> "Figure":
    """Test images above E[x | z], z ~ q(z | x)."""
    import jax

    x = trained.arrays("test")["x"][:num]
    x_hat = trained.call("reconstruct", x, jax.random.key(FIGURE_SEED))
    return paired_images(x, np.asarray(x_hat))


def density(trained: Any) -> "Figure":
    """p(x) over the plane, in the units of the data, with test points on it."""
    points = _raw_points(trained)
    low, high = points.min(0), points.max(0)
    margin = 0.25 * (high - low)
    limits = tuple(np.stack([low - margin, high + margin], 1).ravel().tolist())
    experiment = trained.experiment
    method = _log_density(experiment.evaluation_transform or experiment.transform)
    log_prob = lambda grid: np.asarray(trained.call(method, np.float32(grid)))
    title = f"Density: {experiment.model}"
    return density_figure(log_prob, limits, samples=points[:500], title=title)


@lru_cache
def _log_density(transform: Any):
    """log p of points in the units of the data: the transform's log-determinant is counted."""
    import jax

    from dgmjax.objectives import negative_log_likelihood

    def log_density(model, x):
        batch = transform({"x": x}, jax.random.key(FIGURE_SEED))
        return -negative_log_likelihood(model, batch)[0]

    return log_density


def completions(trained: Any, num: int = 10, each: int = 5) -> "Figure":
    """Test images with the lower half removed, and completions of an autoregressive model."""
    import jax

    x = trained.arrays("test")["x"][:num]
    mask = upper_half(x.shape[1:])
    drawn = trained.call(_completed(each), jax.random.key(FIGURE_SEED), x, mask)
    completed = np.moveaxis(np.asarray(drawn), 0, 1)
    title = f"Completions: {trained.experiment.model}"
    info = trained.experiment.dataset.info
    return completed_images(_unit(info, x), mask, _unit(info, completed), title)


def upper_half(event_shape: tuple[int, ...]) -> np.ndarray:
    """True in the upper half of the rows, of shape `event_shape`."""
    rows = np.arange(event_shape[0]) < event_shape[0] // 2
    return np.broadcast_to(rows.reshape(-1, *[1] * (len(event_shape) - 1)), event_shape)


@lru_cache
def _completed(each: int):
    return lambda model, key, x, mask: model.complete(key, x, mask, (each,))


def imputations(trained: Any, num: int = 10, each: int = 4, chunks: int = 40) -> "Figure":
    """Test images with missing pixels, completed: E[x | observed], draws of it, and the truth."""
    from dgmjax.lab.measures import imputed

    arrays = {name: array[:num] for name, array in trained.arrays("test").items()}
    found = imputed(trained, arrays, num_samples=50 * chunks, num_imputations=each, chunk=50)
    title = f"Imputations: {trained.experiment.model}"
    observed, single, multiple, truth = (
        _unit(trained.experiment.dataset.info, x)
        for x in (arrays["x"], found.single, found.multiple, arrays["complete"])
    )
    return imputed_images(observed, arrays["observed"], single, multiple, truth, title)


def text(trained: Any, num: int = 3) -> "Figure":
    """Samples of a model of characters, as text."""
    from dgmjax.data.text import vocabulary

    symbols = vocabulary(trained.experiment.dataset)
    texts = [symbols.decode(row) for row in trained.sample(num, FIGURE_SEED)]
    return text_figure(texts, f"Samples: {trained.experiment.model}")


def _is_image(trained: Any) -> bool:
    return len(trained.experiment.dataset.event_shape) == 3


def _unit(info: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """Images in [0, 1]: raw integer levels are divided by the largest."""
    high = info["value_range"][1]
    return x / high if x.max() > 1.0 else x
