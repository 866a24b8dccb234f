"""RealNVP on two moons: test NLL, beside the entropy of the known density, 1.0076.

    dgmjax train realnvp_moons

The two moons are half circles with Gaussian noise of 0.1, whose entropy is known by quadrature.
Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016 (the model),
https://arxiv.org/abs/1605.08803.
"""

from dgmjax import lab

from ..shared import plane
from ..shared.options import Shared


def realnvp_moons(
    *,
    layers: int = 12,
    hidden: tuple[int, ...] = plane.HIDDEN,
    steps: int = 10_000,
    num_train: int = 50_000,
    shared: Shared = Shared(learning_rate=2e-3, batch_size=256),
) -> lab.Experiment:
    """Affine couplings over alternating entries.

    Args:
      layers: coupling layers, the two entries taking turns.
      hidden: units of each layer's network.
      steps: training steps.
      num_train: training points.
    """
    return plane.density_experiment(
        shared,
        "realnvp",
        "moons",
        layers=layers,
        hidden=hidden,
        steps=steps,
        num_train=num_train,
    )
