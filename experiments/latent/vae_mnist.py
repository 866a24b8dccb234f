"""VAE 200-200-50 on dynamic MNIST: L_5000 86.76 nats, 19 active units (Burda et al. 2016).

    dgmjax train vae_mnist --data-dir DATA

Two CPU cores that other work shared: 29 minutes for 400 epochs with a cosine schedule, which
reached 88.27 (with `--no-marginal-start`). The published schedule (3280 epochs, eight learning
rates) is `--epochs 3280 --schedule burda`.
Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Table 1, k = 1.
"""

from dgmjax import lab, models, objectives, runs

from ..shared import common

PUBLISHED = "Burda, Grosse & Salakhutdinov 2016, Table 1, VAE, k = 1"


def vae_mnist(
    *,
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    skip: bool = False,
    marginal_start: bool = True,
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    epochs: int = 400,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """A VAE with tanh layers and Bernoulli pixels, all 60,000 training images.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      skip: the decoder reads z in each of its layers, see `models.SkipVAE`.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
      learning_rate: peak of the schedule of Adam (eps 1e-4, as published).
      schedule: "cosine", "constant", or "burda", the published one.
      epochs: passes over the training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.dynamic_mnist(data_dir, tiny)
    if tiny:
        hidden, latent, epochs = (16,), 4, 2
    recipe = models.SkipVAE if skip else models.DenseVAE
    vae = recipe(dataset.event_shape, latent, hidden)
    vae = vae.clone(marginal_start=marginal_start)
    return common.latent_experiment(
        model=f"{'skip-' if skip else ''}VAE {'-'.join(map(str, (*hidden, latent)))}",
        module=vae,
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        eps=1e-4,
        estimators=common.latent_estimators(
            vae,
            dataset,
            None if skip else runs.Published(86.76, PUBLISHED),
            None if skip else runs.Published(19, PUBLISHED),
            samples=50 if tiny else 5000,
        ),
    )
