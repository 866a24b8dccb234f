"""RealNVP on two moons: test NLL, beside the entropy of the known density, 1.0076.

    dgmjax train realnvp_moons

Two CPU cores: about a minute. The two moons are half circles with Gaussian noise of 0.1, whose
entropy is known by quadrature.
"""

from dgmjax import lab

from ..shared import plane


def realnvp_moons(
    *,
    layers: int = 12,
    hidden: tuple[int, ...] = plane.HIDDEN,
    learning_rate: float = 2e-3,
    steps: int = 10_000,
    batch_size: int = 256,
    num_train: int = 50_000,
    tiny: bool = False,
) -> lab.Experiment:
    """Affine couplings over alternating entries.

    Args:
      layers: coupling layers, the two entries taking turns.
      hidden: units of each layer's network.
      learning_rate: peak of the cosine schedule of Adam.
      steps: training steps.
      batch_size: points a step.
      num_train: training points.
      tiny: fewer steps.
    """
    return plane.density_experiment(
        "realnvp",
        "moons",
        layers=layers,
        hidden=hidden,
        learning_rate=learning_rate,
        steps=steps,
        batch_size=batch_size,
        num_train=num_train,
        tiny=tiny,
    )
