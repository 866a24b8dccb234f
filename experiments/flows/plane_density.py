"""Any flow on any set of the plane: test NLL beside the entropy, where that is known.

    dgmjax train plane_density --flow planar --dataset rings
    dgmjax train plane_density --flow sylvester_triangular --dataset spirals

`python -m benchmarks.flow_gallery` trains every flow on every set.
"""

from dgmjax import lab

from ..shared import plane
from ..shared.options import Shared


def plane_density(
    *,
    flow: plane.Name = "maf_spline",
    dataset: str = "rings",
    layers: int | None = None,
    hidden: tuple[int, ...] = plane.HIDDEN,
    steps: int = 10_000,
    num_train: int = 50_000,
    shared: Shared = Shared(learning_rate=2e-3, batch_size=256),
) -> lab.Experiment:
    """A flow on a synthetic set.

    Args:
      flow: which; a row of `experiments.plane.FLOWS`.
      dataset: name of a synthetic set, such as moons, rings, spirals or pinwheel, or points of
        your own: a path (.csv, .npy, .npz) of two columns.
      layers: of the flow; by default the number in the table.
      hidden: units of each layer's network.
      steps: training steps.
      num_train: training points.
    """
    return plane.density_experiment(
        shared,
        flow,
        dataset,
        layers=layers,
        hidden=hidden,
        steps=steps,
        num_train=num_train,
    )
