"""PixelCNN on static binarised MNIST: exact 81.30 nats (van den Oord et al. 2016).

    dgmjax train pixelcnn_binarized_mnist --data-dir DATA
    dgmjax train pixelcnn_binarized_mnist --gated --data-dir DATA

73 minutes on one CPU core that another training shared: 84.84 nats, 3.5 above the published
number, with 0.9 nats between training and validation at the end. Residual blocks of masked
convolutions (or, with `--gated`, a vertical and a horizontal stack; no record yet), AdamW with a
cosine schedule; the best epoch is chosen on the validation split.
Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
Table 4. The gated network has no published number on this binarisation.
"""

from dgmjax import models, training
from experiments import common, completion


def pixelcnn_binarized_mnist(
    *,
    gated: bool = False,
    features: int = 24,
    blocks: int = 6,
    kernel_size: int = 5,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
    epochs: int = 12,
    batch_size: int = 32,
    tiny: bool = False,
    data_dir: str | None = None,
) -> training.Experiment:
    """Masked convolutions over 784 binary pixels in raster order.

    Args:
      gated: gated convolutions in two stacks, without a blind spot.
      features: h of PixelCNN's blocks (2h outside them), or of each stack of the gated network.
      blocks: residual blocks or gated layers.
      kernel_size: of their convolutions, odd. With blocks it decides how much of the image above
        a pixel is seen: 3 + blocks (kernel_size // 2) rows.
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
        features, blocks, head, first_kernel, kernel_size, epochs = 4, 1, 4, 3, 3, 2
    steps = common.epochs_to_steps(dataset, epochs, batch_size)
    recipe = models.GatedPixelCNN if gated else models.PixelCNN
    published = training.Published(81.30, "van den Oord et al. 2016, Table 4, PixelCNN")
    name = "gated PixelCNN" if gated else "PixelCNN"
    return completion.image_density(
        model=f"{name}, {blocks} blocks of {kernel_size}x{kernel_size}, {features} features",
        module=recipe(
            dataset.event_shape,
            features=features,
            blocks=blocks,
            kernel_size=kernel_size,
            first_kernel=first_kernel,
            head_features=head,
        ),
        optimiser=training.adam(learning_rate, steps, weight_decay=weight_decay),
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        published=None if gated else published,
        evaluation_batch_size=100,
    )
