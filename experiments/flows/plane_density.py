"""Any flow on any set of the plane: test NLL beside the entropy, where that is known.

    dgmjax train plane_density --flow planar --dataset rings
    dgmjax train plane_density --flow sylvester_triangular --dataset spirals

Two CPU cores: one or two minutes. `python -m benchmarks.flow_gallery` holds every flow against
every set.
"""

from dgmjax import lab

from ..shared import plane


def plane_density(
    *,
    flow: plane.Name = "maf_spline",
    dataset: str = "rings",
    layers: int | None = None,
    hidden: tuple[int, ...] = plane.HIDDEN,
    learning_rate: float = 2e-3,
    steps: int = 10_000,
    batch_size: int = 256,
    num_train: int = 50_000,
    tiny: bool = False,
) -> lab.Experiment:
    """A flow on a synthetic set.

    Args:
      flow: which; a row of `experiments.plane.FLOWS`.
      dataset: name of a synthetic set, such as moons, rings, spirals or pinwheel.
      layers: of the flow; the table's number where not given.
      hidden: units of each layer's network.
      learning_rate: peak of the cosine schedule of Adam.
      steps: training steps.
      batch_size: points a step.
      num_train: training points.
      tiny: fewer steps.
    """
    return plane.density_experiment(
        flow,
        dataset,
        layers=layers,
        hidden=hidden,
        learning_rate=learning_rate,
        steps=steps,
        batch_size=batch_size,
        num_train=num_train,
        tiny=tiny,
    )
