"""NADE on static binarised MNIST: exact 88.33 nats (Larochelle & Murray 2011).

    dgmjax train nade_binarized_mnist --data-dir DATA

500 hidden units, Adam with decoupled weight decay and a cosine schedule; the best epoch is chosen
on the validation split. `--num-orders` makes an ensemble over orders of the pixels (EoNADE).
Source: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator", 2011, Table 1,
https://proceedings.mlr.press/v15/larochelle11a.html.
"""

from dataclasses import replace

from dgmjax import lab, models, objectives, runs

from ..shared import common, completion
from ..shared.options import Images


def nade_binarized_mnist(
    *,
    hidden: int = 500,
    num_orders: int = 1,
    weight_decay: float = 0.01,
    shared: Images = Images(learning_rate=1e-3, epochs=40, batch_size=100),
) -> lab.Experiment:
    """A neural autoregressive distribution estimator over 784 binary pixels in raster order.

    Args:
      hidden: units of the hidden layer that all pixels share.
      num_orders: orderings of the pixels; above 1 the likelihood is that of the ensemble.
      weight_decay: of AdamW.
    """
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        hidden, shared = 16, replace(shared, epochs=2)
    natural = num_orders == 1
    published = runs.Published(88.33, "Larochelle & Murray 2011, Table 1, NADE (fixed order)")
    return completion.image_density(
        shared,
        model=f"NADE {hidden}" + ("" if natural else f", {num_orders} orderings"),
        module=models.NADE(dataset.event_shape, hidden, num_orders=num_orders),
        adam={"weight_decay": weight_decay},
        dataset=dataset,
        transform=transform,
        published=published if natural else None,
        loss=objectives.negative_log_likelihood if natural else objectives.sampled_ordering,
        completes=natural,
    )
