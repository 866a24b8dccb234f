"""PixelCNN on static binarised MNIST: exact 81.30 nats (van den Oord et al. 2016).

    dgmjax train pixelcnn_binarized_mnist --data-dir DATA
    dgmjax train pixelcnn_binarized_mnist --gated --data-dir DATA

Two CPU cores: about an hour, judged by the time of a step (0.57 CPU-s; gated 0.82); there
is no record of a whole run yet. Residual
blocks of masked convolutions (or, with `--gated`, a vertical and a horizontal stack), AdamW with
a cosine schedule; the best epoch is chosen on the validation split.
Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
Table 4. The gated network has no published number on this binarisation.
"""

from dgmjax import models, objectives, training
from experiments import common, completion


def pixelcnn_binarized_mnist(
    *,
    gated: bool = False,
    features: int = 32,
    blocks: int = 5,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
    epochs: int = 10,
    batch_size: int = 64,
    tiny: bool = False,
    data_dir: str | None = None,
) -> training.Experiment:
    """Masked convolutions over 784 binary pixels in raster order.

    Args:
      gated: gated convolutions in two stacks, without a blind spot.
      features: h of PixelCNN's blocks (2h outside them), or of each stack of the gated network.
      blocks: residual blocks or gated layers.
      learning_rate: peak of the cosine schedule of AdamW.
      weight_decay: of AdamW.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.static_mnist(data_dir, tiny)
    head = 2 * features
    first_kernel = 7
    if tiny:
        features, blocks, head, first_kernel, epochs = 4, 1, 4, 3, 2
    steps = epochs * (len(dataset.splits["train"]["x"]) // batch_size)
    recipe = models.GatedPixelCNN if gated else models.PixelCNN
    module = recipe(
        dataset.event_shape,
        features=features,
        blocks=blocks,
        first_kernel=first_kernel,
        head_features=head,
    )
    nll = objectives.negative_log_likelihood
    optimiser = training.adam(learning_rate, steps, weight_decay=weight_decay)
    published = training.Published(81.30, "van den Oord et al. 2016, Table 4, PixelCNN")
    name = "gated PixelCNN" if gated else "PixelCNN"
    return training.Experiment(
        model=f"{name}, {blocks} blocks, {features} features",
        module=module,
        players={"model": training.Player(nll, optimiser)},
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=nll,
        estimators=(
            common.exact_likelihood(None if gated else published, batch_size=100),
            completion.gain(batch_size=100),
            common.baseline(),
        ),
        figures=completion.figures(),
        previews=("samples",),
        evaluation_batch_size=100,
    )
