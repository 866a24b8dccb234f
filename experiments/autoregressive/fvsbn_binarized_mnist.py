"""FVSBN on static binarised MNIST: exact 97.45 nats (Larochelle & Murray 2011).

    dgmjax train fvsbn_binarized_mnist --data-dir DATA

Logistic regressions in one triangular matrix, by gradient descent with momentum. The penalty on the
absolute values suits the task, since most pairs of pixels are hardly dependent. Its weight, the
rate and the epoch were chosen on the validation split. Source: Larochelle & Murray, "The Neural
Autoregressive Distribution Estimator", 2011, Table 1,
https://proceedings.mlr.press/v15/larochelle11a.html.
"""

from dataclasses import replace

from dgmjax import lab, models, runs, training

from ..shared import common, completion
from ..shared.options import Images


def fvsbn_binarized_mnist(
    *,
    l1: float = 1.5e-4,
    shared: Images = Images(learning_rate=0.4, epochs=30, batch_size=100),
) -> lab.Experiment:
    """Every pixel a logistic regression on the pixels before it, in raster order.

    Args:
      l1: weight of the sum of the parameters' absolute values.
    """
    dataset, transform = common.images(shared, "static")
    shared = replace(shared, epochs=2) if shared.tiny else shared
    return completion.image_density(
        shared,
        model="FVSBN",
        module=models.FVSBN(dataset.event_shape),
        optimiser=training.sgd(
            shared.learning_rate, shared.steps(dataset), schedule=shared.schedule, l1=l1
        ),
        dataset=dataset,
        transform=transform,
        published=runs.Published(97.45, "Larochelle & Murray 2011, Table 1 (about)"),
    )
