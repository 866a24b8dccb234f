"""NADE on static binarised MNIST: exact 88.33 nats (Larochelle & Murray 2011).

    dgmjax train nade_binarized_mnist --data-dir DATA

One CPU core that other work shared: 76 minutes (40 by itself, at 0.12 CPU-s a step), which reached
88.62; `--epochs 25` reached 89.98. 500 hidden units, Adam with decoupled weight decay and a cosine
schedule; the best epoch is chosen on the validation split. With `--num-orders`, an ensemble over
orderings of the pixels (EoNADE).
Source: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator", 2011, Table 1.
"""

from dgmjax import lab, models, objectives, runs, training

from ..shared import common, completion


def nade_binarized_mnist(
    *,
    hidden: int = 500,
    num_orders: int = 1,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    epochs: int = 40,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """A neural autoregressive distribution estimator over 784 binary pixels in raster order.

    Args:
      hidden: units of the hidden layer that all pixels share.
      num_orders: orderings of the pixels; above 1 the likelihood is that of the ensemble.
      learning_rate: peak of the cosine schedule of AdamW.
      weight_decay: of AdamW.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.static_mnist(data_dir, tiny)
    if tiny:
        hidden, epochs = 16, 2
    steps = common.epochs_to_steps(dataset, epochs, batch_size)
    natural = num_orders == 1
    published = runs.Published(88.33, "Larochelle & Murray 2011, Table 1, NADE (fixed order)")
    return completion.image_density(
        model=f"NADE {hidden}" + ("" if natural else f", {num_orders} orderings"),
        module=models.NADE(dataset.event_shape, hidden, num_orders=num_orders),
        optimiser=training.adam(learning_rate, steps, weight_decay=weight_decay),
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        published=published if natural else None,
        loss=objectives.negative_log_likelihood if natural else objectives.sampled_ordering,
        completes=natural,
    )
