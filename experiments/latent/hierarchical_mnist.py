"""VAEs of several stochastic layers on MNIST: IWAE 82.90 nats with two layers, k = 50, dynamic.

    dgmjax train hierarchical_mnist --bound iwae --num-samples 50 --data-dir DATA
    dgmjax train hierarchical_mnist --posterior ladder --sizes ladder --warm-up 200 --data-dir DATA
    dgmjax train hierarchical_mnist --posterior very_deep --learning-rate 1e-3 --data-dir DATA

Published L_5000 of two layers with k = 50: VAE 84.78 and IWAE 82.90 (dynamic), 87.86 and 85.32
(static), with `--epochs 3280 --schedule burda`. Static, k = 50, with `--learning-rate 2e-3
--schedule flat_cosine --ema-decay 0.9995 --eps 1e-8 --epochs 370 --stages 1 5 --stage-epochs 300
60`: 87.49 after 36 minutes of one core. A ladder of five layers reaches 81.74 (dynamic)
with batch normalisation and 2000 epochs. Without a warm-up or free bits the upper layers of a
ladder are switched off early in training. The third command has maps of latents at 7x7 and 14x14
sites below a vector, and a deterministic path; its source has no number on MNIST.
Sources: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Tables 1 and 3,
https://arxiv.org/abs/1509.00519; Sonderby, Raiko, Maaloe, Sonderby & Winther, "Ladder Variational
Autoencoders", 2016, https://arxiv.org/abs/1602.02282; Child, "Very Deep VAEs Generalize
Autoregressive Models and Can Outperform Them on Images", 2021, https://arxiv.org/abs/2011.10650.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

import flax.linen as nn

from dgmjax import evaluation, lab, models, objectives, runs
from dgmjax.errors import require
from dgmjax.types import Activation

from ..shared import common
from ..shared.common import Bound
from ..shared.options import BoundedImages

Posterior = Literal["bottom_up", "ladder", "very_deep"]
Sizes = Literal["burda", "ladder"]

SIZES: dict[str, tuple[tuple[int, ...], tuple[tuple[int, ...], ...], Activation]] = {
    "burda": ((100, 50), ((200, 200), (100, 100)), nn.tanh),
    "ladder": (
        (64, 32, 16, 8, 4),
        ((512, 512), (256, 256), (128, 128), (64, 64), (32, 32)),
        nn.leaky_relu,
    ),
}
BURDA = "Burda, Grosse & Salakhutdinov 2016"
PUBLISHED = {
    ("burda", "bottom_up", "elbo", 50, "dynamic"): (84.78, f"{BURDA}, Table 1, VAE, k = 50"),
    ("burda", "bottom_up", "iwae", 50, "dynamic"): (82.90, f"{BURDA}, Table 1, IWAE, k = 50"),
    ("burda", "bottom_up", "elbo", 50, "static"): (87.86, f"{BURDA}, Table 3, VAE, k = 50"),
    ("burda", "bottom_up", "iwae", 50, "static"): (85.32, f"{BURDA}, Table 3, IWAE, k = 50"),
    ("ladder", "ladder", "elbo", 1, "dynamic"): (
        81.74,
        "Sonderby et al. 2016, with batch normalisation",
    ),
}


def hierarchical_mnist(
    *,
    posterior: Posterior = "bottom_up",
    sizes: Sizes = "burda",
    bound: Bound = "elbo",
    num_samples: int = 1,
    binarisation: Literal["dynamic", "static"] = "dynamic",
    warm_up: int = 0,
    free_bits: float = 0.0,
    eps: float = 1e-4,
    stages: tuple[int, ...] = (),
    stage_epochs: tuple[int, ...] = (),
    shared: BoundedImages = BoundedImages(learning_rate=1e-3, epochs=200, batch_size=100),
) -> lab.Experiment:
    """A hierarchy of normals over Bernoulli pixels.

    Args:
      posterior: from the bottom up, a ladder, or maps of latents along a deterministic path.
      sizes: "burda", two layers of 100 and 50; "ladder", five of 64, 32, 16, 8 and 4. Those of maps
        are their own.
      bound: what training maximises.
      num_samples: k, of the bound.
      binarisation: anew at each step, all 60,000 training images; or once and for all, 50,000,
        the best of 20 evaluations chosen by the same bound on the validation split.
      warm_up: epochs in which the weight of the KL divergence rises from 0 to 1 ("elbo" only).
      free_bits: nats that each layer may tell at no cost in training ("elbo" only).
      eps: of Adam; 1e-4 is the published one.
      stages: samples of the stages of training before that with `num_samples`; one of a single
        sample is the ELBO. Without a warm-up or free bits.
      stage_epochs: how many of `epochs` each of these stages lasts.
    """
    for name, value in {"warm_up": warm_up, "free_bits": free_bits}.items():
        require(bound == "elbo" or value == 0, name, 'needs `bound` "elbo"', value)
        require(not stages or value == 0, name, "must be 0 in training by stages", value)
    dataset, transform = common.images(shared, binarisation)
    latents, hidden, activation = SIZES[sizes]
    if shared.tiny:
        latents, hidden, shared = (4, 2), ((16,), (8,)), replace(shared, epochs=2)
        stages, stage_epochs = stages[:1], stage_epochs and (1,)
    if posterior == "very_deep":
        module = very_deep(dataset.event_shape, shared.tiny)
        name = f"very deep, {len(module.names)} maps"
    else:
        module = models.DenseHierarchicalVAE(
            dataset.event_shape, latents, hidden, inference=posterior, activation=activation
        )
        name = f"{posterior} {'-'.join(map(str, latents))}"
    bound_of = partial(common.bound_of_samples, bound)
    loss = measured = bound_of(num_samples)
    if bound == "elbo":
        loss = partial(measured, free_bits=free_bits, free_bits_per="latent")
        loss = common.warmed_up(loss, dataset, warm_up, shared)
    loss = common.samples_in_stages(bound_of, stages, stage_epochs, loss, shared, dataset)
    names = module.names
    found = PUBLISHED.get((sizes, posterior, bound, num_samples, binarisation))
    published = shared.beside(runs.Published(*found)) if found else None
    return common.latent_experiment(
        shared,
        model=f"{name}, {bound} k={num_samples}",
        module=module,
        loss=loss,
        dataset=dataset,
        transform=transform,
        adam={"eps": eps},
        validation=measured if binarisation == "static" else None,
        estimators=(
            common.importance_estimator(shared.bound_samples, published=published),
            lab.Estimator("nll_bound_k1", "ELBO", lab.averaged(objectives.elbo)),
            *common.rate_and_distortion("along a path, in closed form layer by layer for a ladder"),
            *(layer_rate(one) if posterior == "very_deep" else active_units(one) for one in names),
        ),
    )


def very_deep(event_shape, tiny: bool):
    """Six maps of latents of MNIST: one vector, two of 7x7 sites and three of 14x14."""
    size = event_shape[0]
    if tiny:
        return models.VeryDeepVAE(event_shape, (2, size), (1, 1), latent=2, width=8, hidden=4)
    return models.VeryDeepVAE(event_shape, (2, 4, size), (3, 2, 1), latent=8, width=32, hidden=16)


def layer_rate(name: str):
    """KL(q || p) of one map of latents along a path, in closed form."""
    measure = lab.averaged(objectives.elbo, metric=f"kl_{name}")
    return lab.Estimator(f"rate_nats_{name}", "in closed form along a path", measure)


def active_units(name: str):
    """Active units of one layer, along the path of conditional means."""
    return common.active_units(metric=f"active_units_{name}", mean=_means_of(name))


@lru_cache
def _means_of(name: str):
    return lambda model, x: evaluation.posterior_mean(model, x)[name]
