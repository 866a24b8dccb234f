"""VAE 200-200-50 on dynamic MNIST: L_5000 86.76 nats, 19 active units (Burda et al. 2016).

    dgmjax train vae_mnist --data-dir DATA
    dgmjax train vae_mnist --epochs 3280 --schedule burda --data-dir DATA

The second command is the published schedule, 3280 epochs at eight learning rates. `--epochs 600
--learning-rate 2e-3 --schedule flat_cosine --ema-decay 0.9995` gives 87.00 +- 0.23 nats after 13
minutes of one CPU core.
Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Table 1, k = 1,
https://arxiv.org/abs/1509.00519.
"""

from dataclasses import replace

from dgmjax import lab, models, objectives, runs

from ..shared import common
from ..shared.options import BoundedImages

PUBLISHED = "Burda, Grosse & Salakhutdinov 2016, Table 1, VAE, k = 1"


def vae_mnist(
    *,
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    skip: bool = False,
    marginal_start: bool = True,
    shared: BoundedImages = BoundedImages(learning_rate=1e-3, epochs=400, batch_size=100),
) -> lab.Experiment:
    """A VAE with tanh layers and Bernoulli pixels, all 60,000 training images.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      skip: the decoder reads z in each of its layers, see `models.SkipVAE`.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
    """
    dataset, transform = common.images(shared, "dynamic")
    if shared.tiny:
        hidden, latent, shared = (16,), 4, replace(shared, epochs=2)
    recipe = models.SkipVAE if skip else models.DenseVAE
    vae = recipe(dataset.event_shape, latent, hidden)
    vae = vae.clone(marginal_start=marginal_start)
    return common.latent_experiment(
        shared,
        model=f"{'skip-' if skip else ''}VAE {common.sizes(*hidden, latent)}",
        module=vae,
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        adam={"eps": 1e-4},
        estimators=common.latent_estimators(
            vae,
            dataset,
            None if skip else shared.beside(runs.Published(86.76, PUBLISHED)),
            None if skip else runs.Published(19, PUBLISHED),
            samples=shared.bound_samples,
        ),
    )
