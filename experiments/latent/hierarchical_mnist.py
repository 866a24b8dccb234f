"""VAEs of several stochastic layers on MNIST: IWAE 82.90 nats with two layers, k = 50, dynamic.

    dgmjax train hierarchical_mnist --bound iwae --num-samples 50 --data-dir DATA
    dgmjax train hierarchical_mnist --posterior ladder --sizes ladder --warm-up 200 --data-dir DATA

On one CPU core that others shared, L_1000 (`--evaluation-samples 1000`), `--eps 1e-8 --epochs 40`:
two layers, k = 1, static, `--warm-up 5`, 92.04 nats in 2 minutes; the ladder, dynamic, `--warm-up
10`, 87.85 in 8 minutes, of whose five layers the upper three say nothing and the second 2 nats.
With `--free-bits 1` besides, 86.57 in 21 minutes, and 64, 32, 15, 3 and 1 units of the five layers
are active, of 64, 32, 16, 8 and 4. Two layers by the bound of 50 samples (the first command with
`--binarisation static --epochs 10 --batch-size 20`), 95.04 in 34 minutes.
Without a warm-up and without `marginal_start` the two layers had fallen to 6 units in all and 112
nats (L_5000). The run of two layers counts its last step; since then the validation split chooses.
Published: two layers, k = 50, L_5000: VAE 84.78, IWAE 82.90 (dynamic), 87.86 and 85.32 (static),
with `--epochs 3280 --schedule burda`; ladder of five layers 81.74 (dynamic), which has batch
normalisation and 2000 epochs besides.
Sources: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Tables 1 and 3;
Sonderby, Raiko, Maaloe, Sonderby & Winther, "Ladder Variational Autoencoders", 2016.
"""

from functools import lru_cache, partial
from typing import Literal

import flax.linen as nn

from dgmjax import evaluation, lab, models, objectives, runs
from dgmjax.errors import require, require_sizes
from dgmjax.types import Activation

from ..shared import common
from ..shared.common import Bound

Posterior = Literal["bottom_up", "ladder"]
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
    evaluation_samples: int = 5000,
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    eps: float = 1e-4,
    epochs: int = 200,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """A hierarchy of normals over Bernoulli pixels.

    Args:
      posterior: from the bottom up, or a ladder.
      sizes: "burda", two layers of 100 and 50; "ladder", five of 64, 32, 16, 8 and 4.
      bound: what training maximises.
      num_samples: k, of the bound.
      binarisation: anew at each step, all 60,000 training images; or once and for all, 50,000,
        the best of 20 evaluations chosen by the same bound on the validation split.
      evaluation_samples: K of the bound that is reported, L_K; published numbers are L_5000.
      warm_up: epochs in which the weight of the KL divergence rises from 0 to 1 ("elbo" only).
      free_bits: nats that each layer may tell at no cost in training ("elbo" only).
      learning_rate: peak of the schedule of Adam.
      schedule: "cosine", "constant", or "burda", the published one.
      eps: of Adam; 1e-4 is the published one.
      epochs: passes over the training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    require_sizes(evaluation_samples=evaluation_samples)
    for name, value in {"warm_up": warm_up, "free_bits": free_bits}.items():
        require(bound == "elbo" or value == 0, name, 'needs `bound` "elbo"', value)
    load = common.dynamic_mnist if binarisation == "dynamic" else common.static_mnist
    dataset, transform = load(data_dir, tiny)
    latents, hidden, activation = SIZES[sizes]
    if tiny:
        latents, hidden, epochs = (4, 2), ((16,), (8,)), 2
    loss = measured = common.bound_of_samples(bound, num_samples)
    if bound == "elbo":
        loss = partial(measured, free_bits=free_bits, free_bits_per="latent")
        loss = common.warmed_up(loss, dataset, warm_up, batch_size)
    found = PUBLISHED.get((sizes, posterior, bound, num_samples, binarisation))
    published = runs.Published(*found) if found and evaluation_samples == 5000 else None
    return common.latent_experiment(
        model=f"{posterior} {'-'.join(map(str, latents))}, {bound} k={num_samples}",
        module=models.DenseHierarchicalVAE(
            dataset.event_shape, latents, hidden, inference=posterior, activation=activation
        ),
        loss=loss,
        dataset=dataset,
        transform=transform,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        eps=eps,
        validation=measured if binarisation == "static" else None,
        estimators=(
            common.importance_estimator(50 if tiny else evaluation_samples, published=published),
            lab.Estimator("nll_bound_k1", "ELBO", lab.averaged(objectives.elbo)),
            *common.rate_and_distortion("along a path, in closed form layer by layer for a ladder"),
            *(active_units(f"z{level}") for level in range(1, len(latents) + 1)),
        ),
    )


def active_units(name: str):
    """Active units of one layer, along the path of conditional means."""
    return common.active_units(metric=f"active_units_{name}", mean=_means_of(name))


@lru_cache
def _means_of(name: str):
    return lambda model, x: evaluation.posterior_mean(model, x)[name]
