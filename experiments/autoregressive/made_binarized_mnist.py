"""MADE on static binarised MNIST: exact 88.40 nats with one mask (Germain et al. 2015).

    dgmjax train made_binarized_mnist --data-dir DATA
    dgmjax train made_binarized_mnist --hidden 2000 2000 --num-orders 32 --epochs 40 --data-dir DATA

One hidden layer of 8000 units as in the paper, direct connections, AdamW and a cosine schedule; the
best epoch is chosen on the validation split. The second command is an ensemble over 32 orders, for
which the paper has 86.64 nats with two layers of 8000 units.
Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution
Estimation", 2015, Table 6, https://arxiv.org/abs/1502.03509.
"""

from dataclasses import replace

from dgmjax import lab, models, objectives, runs

from ..shared import common, completion
from ..shared.options import Images


def made_binarized_mnist(
    *,
    hidden: tuple[int, ...] = (8000,),
    num_orders: int = 1,
    direct: bool = True,
    weight_decay: float = 0.01,
    shared: Images = Images(learning_rate=1e-3, epochs=10, batch_size=100),
) -> lab.Experiment:
    """A masked autoencoder over 784 binary pixels in raster order.

    Args:
      hidden: units of the hidden layers.
      num_orders: orderings with masks of their own; above 1 the model is order-agnostic and its
        likelihood that of the ensemble.
      direct: connect input to output directly as well (masked).
      weight_decay: of AdamW.
    """
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        hidden, shared = (32,), replace(shared, epochs=2)
    natural = num_orders == 1
    value = {(1, 1): 88.40, (2, 32): 86.64}.get((len(hidden), num_orders))
    source = f"Germain, Gregor, Murray & Larochelle 2015, Table 6, {num_orders} mask(s)"
    return completion.image_density(
        shared,
        model=f"MADE {common.sizes(*hidden)}, {num_orders} mask(s)",
        module=models.MADE(
            event_shape=dataset.event_shape, hidden=hidden, num_orders=num_orders, direct=direct
        ),
        adam={"weight_decay": weight_decay},
        dataset=dataset,
        transform=transform,
        published=value and runs.Published(value, source),
        loss=objectives.negative_log_likelihood if natural else objectives.sampled_ordering,
        completes=natural,
    )
