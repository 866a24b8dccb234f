"""VAE on scikit-learn's digits: the demo; its bound must beat independent pixels (27.25 nats).

    dgmjax train vae_digits

Two CPU cores: under two minutes with compilation. Data: 1797 images of 8x8, 17 grey levels,
binarised dynamically (built in, no download). There is no published number; the independent
Bernoulli baseline stands beside the test bound.
"""

from dgmjax import lab, models, objectives

from ..shared import common


def vae_digits(
    *,
    latent: int = 16,
    hidden: tuple[int, ...] = (256, 256),
    learning_rate: float = 1e-3,
    epochs: int = 600,
    batch_size: int = 128,
    tiny: bool = False,
) -> lab.Experiment:
    """A VAE with Bernoulli pixels, selected by its ELBO on the validation split.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      learning_rate: peak of the cosine schedule of Adam.
      epochs: passes over the 1439 training images.
      batch_size: images a step.
      tiny: a few steps of a small model.
    """
    dataset, transform = common.dynamic_mnist(None, tiny=True)
    if tiny:
        hidden, epochs = (16,), 2
    samples = 50 if tiny else 5000
    vae = models.DenseVAE(dataset.event_shape, latent, hidden)
    return common.latent_experiment(
        model="VAE",
        module=vae,
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation=objectives.elbo,
        evaluations=10,
        estimators=(*common.latent_estimators(vae, dataset, samples=samples), common.baseline()),
    )
