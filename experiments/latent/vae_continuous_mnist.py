"""Decoders on real-valued MNIST, by annealing: VAE-50 991 nats, GAN-50 627 (Wu et al. 2017).

    dgmjax train vae_continuous_mnist --model vae_50 --data-dir DATA
    dgmjax evaluate runs/vae_continuous_mnist/RUN --ais --images 100 --data-dir DATA

Log-likelihoods of pixels in [0, 1] in nats; records have their negatives. A VAE learns the standard
deviation of its pixels, and that of the two other kinds is chosen on validation images. The second
command also prints the gap of bidirectional Monte Carlo and the kernel density estimate by which
such models were once compared; it ranks VAE-10 above VAE-50. Published, annealed and by kernels:
VAE-50 991.4 and 351, GAN-50 627.3 and 300, GMMN-50 593.5 and 277; with 10 latents 705.4 and 409,
328.8 and 260, 346.7 and 263. Source: Wu, Burda, Salakhutdinov & Grosse, "On the Quantitative
Analysis of Decoder-Based Generative Models", 2017, Table 2, https://arxiv.org/abs/1611.04273.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from flax.linen import Sequential, leaky_relu, sigmoid, tanh

from dgmjax import data, lab, models, nn, objectives, runs, training
from dgmjax.distributions.families import Normal

from ..shared.options import Epochs

DECODERS = {10: (64, 256, 256, 1024), 50: (1024, 1024, 1024)}
"""Hidden layers of the decoders of 10 and of 50 latents."""


class Row(NamedTuple):
    """A row of the source's table."""

    kind: Literal["vae", "gan", "gmmn"]
    latent: int
    annealed: float
    by_kernels: float


ROWS = {
    "vae_50": Row("vae", 50, 991.4, 351.0),
    "vae_10": Row("vae", 10, 705.4, 409.0),
    "gan_50": Row("gan", 50, 627.3, 300.0),
    "gan_10": Row("gan", 10, 328.8, 260.0),
    "gmmn_50": Row("gmmn", 50, 593.5, 277.0),
    "gmmn_10": Row("gmmn", 10, 346.7, 263.0),
}


def vae_continuous_mnist(
    *,
    model: Literal["vae_50", "vae_10", "gan_50", "gan_10", "gmmn_50", "gmmn_10"] = "vae_50",
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=20, batch_size=100),
) -> lab.Experiment:
    """A decoder of tanh layers and means in (0, 1), trained in one of three ways.

    The VAE's encoder has the decoder's layers in reverse. The GAN's critic has those of the
    encoder, without dropout, and an R1 penalty; the game is the non-saturating one. The
    moment-matching net has no critic, compares batches of 1000 and takes ten times as many epochs.

    Args:
      model: the kind and the number of latents.
    """
    row, name = ROWS[model], model.upper().replace("_", "-")
    hidden, latent = DECODERS[row.latent], row.latent
    if shared.tiny:
        dataset, hidden, latent = data.load("digits"), (16,), 4
        shared = replace(shared, epochs=2, batch_size=20)
    else:
        dataset = data.load("mnist", data_dir=shared.data_dir)
    dataset = in_unit_interval(dataset, 16 if shared.tiny else 255)
    if row.kind == "gmmn" and not shared.tiny:
        shared = replace(shared, epochs=10 * shared.epochs, batch_size=10 * shared.batch_size)
    shape = dataset.event_shape
    mean = lambda trailing: Sequential((nn.MLP(hidden, (*shape, *trailing), tanh), sigmoid))
    steps = shared.steps(dataset)
    of_elbo = lab.Estimator("nll_bound_k1", "ELBO", lab.averaged(objectives.elbo))
    adam = partial(training.adam, shared.learning_rate, steps, schedule=shared.schedule)
    players = PLAYERS[row.kind](adam)
    module: models.VAE | models.GAN
    if row.kind == "vae":
        module = models.VAE(
            latent=latent,
            encoder=nn.MLP(tuple(reversed(hidden)), (latent, 2), tanh, event_ndims=len(shape)),
            decoder=nn.SharedParameters(mean((1,)), start=math.log(0.1)),
            observation=Normal(),
            event_ndims=len(shape),
        )
    else:
        critic = nn.MLP(tuple(reversed(hidden)), (1,), leaky_relu, event_ndims=len(shape))
        module = models.GAN(latent=latent, generator=mean(()), critic=critic)
    source = f"Wu et al. 2017, Table 2, {name}"
    return lab.Experiment(
        model=name,
        module=module,
        players=players,
        dataset=dataset,
        steps=steps,
        batch_size=shared.batch_size,
        validation=objectives.elbo if row.kind == "vae" else None,
        evaluate_every=max(1, steps // 10),
        log_every=max(1, steps // 100),
        ema_decay=shared.ema_decay,
        figures={"samples": lab.figures.means if row.kind == "vae" else lab.figures.samples},
        estimators=(*((of_elbo,) if row.kind == "vae" else ()), lab.kernel_density()),
        published={
            "nll_ais": runs.Published(-row.annealed, source),
            "nll_kde": runs.Published(-row.by_kernels, source),
        },
    )


def vae_players(adam):
    """The ELBO of one sample."""
    return {"model": training.Player(objectives.elbo, adam())}


def gan_players(adam):
    """The non-saturating game with R1."""
    critic = partial(objectives.critic_loss, game="non_saturating", penalties=(objectives.r1(1.0),))
    generator = partial(objectives.generator_loss, game="non_saturating")
    return {
        "critic": training.Player(critic, adam(b1=0.5), params=("critic",)),
        "generator": training.Player(generator, adam(b1=0.5), params=("generator",)),
    }


def gmmn_players(adam):
    """The maximum mean discrepancy of a batch."""
    loss = partial(objectives.generator_loss, game="mmd")
    return {"generator": training.Player(loss, adam(), params=("generator",))}


PLAYERS = {"vae": vae_players, "gan": gan_players, "gmmn": gmmn_players}


def in_unit_interval(dataset, largest):
    """Pixels as real numbers in [0, 1]: densities are those of such pixels, as the source's."""
    splits = {
        name: {**arrays, "x": np.asarray(arrays["x"] / largest, np.float32)}
        for name, arrays in dataset.splits.items()
    }
    info = {**dataset.info, "value_range": (0.0, 1.0)}
    name = f"{dataset.name}, pixels in [0, 1]"
    return replace(dataset, splits=splits, info=info, name=name)
