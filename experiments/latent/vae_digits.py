"""VAE on scikit-learn's digits: the demo; its bound must beat independent pixels (27.25 nats).

    dgmjax train vae_digits

Data: 1797 images of 8x8 pixels and 17 grey levels, built in, binarised dynamically. There is no
published number: the exact likelihood of independent Bernoulli pixels stands beside the bound.
"""

from dataclasses import replace

from dgmjax import lab, models, objectives

from ..shared import common
from ..shared.options import Epochs


def vae_digits(
    *,
    latent: int = 16,
    hidden: tuple[int, ...] = (256, 256),
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=600, batch_size=128),
) -> lab.Experiment:
    """A VAE with Bernoulli pixels, selected by its ELBO on the validation split.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
    """
    dataset, transform = common.mnist(replace(shared, tiny=True), "dynamic")
    if shared.tiny:
        hidden, shared = (16,), replace(shared, epochs=2)
    samples = common.evaluation_samples(shared)
    vae = models.DenseVAE(dataset.event_shape, latent, hidden)
    return common.latent_experiment(
        shared,
        model="VAE",
        module=vae,
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        validation=objectives.elbo,
        evaluations=10,
        estimators=(*common.latent_estimators(vae, dataset, samples=samples), common.baseline()),
    )
