"""NADE on static binarised MNIST: exact 88.33 nats (Larochelle & Murray 2011).

    dgmjax train nade_binarized_mnist --data-dir DATA

Two CPU cores: less than an hour, judged by the time of a step (0.12 CPU-s); there is no record of a
whole run yet. 500 hidden units, Adam with decoupled weight decay and a cosine
schedule; the best epoch is chosen on the validation split. With `--num-masks`, an ensemble over
orderings of the pixels (EoNADE).
Source: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator", 2011, Table 1.
"""

from dgmjax import models, objectives, training
from experiments import common, completion


def nade_binarized_mnist(
    *,
    hidden: int = 500,
    num_masks: int = 1,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    epochs: int = 40,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> training.Experiment:
    """A neural autoregressive distribution estimator over 784 binary pixels in raster order.

    Args:
      hidden: units of the hidden layer that all pixels share.
      num_masks: orderings of the pixels; above 1 the likelihood is that of the ensemble.
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
    steps = epochs * (len(dataset.splits["train"]["x"]) // batch_size)
    nll = objectives.negative_log_likelihood
    loss = nll if num_masks == 1 else objectives.sampled_ordering
    optimiser = training.adam(learning_rate, steps, weight_decay=weight_decay)
    published = training.Published(88.33, "Larochelle & Murray 2011, Table 1, NADE (fixed order)")
    natural = num_masks == 1
    return training.Experiment(
        model=f"NADE {hidden}" + (f", {num_masks} orderings" if num_masks > 1 else ""),
        module=models.NADE(dataset.event_shape, hidden, num_masks=num_masks),
        players={"model": training.Player(loss, optimiser)},
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=nll,
        estimators=(
            common.exact_likelihood(published if natural else None),
            *((completion.gain(),) if natural else ()),
            common.baseline(),
        ),
        figures=completion.figures(),
        previews=("samples",),
    )
