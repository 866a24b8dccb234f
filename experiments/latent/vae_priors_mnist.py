"""Priors of a VAE on static MNIST: a VampPrior 85.57 nats, a standard normal 88.56 (published).

    dgmjax train vae_priors_mnist --components 100 --epochs 160 --data-dir DATA
    dgmjax train vae_priors_mnist --prior standard --epochs 160 --data-dir DATA

Encoder and decoder have two layers of 300 units and 40 latents; the prior varies. The published
models are gated networks trained for 2000 epochs. `vae_clusters_mnist` measures the components of a
mixture as clusters. Most of a step with 500 pseudo-inputs goes into encoding them. Source: Tomczak
& Welling, "VAE with a VampPrior", 2018, Table 1 (static MNIST, one layer),
https://arxiv.org/abs/1705.07120.
"""

from dataclasses import replace
from typing import Literal

from dgmjax import lab, models, objectives, runs

from ..shared import common
from ..shared.options import BoundedImages

Prior = Literal["standard", "full", "mixture", "vamp", "flow", "autoregressive"]
PUBLISHED = {"standard": 88.56, "vamp": 85.57}
SOURCE = "Tomczak & Welling 2018, Table 1, one layer"


def prior_model(prior: Prior, event_shape, latent: int, components: int):
    """The density module of z, or None for N(0, I)."""
    return {
        "standard": lambda: None,
        "full": lambda: models.FullCovarianceNormal(latent),
        "mixture": lambda: models.NormalMixture(latent, components),
        "vamp": lambda: models.VampPrior(event_shape, components),
        "flow": lambda: models.RealNVP(latent, layers=4, hidden=(64,)),
        "autoregressive": lambda: models.RNADE((latent,), 128),
    }[prior]()


def vae_priors_mnist(
    *,
    prior: Prior = "vamp",
    components: int = 500,
    latent: int = 40,
    hidden: tuple[int, ...] = (300, 300),
    warm_up: int = 10,
    marginal_start: bool = True,
    shared: BoundedImages = BoundedImages(learning_rate=1e-3, epochs=100, batch_size=100),
) -> lab.Experiment:
    """A VAE with the prior named, selected by its ELBO on the validation split.

    Args:
      prior: of the latents.
      components: of the mixture, or pseudo-inputs of the VampPrior.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      warm_up: epochs in which the weight of the KL divergence rises from 0 to 1.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
    """
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        hidden, latent, components, shared, warm_up = (16,), 4, 5, replace(shared, epochs=2), 1
    model = prior_model(prior, dataset.event_shape, latent, components)
    published = runs.Published(PUBLISHED[prior], SOURCE) if prior in PUBLISHED else None
    sized = f" ({components})" if prior in ("mixture", "vamp") else ""
    vae = models.DenseVAE(dataset.event_shape, latent, hidden, prior_model=model)
    vae = vae.clone(marginal_start=marginal_start)
    return common.latent_experiment(
        shared,
        model=f"VAE {common.sizes(*hidden, latent)}, {prior}{sized} prior",
        module=vae,
        loss=common.warmed_up(objectives.elbo, dataset, warm_up, shared),
        dataset=dataset,
        transform=transform,
        validation=objectives.elbo,
        estimators=common.latent_estimators(
            vae,
            dataset,
            shared.beside(published),
            samples=shared.bound_samples,
        ),
    )
