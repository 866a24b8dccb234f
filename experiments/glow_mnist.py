"""Glow on MNIST: about 1.05 bits/dim (Kingma & Dhariwal 2018).

    dgmjax train glow_mnist --data-dir DATA

Two levels (28 = 4 x 7) of 16 steps. It has run in miniature only (`--tiny`); made for a GPU. On two
CPU cores use `--steps-per-level 4 --channels 32 --epochs 3`. Grey values are dequantised by
uniform noise and mapped by a logit with alpha 0.05.
Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018. The
figure for MNIST is the one usually quoted, and is not in the paper's table.
"""

from dgmjax import data, models, training
from experiments.image_flows import image_flow_experiment


def glow_mnist(
    *,
    levels: int = 2,
    steps_per_level: int = 16,
    channels: int = 256,
    learning_rate: float = 1e-3,
    epochs: int = 50,
    batch_size: int = 128,
    rematerialise: bool = False,
    tiny: bool = False,
    data_dir: str | None = None,
) -> training.Experiment:
    """A multi-scale flow of 1x1 convolutions and affine couplings.

    Args:
      levels: L; the image's sides must be divisible by 2^L.
      steps_per_level: K.
      channels: of the conditioners' hidden layers.
      learning_rate: peak of the cosine schedule of Adam.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      rematerialise: recompute steps in the backward pass, to save memory.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    if tiny:
        dataset, grey = data.load("digits"), 17
        levels, steps_per_level, channels, epochs = 1, 1, 4, 1
    else:
        dataset, grey = data.load("mnist", data_dir=data_dir), 256
    module = models.Glow(
        dataset.event_shape,
        levels,
        steps_per_level,
        channels=channels,
        rematerialise=rematerialise,
    )
    return image_flow_experiment(
        f"Glow L={levels} K={steps_per_level}",
        module,
        dataset,
        grey,
        alpha=0.05,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        published=training.Published(1.05, "about; Kingma & Dhariwal 2018, as usually quoted"),
    )
