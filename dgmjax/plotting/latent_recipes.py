"""Figures of a latent space, for experiments to name: each takes the trained model alone.

The codes are posterior means; see `plotting.recipes` for what a trained model has.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import new_figure, tidy
from dgmjax.plotting.images import image_grid
from dgmjax.plotting.images import traversals as traversal_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SEED = 1


def traversals(trained: Any, rows: int = 10, steps: int = 9, limit: float = 2.5) -> "Figure":
    """E[x | z] along one dimension a row: z_d from -limit to limit, the rest at one test image.

    The dimensions are those whose posterior means vary most, the most active first.
    """
    means = _codes(trained, 1000)
    order = np.argsort(means.var(0))[::-1][:rows]
    z = np.repeat(means[:1], len(order) * steps, 0).reshape(len(order), steps, -1)
    for row, dimension in enumerate(order):
        z[row, :, dimension] = np.linspace(-limit, limit, steps)
    x = np.asarray(trained.call(_decoded, z))
    labels = [f"$z_{{{dimension}}}$" for dimension in order]
    return traversal_figure(x, labels, title=f"Traversals: {trained.experiment.model}")


def interpolations(trained: Any, rows: int = 8, steps: int = 9) -> "Figure":
    """E[x | z] on the line between the codes of two test images, one pair a row."""
    means = _codes(trained, 2 * rows)
    weight = np.linspace(0.0, 1.0, steps, dtype=np.float32)[None, :, None]
    z = (1 - weight) * means[::2, None] + weight * means[1::2, None]
    x = trained.call(_decoded, z.reshape(-1, z.shape[-1]))
    title = f"Interpolations: {trained.experiment.model}"
    return image_grid(np.asarray(x), columns=steps, title=title)


def components(trained: Any, each: int = 12) -> "Figure":
    """What each component of a mixture prior stands for: a row of E[x | z], z from it alone."""
    import jax

    prior = trained.model.prior()
    mixed = hasattr(prior, "components")
    require(mixed, "prior", "must be a mixture for this figure", type(prior).__name__)
    z = prior.components.sample(seed=jax.random.key(FIGURE_SEED), sample_shape=(each,))
    x = trained.call(_decoded, np.asarray(z).swapaxes(0, 1).reshape(-1, *prior.event_shape))
    title = f"A component a row: {trained.experiment.model}"
    return image_grid(np.asarray(x), columns=each, title=title)


def posterior_scatter(trained: Any, num: int = 3000) -> "Figure":
    """Codes of test examples by class, on their two first principal components."""
    arrays = trained.arrays("test")
    require("label" in arrays, "dataset", "must have labels", sorted(arrays), "", DataError)
    means = _codes(trained, num)
    centred = means - means.mean(0)
    if centred.shape[1] > 2:
        _, _, axes_ = np.linalg.svd(centred, full_matrices=False)
        centred = centred @ axes_[:2].T
    require(
        centred.shape[1] == 2, "latent", "must have at least two dimensions", means.shape[1:], ""
    )
    figure = new_figure(5.5, 5.0, f"Codes by class: {trained.experiment.model}")
    axes = figure.subplots()
    labels = np.asarray(arrays["label"])[: len(means)]
    colours = axes.scatter(centred[:, 0], centred[:, 1], s=4, c=labels, cmap="tab10", linewidths=0)
    handles, names = colours.legend_elements(num=len(np.unique(labels)))
    axes.legend(handles, names, fontsize=8, frameon=False)
    for name, axis in (("first", axes.xaxis), ("second", axes.yaxis)):
        axis.set_label_text(f"{name} principal component")
    tidy(axes)
    return figure


def _codes(trained: Any, num: int) -> np.ndarray:
    x = trained.arrays("test")["x"][:num]
    means = np.asarray(trained.call(_posterior_mean, x))
    require(means.ndim == 2, "latent", "must be vectors for this figure", means.shape[1:])
    return means


def _posterior_mean(model, x):
    return model.posterior(x).mean()


def _decoded(model, z):
    return model.likelihood(z).mean()
