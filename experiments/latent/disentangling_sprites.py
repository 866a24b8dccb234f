"""Disentanglement on sprites of known factors: beta-VAE, beta-TCVAE and InfoVAE, by MIG.

    dgmjax train disentangling_sprites --objective beta_tc --epochs 60
    dgmjax train disentangling_sprites --objective elbo --epochs 60

The sprites (shape, scale, rotation, x, y; 32x32 pixels) ship with the package. There is no
published number on this set: the objectives are compared with each other.
Sources: Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
Framework", 2017, https://openreview.net/forum?id=Sy2fzU9gl; Chen, Li, Grosse & Duvenaud, "Isolating
Sources of Disentanglement in Variational Autoencoders", 2018, https://arxiv.org/abs/1802.04942;
Zhao, Song & Ermon, "InfoVAE: Balancing Learning and Inference in Variational Autoencoders", 2019,
https://arxiv.org/abs/1706.02262.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dgmjax import data, lab, models, objectives

from ..shared import common
from ..shared.options import Epochs


def disentangling_sprites(
    *,
    objective: Literal["elbo", "beta", "beta_tc", "infovae"] = "beta_tc",
    weight: float = 6.0,
    latent: int = 10,
    channels: int = 16,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=20, batch_size=64),
) -> lab.Experiment:
    """A convolutional VAE with Bernoulli pixels.

    Args:
      objective: the ELBO; with a weight on its KL; on the total correlation; or InfoVAE by MMD.
      weight: of that term.
      latent: dimensions of z.
      channels: of the convolutions.
    """
    if shared.tiny:
        dataset = data.load("sprites", antialias=False, size=16, sizes=(3, 2, 3, 4, 4))
        channels, shared = 4, replace(shared, epochs=1)
    else:
        dataset = data.load("sprites", antialias=False)
    size = len(dataset.splits["train"]["x"])
    loss = {
        "elbo": objectives.elbo,
        "beta": partial(objectives.elbo, beta=weight),
        "beta_tc": partial(objectives.beta_tc, num_examples=size, beta=weight),
        "infovae": partial(objectives.infovae, alpha=0.0, weight=weight),
    }[objective]
    row = lab.Estimator
    vae = models.ConvVAE(dataset.event_shape, latent, channels=channels)
    return common.latent_experiment(
        shared,
        model=f"VAE {latent}, {objective}" + ("" if objective == "elbo" else f" ({weight:g})"),
        module=vae,
        loss=loss,
        dataset=dataset,
        transform=data.Binarise("static"),
        estimators=(
            row("mig", "posterior means, 20 bins", lab.disentanglement("mig"), unit="fraction"),
            row(
                "beta_vae_score",
                "linear classifier of differences",
                lab.disentanglement("beta_vae_score"),
                unit="fraction",
            ),
            *common.latent_estimators(vae, dataset, samples=8 if shared.tiny else 64),
        ),
    )
