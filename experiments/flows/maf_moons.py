"""MAF on two moons: test NLL within 0.05 nats of the entropy of the known density, 1.0076.

    dgmjax train maf_moons

The two moons are half circles with Gaussian noise of 0.1, whose entropy is known by quadrature.
Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017
(the model), https://arxiv.org/abs/1705.07057.
"""

from typing import Literal

from dgmjax import lab

from ..shared import plane
from ..shared.options import Shared


def maf_moons(
    *,
    transformer: Literal["affine", "spline"] = "spline",
    layers: int = 4,
    hidden: tuple[int, ...] = plane.HIDDEN,
    steps: int = 10_000,
    num_train: int = 50_000,
    shared: Shared = Shared(learning_rate=2e-3, batch_size=256),
) -> lab.Experiment:
    """A masked autoregressive flow.

    Args:
      transformer: "affine", or "spline" of 16 rational-quadratic bins on [-4, 4].
      layers: autoregressive layers, orders reversed between them.
      hidden: units of each layer's network.
      steps: training steps.
      num_train: training points.
    """
    return plane.density_experiment(
        shared,
        "maf" if transformer == "affine" else "maf_spline",
        "moons",
        layers=layers,
        hidden=hidden,
        steps=steps,
        num_train=num_train,
    )
