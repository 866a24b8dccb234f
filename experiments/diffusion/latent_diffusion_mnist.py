"""Diffusion prior of a VAE on static MNIST: ELBO below that of N(0, I) with the same decoder.

    dgmjax train latent_diffusion_mnist --data-dir DATA
    dgmjax train latent_diffusion_mnist --joint --data-dir DATA

Two minutes on two CPU cores with `--epochs 20`. In the first form encoder and decoder are
trained for N(0, I), and the prior on their codes meanwhile; in the second all three by one bound.
Published with an autoregressive prior and a PixelCNN decoder: 79.03 nats (Chen et al., "Variational
Lossy Autoencoder", 2017, Table 1, https://arxiv.org/abs/1611.02731), for another decoder than this.
Source: Vahdat, Kreis & Kautz, "Score-based Generative Modeling in Latent Space", 2021,
https://arxiv.org/abs/2106.05931.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from dgmjax import evaluation, lab, models, nn, noising, objectives, training
from dgmjax.inference import Sampler, Solver
from dgmjax.lab.trained import Trained

from ..shared import common
from ..shared.options import Epochs


def latent_diffusion_mnist(
    *,
    latent: int = 20,
    hidden: tuple[int, ...] = (200, 200),
    prior_hidden: tuple[int, ...] = (256, 256, 256),
    joint: bool = False,
    ode_images: int = 1000,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=100, batch_size=100, ema_decay=0.999),
) -> lab.Experiment:
    """A VAE of MLPs, and a denoiser over its codes.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      prior_hidden: units of the denoiser's layers.
      joint: train everything by one bound.
      ode_images: test images whose ELBO has the prior's density along the ODE.
    """
    dataset, transform = common.mnist(shared, "static")
    few = shared.tiny
    if few:
        latent, hidden, prior_hidden, ode_images = 2, (16,), (8,), 20
        shared = replace(shared, epochs=1)
    prior = models.Denoiser(
        (latent,),
        nn.TimeMLP(tuple(prior_hidden)),
        noising.trigonometric(),
        sampler=Sampler("heun", 2 if few else 25),
        solver=Solver("rk4", 2 if few else 16),
    )
    module = models.DenseVAE(dataset.event_shape, latent, hidden, prior_model=prior)
    adam = shared.adam(shared.steps(dataset))
    players = {
        "vae": training.Player(standard_elbo, adam, params=("encoder", "decoder")),
        "prior": training.Player(codes_matched, adam, params=("prior_model",)),
    }
    if joint:
        players = {"model": training.Player(BOUND, adam)}
    built = common.experiment(
        shared,
        model=f"VAE {common.sizes(*hidden, latent)}, {'joint ' if joint else ''}diffusion prior",
        module=module,
        loss=standard_elbo,
        dataset=dataset,
        transform=transform,
        evaluations=10,
        estimators=(
            lab.Estimator(
                "nll_bound_k1",
                f"ELBO, log p(z) by ODE, {prior.solver.num_calls} network calls, "
                f"{ode_images} images",
                partial(first_images, num=ode_images),
            ),
            lab.Estimator("nll_bound_k1", "variational bound of the prior", lab.averaged(BOUND)),
            lab.Estimator(
                "nll_bound_k1",
                "ELBO",
                lab.averaged(standard_elbo),
                model="the same VAE with the prior N(0, I)",
            ),
            lab.Estimator(
                "nll_bound_k1",
                f"ELBO, {ode_images} images",
                partial(first_images, num=ode_images, objective=standard_elbo),
                model="the same VAE with the prior N(0, I)",
            ),
        ),
        figures={"samples": lab.figures.samples, "means": lab.figures.means},
        previews=("means",),
    )
    return replace(built, players=players)


def standard_elbo(model, batch, key):
    """The negative ELBO with the prior N(0, I), by one sample of q as the others."""
    normal = models.StandardNormal(model.latent_shape)
    other = objectives.with_prior(model, lambda: normal.apply({}))
    return objectives.iwae(other, batch, key, num_samples=1)


codes_matched = partial(objectives.on_latents, objective=objectives.flow_matching)
BOUND = partial(objectives.latent_diffusion, times="log_snr")
ELBO = partial(objectives.iwae, num_samples=1)


def first_images(trained: Trained, arrays, *, num: int, objective=ELBO) -> evaluation.Measurement:
    """The mean loss of the first test images."""
    few = {name: array[:num] for name, array in arrays.items()}
    return evaluation.average(np.asarray(trained.per_example(objective, few, 100)["loss"]))
