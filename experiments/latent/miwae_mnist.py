"""MIWAE on static MNIST with missing pixels: completed digits, and a bound on the observed pixels.

    dgmjax train miwae_mnist --missing random --data-dir DATA
    dgmjax train miwae_mnist --missing block --data-dir DATA

"random" removes half of all pixels, "block" a square of half the side. The paper has figures of
this task and no comparable number; imputation by the pixels' means stands in the same table.
Source: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
Sets", 2019, section 4.1, https://arxiv.org/abs/1812.02633.
"""

import dataclasses
from functools import partial
from typing import Literal

import flax.linen as nn

from dgmjax import data, evaluation, lab, models, objectives

from ..shared import common
from ..shared.options import Images


def miwae_mnist(
    *,
    missing: Literal["random", "block"] = "random",
    mask_seed: int = 0,
    latent: int = 50,
    hidden: tuple[int, ...] = (500, 500),
    num_samples: int = 20,
    shared: Images = Images(learning_rate=1e-3, epochs=20, batch_size=100),
) -> lab.Experiment:
    """A VAE with Bernoulli pixels, trained on the observed pixels by the MIWAE bound.

    Args:
      missing: which pixels: half of all, or one square of half the side in each image.
      mask_seed: of the missing pixels.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      num_samples: K of the bound in training.
    """
    dataset = _binary(*common.images(shared, "static"))
    side = dataset.event_shape[0]
    pattern = data.AtRandom(0.5) if missing == "random" else data.Blocks(side // 2)
    dataset = data.remove_entries(dataset, pattern, mask_seed)
    samples = 1000
    if shared.tiny:
        hidden, latent, num_samples, samples = (16,), 4, 3, 50
        shared = dataclasses.replace(shared, epochs=2)
    bound = partial(objectives.miwae, num_samples=num_samples)
    large = partial(objectives.importance_bound, chunk=50)
    vae = models.DenseVAE(dataset.event_shape, latent, hidden, activation=nn.relu)
    return common.experiment(
        shared,
        model=f"MIWAE {common.sizes(*hidden, latent)}, K = {num_samples}",
        module=vae,
        loss=bound,
        dataset=dataset,
        transform=data.Compose((data.FillMissing(), data.Binarise("static"))),
        validation=bound,
        evaluations=20,
        estimators=(
            lab.Estimator(
                f"nll_bound_k{samples}",
                "importance-weighted bound of the observed pixels",
                lab.averaged(
                    partial(objectives.miwae, num_samples=samples, objective=large), batch_size=100
                ),
            ),
            _errors("self-normalised importance sampling", lab.imputation_mse(samples, 50)),
            _errors(
                "pixel means of the observed test images",
                lab.imputation_mse_of(evaluation.mean_imputation),
                model="mean imputation (baseline)",
            ),
        ),
        figures={
            **common.vae_figures(vae, dataset),
            "imputations": lab.figures.imputations,
        },
        previews=("imputations",),
    )


def _binary(dataset: data.Dataset, transform: data.Transform) -> data.Dataset:
    """The data set after a transform without noise, since pixels are removed from what is 0/1."""
    splits = {
        name: data.apply_once(transform, arrays, seed=0) for name, arrays in dataset.splits.items()
    }
    return dataclasses.replace(dataset, splits=splits)


def _errors(estimator, measure, **options) -> lab.Estimator:
    return lab.Estimator("imputation_mse", estimator, measure, unit="squared grey", **options)
