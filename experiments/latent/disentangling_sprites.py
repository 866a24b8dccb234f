"""Disentanglement on sprites of known factors: beta-VAE, beta-TCVAE, FactorVAE, InfoVAE, by MIG.

    dgmjax train disentangling_sprites --objective beta_tc --epochs 60
    dgmjax train disentangling_sprites --objective elbo --epochs 60
    dgmjax train disentangling_sprites --objective factor --epochs 60
    dgmjax train disentangling_sprites --objective capacity --weight 100 --epochs 60

The sprites (shape, scale, rotation, x, y; 32x32 pixels) ship with the package. There is no
published number on this set: the objectives are compared with each other.
Sources: Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
Framework", 2017, https://openreview.net/forum?id=Sy2fzU9gl; Burgess et al., "Understanding
Disentangling in beta-VAE", 2018, https://arxiv.org/abs/1804.03599; Chen, Li, Grosse & Duvenaud,
"Isolating Sources of Disentanglement in Variational Autoencoders", 2018,
https://arxiv.org/abs/1802.04942; Kim & Mnih, "Disentangling by Factorising", 2018,
https://arxiv.org/abs/1802.05983; Zhao, Song & Ermon, "InfoVAE: Balancing Learning and Inference in
Variational Autoencoders", 2019, https://arxiv.org/abs/1706.02262.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import optax
from flax.linen import leaky_relu

from dgmjax import data, lab, models, nn, objectives, training
from dgmjax.types import Objective

from ..shared import common
from ..shared.options import Epochs

CRITIC = (256, 256, 256)
"""Units of the critic of dimensions; 1000 in each of six layers in the source."""


def disentangling_sprites(
    *,
    objective: Literal["elbo", "beta", "beta_tc", "factor", "capacity", "infovae"] = "beta_tc",
    weight: float = 6.0,
    capacity: float = 25.0,
    latent: int = 10,
    channels: int = 16,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=20, batch_size=64),
) -> lab.Experiment:
    """A convolutional VAE with Bernoulli pixels.

    Args:
      objective: the ELBO; with a weight on its KL; on the total correlation, estimated from the
        batch or by a critic; on the KL's distance to a capacity; or InfoVAE by MMD.
      weight: of that term.
      capacity: of the code in nats, reached linearly in the first half of the epochs.
      latent: dimensions of z.
      channels: of the convolutions.
    """
    if shared.tiny:
        dataset = data.load("sprites", antialias=False, size=16, sizes=(3, 2, 3, 4, 4))
        channels, shared = 4, replace(shared, epochs=1)
    else:
        dataset = data.load("sprites", antialias=False)
    size, steps = len(dataset.splits["train"]["x"]), shared.steps(dataset)
    rising = optax.linear_schedule(0.0, capacity, max(1, steps // 2))
    loss = {
        "elbo": objectives.elbo,
        "factor": objectives.elbo,
        "capacity": partial(objectives.elbo, beta=weight, capacity=rising),
        "beta": partial(objectives.elbo, beta=weight),
        "beta_tc": partial(objectives.beta_tc, num_examples=size, beta=weight),
        "infovae": partial(objectives.infovae, alpha=0.0, weight=weight),
    }[objective]
    row = lab.Estimator
    vae = models.ConvVAE(dataset.event_shape, latent, channels=channels)
    module: models.VAE | models.JudgedVAE = vae
    players = {}
    if objective == "factor":
        units = (8,) if shared.tiny else CRITIC
        critic = nn.MLP(units[:-1], units[-1:], leaky_relu, activate_output=True)
        module = models.FactorVAE(vae, critic)
        players = {"players": factor_players(weight, shared, steps)}
    built = common.latent_experiment(
        shared,
        model=f"VAE {latent}, {objective}" + ("" if objective == "elbo" else f" ({weight:g})"),
        module=module,
        loss=loss,
        dataset=dataset,
        transform=data.Binarise("static"),
        figures=common.vae_figures(vae, dataset),
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
    return replace(built, **players)


def factor_players(weight, shared, steps):
    """The critic of dimensions, and the VAE, to whose ELBO it adds its total correlation."""
    terms: dict[str, tuple[float, Objective]] = {
        "elbo": (1.0, objectives.elbo),
        "total_correlation": (weight, partial(objectives.generator_loss, game="density_ratio")),
    }
    judge = partial(objectives.critic_loss, game="density_ratio")
    return {
        "critic": training.Player(judge, shared.adam(steps, b1=0.5), params=("critic", "head")),
        "model": training.Player(
            partial(objectives.weighted_sum, terms=terms), shared.adam(steps), params=("model",)
        ),
    }
