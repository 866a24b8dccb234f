"""Parts of experiments on densities of the plane: the flows, and how they are trained."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax import bijectors, data, lab, models, objectives, runs
from dgmjax.distributions import Mixture
from dgmjax.errors import require_sizes

from . import common, own
from .options import Shared

Name = Literal[
    "planar",
    "radial",
    "sylvester_orthogonal",
    "sylvester_householder",
    "sylvester_triangular",
    "nice",
    "realnvp",
    "maf",
    "iaf",
    "maf_mixture",
    "spline_coupling",
    "maf_spline",
]
Smooth = Literal[
    "moons",
    "circles",
    "rings",
    "spirals",
    "eight_gaussians",
    "grid_gaussians",
    "pinwheel",
    "banana",
    "correlated_gaussian",
]
"""Those whose density has a slope: that of the checkerboard is constant in parts."""
Points = Literal[Smooth, "checkerboard"]
HIDDEN = (64, 64)


@dataclass(frozen=True)
class PlaneFlow:
    """A row of `FLOWS`.

    Attributes:
      label: its name in the records, with a place for the number of layers.
      layers: their number by default.
      make: builds it from the number of layers and the hidden units of their networks, if any.
    """

    label: str
    layers: int
    make: Callable[[int, tuple[int, ...]], nn.Module]

    def module(self, layers: int | None = None, hidden: tuple[int, ...] = HIDDEN) -> nn.Module:
        """The flow over points `[..., 2]`."""
        return self.make(self.layers if layers is None else layers, hidden)


def sylvester(kind, **options):
    """A stack of Sylvester flows, which have no networks."""
    return lambda layers, hidden: models.SylvesterFlow(2, layers, kind, **options)


FLOWS: dict[str, PlaneFlow] = {
    "planar": PlaneFlow("planar flow ({})", 16, lambda layers, _: models.PlanarFlow(2, layers)),
    "radial": PlaneFlow("radial flow ({})", 16, lambda layers, _: models.RadialFlow(2, layers)),
    "sylvester_orthogonal": PlaneFlow(
        "orthogonal Sylvester flow ({})", 8, sylvester("orthogonal", num_columns=2)
    ),
    "sylvester_householder": PlaneFlow(
        "Householder Sylvester flow ({})", 8, sylvester("householder", num_reflections=2)
    ),
    "sylvester_triangular": PlaneFlow("triangular Sylvester flow ({})", 8, sylvester("triangular")),
    "nice": PlaneFlow("NICE ({})", 6, lambda layers, hidden: models.NICE(2, layers, hidden)),
    "realnvp": PlaneFlow(
        "RealNVP ({})", 8, lambda layers, hidden: models.RealNVP(2, layers, hidden)
    ),
    "maf": PlaneFlow("MAF ({}), affine", 6, lambda layers, hidden: models.MAF(2, layers, hidden)),
    "iaf": PlaneFlow("IAF ({})", 6, lambda layers, hidden: models.IAF(2, layers, hidden)),
    "maf_mixture": PlaneFlow(
        "MAF MoG ({})", 3, lambda layers, hidden: models.MAFMixture(2, layers, hidden)
    ),
    "spline_coupling": PlaneFlow(
        "RQ-NSF coupling ({})",
        6,
        lambda layers, hidden: models.NeuralSplineFlow(2, layers, hidden, num_bins=16, bound=4.0),
    ),
    "maf_spline": PlaneFlow(
        "MAF ({}), spline",
        4,
        lambda layers, hidden: models.MAF(
            2, layers, hidden, transformer=bijectors.RationalQuadraticSpline(16, bound=4.0)
        ),
    ),
}


def density_experiment(
    shared: Shared,
    flow: Name,
    dataset: str,
    *,
    layers: int | None,
    hidden: tuple[int, ...],
    steps: int,
    num_train: int,
) -> lab.Experiment:
    """Maximum likelihood on points of the plane; the published value is the true entropy."""
    row = FLOWS[flow]
    nll = objectives.negative_log_likelihood
    return points_experiment(
        shared,
        dataset,
        num_train,
        model=row.label.format(row.layers if layers is None else layers),
        module=row.module(layers, hidden),
        loss=nll,
        adam={"clip": 5.0},
        steps=min(steps, 3000) if shared.tiny else steps,
        validation=nll,
        figures={**common.plane_figures(), "layers": lab.flow_figures.grid_through_layers},
        previews=("density",),
    )


def points_experiment(
    shared: Shared,
    dataset: str,
    num_train: int,
    num_test: int = 10_000,
    *,
    how: str = "exact",
    estimators=(),
    **options,
) -> lab.Experiment:
    """A density model of standardised points; the published value is the true entropy.

    Args:
      how: the estimator of log p, in words.
      estimators: further ones.
      options: of `common.experiment`.
    """
    require_sizes(num_train=num_train)
    if dataset in data.names():
        points = data.load(dataset, n_train=num_train, n_validation=num_test, n_test=num_test)
    else:
        points = own.table(dataset, shared.data_dir, columns=2)
    published = None
    if points.entropy is not None:
        published = runs.Published(points.entropy, "entropy of the known density")
    likelihood = common.exact_likelihood(published, batch_size=1000)
    return common.experiment(
        shared,
        dataset=points,
        transform=data.Standardise.fit(points.splits["train"]["x"]),
        evaluation_batch_size=1000,
        estimators=(replace(likelihood, estimator=how), *estimators),
        **{"evaluations": 20, "figures": common.plane_figures(), **options},
    )


def eight_gaussians(scale: float = 1.0) -> Mixture:
    """Eight normals of deviation 0.2 on a circle of radius 2, times `scale`: a source of flows."""
    angles = jnp.arange(8) * jnp.pi / 4
    centres = 2.0 * scale * jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
    normals = distrax.Normal(centres, jnp.full_like(centres, 0.2 * scale))
    return Mixture(jnp.zeros(8), distrax.Independent(normals, 1))
