"""Figures of latent-variable models, and a table of the models that support each.

`supported` selects from `FIGURES` those that a model and its data support. The codes are posterior
means (`evaluation.posterior_mean`); see `lab.figures` for what a trained model has.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dgmjax.contracts import is_mixture, offers, shows_latents
from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import DataError, require
from dgmjax.evaluation.latent import active_dimensions, dimension_rates, posterior_mean
from dgmjax.evaluation.latent_structure import LatentStructure, latent_structure
from dgmjax.lab import figures
from dgmjax.plotting.canvas import new_figure, tidy
from dgmjax.plotting.images import image_grid, latent_manifold, traversals as traversal_figure
from dgmjax.plotting.rates import kl_bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SEED = 1
_BATCH = 500


def traversals(trained: Any, rows: int = 10, steps: int = 9, limit: float = 2.5) -> "Figure":
    """E[x | z] along one dimension per row: z_d from -limit to limit, the rest at one test image.

    The dimensions are those whose posterior means vary most, the most active first; those that are
    not active are left out, unless none is.
    """
    means = _codes(trained, 1000)
    alive = max(1, int(active_dimensions(means).sum()))
    order = np.argsort(means.var(0))[::-1][: min(rows, alive)]
    z = np.repeat(means[:1], len(order) * steps, 0).reshape(len(order), steps, -1)
    for row, dimension in enumerate(order):
        z[row, :, dimension] = np.linspace(-limit, limit, steps)
    x = np.asarray(trained.call(_decoded, z))
    labels = [f"$z_{{{dimension}}}$" for dimension in order]
    return traversal_figure(x, labels, title=f"Traversals: {trained.experiment.model}")


def interpolations(trained: Any, rows: int = 8, steps: int = 9) -> "Figure":
    """E[x | z] on the line between the codes of two test images, one pair per row."""
    means = _codes(trained, 2 * rows)
    weight = np.linspace(0.0, 1.0, steps, dtype=np.float32)[None, :, None]
    z = (1 - weight) * means[::2, None] + weight * means[1::2, None]
    x = trained.call(_decoded, z.reshape(-1, z.shape[-1]))
    title = f"Interpolations: {trained.experiment.model}"
    return image_grid(np.asarray(x), columns=steps, title=title)


def manifold(trained: Any, size: int = 20) -> "Figure":
    """E[x | z] of a latent plane, at the quantiles of N(0, 1) of a grid on the unit square.

    Every picture stands for the same share of a standard normal prior.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, Figure 4,
    https://arxiv.org/abs/1312.6114.
    """
    require(size >= 2, "size", "must be at least 2", size)
    line = [NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)]
    z = np.stack(np.meshgrid(line, line), -1).astype(np.float32)
    x = np.asarray(trained.call(_decoded, z))
    ends = (round(line[0], 2), round(line[-1], 2))
    return latent_manifold(x, ends, f"Latent manifold: {trained.experiment.model}")


def components(trained: Any, each: int = 12, rows: int = 20) -> "Figure":
    """The components of a mixture prior: one row of E[x | z] each, with z from that component.

    If there are more than `rows` components, the heaviest.
    """
    import jax

    prior = trained.model.prior()
    require(is_mixture(prior), "prior", "must be a mixture for this figure", type(prior).__name__)
    z = prior.components.sample(seed=jax.random.key(FIGURE_SEED), sample_shape=(each,))
    heaviest = np.sort(np.argsort(-np.asarray(prior.logits), kind="stable")[:rows])
    z = np.asarray(z).swapaxes(0, 1)[heaviest]
    x = trained.call(_decoded, z.reshape(-1, *prior.event_shape))
    some = f" ({len(heaviest)} of {prior.num_components})"
    some = some if len(heaviest) < prior.num_components else ""
    title = f"One component per row{some}: {trained.experiment.model}"
    return image_grid(np.asarray(x), columns=each, title=title)


def posterior_scatter(trained: Any, num: int = 3000) -> "Figure":
    """Codes of test examples by class, on their first two principal components.

    A latent plane is shown as it is.
    """
    arrays = trained.arrays("test")
    require("label" in arrays, "dataset", "must have labels", sorted(arrays), "", DataError)
    means = _codes(trained, num)
    rule = "must have at least two dimensions for this figure"
    require(means.shape[1] >= 2, "latent", rule, means.shape[1:])
    names = ["$z_1$", "$z_2$"]
    if means.shape[1] > 2:
        _, _, directions = np.linalg.svd(means - means.mean(0), full_matrices=False)
        means = (means - means.mean(0)) @ directions[:2].T
        names = ["first principal component", "second principal component"]
    figure = new_figure(5.5, 5.0, f"Codes by class: {trained.experiment.model}")
    axes = figure.subplots()
    labels = np.asarray(arrays["label"])[: len(means)]
    size = min(max(10_000 / len(means), 4.0), 24.0)  # few points are drawn larger
    colours = axes.scatter(means[:, 0], means[:, 1], s=size, c=labels, cmap="tab10", linewidths=0)
    handles, classes = colours.legend_elements(num=np.unique(labels).tolist())
    axes.legend(handles, classes, fontsize=8, frameon=False)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    tidy(axes)
    return figure


def kl_per_dimension(trained: Any) -> "Figure":
    """KL(q(z_d | x) || p(z_d)) of every dimension, averaged over the test split, sorted.

    Active dimensions, whose posterior means vary by more than 0.01
    (`evaluation.active_dimensions`), are dark.
    """
    arrays = trained.arrays("test")
    rates = trained.per_example(dimension_rates, arrays, _BATCH)["dimension_kl"]
    active = active_dimensions(_means(trained, len(rates)))
    title = f"KL per dimension: {trained.experiment.model}"
    return kl_bars(rates.mean(0, dtype=np.float64).ravel(), active.ravel(), title)


class Subject(NamedTuple):
    """The input of predicates of `FIGURES`: a module, its data, its latent structure."""

    module: Any
    dataset: Any
    latent: LatentStructure | None

    @property
    def images(self) -> bool:
        """Whether x is a picture."""
        shape = self.dataset.event_shape
        return len(shape) == 3 and shape[-1] in (1, 3)

    @property
    def length(self) -> int:
        """Dimensions of z where it is one vector, else 0."""
        shape = None if self.latent is None else self.latent.shape
        return shape[0] if shape is not None and len(shape) == 1 else 0

    @property
    def independent(self) -> bool:
        """Whether prior and posterior are products over the dimensions of z."""
        latent = self.latent
        return latent is not None and latent.independent_posterior and latent.independent_prior

    def has(self, method: str) -> bool:
        """Whether x is an image, and the module has this method of x and a key."""
        return self.images and offers(self.module, method)

    def tests(self, name: str) -> bool:
        """Whether the test split holds an array of that name."""
        return name in self.dataset.splits.get("test", {})


FIGURES: tuple[tuple[str, Callable[[Any], "Figure"], Callable[[Subject], bool]], ...] = (
    ("means", figures.means, lambda s: s.has("mean")),
    ("samples", figures.samples, lambda s: s.has("sample")),
    ("reconstructions", figures.reconstructions, lambda s: s.has("reconstruct") and s.tests("x")),
    ("data", figures.data, lambda s: s.images and s.tests("x")),
    ("manifold", manifold, lambda s: s.images and s.length == 2),
    ("traversals", traversals, lambda s: s.images and s.length > 0 and s.tests("x")),
    ("interpolations", interpolations, lambda s: s.images and s.length > 0 and s.tests("x")),
    ("posterior_scatter", posterior_scatter, lambda s: s.length > 1 and s.tests("label")),
    (
        "components",
        components,
        lambda s: s.images and s.latent is not None and s.latent.components > 0,
    ),
    ("kl_per_dimension", kl_per_dimension, lambda s: s.independent and s.tests("x")),
)
"""Name, figure, and whether a subject supports it."""


def supported(module: Any, dataset: Any) -> dict[str, Callable[[Any], "Figure"]]:
    """The figures of the table that the model and its data support, by name.

    Args:
      module: untrained; nothing is computed with it.
      dataset: with a split "test".
    """
    subject = Subject(module, dataset, latent_structure(module, tuple(dataset.event_shape)))
    return {name: figure for name, figure, applies in FIGURES if applies(subject)}


def _means(trained: Any, num: int) -> np.ndarray:
    """Codes of the first `num` test examples, `[num, *latent]`."""
    x = trained.arrays("test")["x"][:num]
    parts = [
        np.asarray(trained.call(posterior_mean, batch["x"]))[batch["mask"] > 0]
        for batch in evaluation_batches({"x": x}, min(len(x), _BATCH))
    ]
    return np.concatenate(parts)


def _codes(trained: Any, num: int) -> np.ndarray:
    means = _means(trained, num)
    require(means.ndim == 2, "latent", "must be vectors for this figure", means.shape[1:])
    return means


def _decoded(model, z):
    """What figures show of z: E[x | z], or a draw with a fixed seed if that is not known."""
    if shows_latents(model):
        import jax

        return model.shown(z, jax.random.key(FIGURE_SEED))
    return model.likelihood(z).mean()
