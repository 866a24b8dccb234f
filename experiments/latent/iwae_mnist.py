"""IWAE 200-200-50 on dynamic MNIST: L_5000 85.54 nats with k = 5 (Burda et al. 2016).

    dgmjax train iwae_mnist --num-samples 5 --data-dir DATA
    dgmjax train iwae_mnist --num-samples 50 --binarisation static --eps 1e-8 --data-dir DATA
    dgmjax train iwae_mnist --bound elbo --num-samples 5 --data-dir DATA

k = 1 is the VAE, and `--bound elbo` the VAE with k samples. The published schedule is `--epochs
3280 --schedule burda --batch-size 20`. A bound of 50 samples pays only after far more epochs than
one of a single sample: `--stages 1 5 --stage-epochs 300 60` trains with 1 and then 5 samples first,
in the same run. With `--learning-rate 2e-3 --schedule flat_cosine --ema-decay 0.9995`, on one CPU
core: k = 5, `--epochs 900 --stages 1 --stage-epochs 720`, 85.84 nats after 23 minutes; k = 50,
`--epochs 895 --stages 1 5 --stage-epochs 720 140`, 85.48 after 37; static k = 50, `--epochs 232
--stages 1 5 --stage-epochs 200 20`, 88.28 after 12 (published 87.10).
Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, Tables 1 and 3,
https://arxiv.org/abs/1509.00519.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dgmjax import lab, models, runs
from dgmjax.errors import require

from ..shared import common
from ..shared.common import Bound
from ..shared.options import BoundedImages

SOURCE = "Burda, Grosse & Salakhutdinov 2016"
PUBLISHED: dict[tuple[str, str], dict[int, tuple]] = {
    ("iwae", "dynamic"): {1: (86.76, 19), 5: (85.54, 22), 50: (84.78, 25)},
    ("iwae", "static"): {1: (88.71, None), 5: (87.63, None), 50: (87.10, None)},
    ("elbo", "dynamic"): {1: (86.76, 19), 5: (86.47, 20), 50: (86.35, 20)},
    ("elbo", "static"): {1: (88.71, None), 5: (88.83, None), 50: (89.05, None)},
}


def iwae_mnist(
    *,
    bound: Bound = "iwae",
    num_samples: int = 5,
    binarisation: Literal["dynamic", "static"] = "dynamic",
    gradient: Literal["total", "stl", "dreg"] = "total",
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    marginal_start: bool = True,
    eps: float = 1e-4,
    stages: tuple[int, ...] = (),
    stage_epochs: tuple[int, ...] = (),
    shared: BoundedImages = BoundedImages(learning_rate=1e-3, epochs=350, batch_size=100),
) -> lab.Experiment:
    """The model of `vae_mnist`, trained by a bound of `num_samples` posterior samples.

    Args:
      bound: log of the average importance weight, or the average of its log, which makes a VAE.
      num_samples: k, of the bound, at least 1.
      binarisation: anew at each step, all 60,000 training images; or once and for all, 50,000,
        the best of 20 evaluations chosen by the bound of k samples on the validation split.
      gradient: of the posterior, see `objectives.iwae`; "total" only with the ELBO.
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      marginal_start: the decoder's output starts at the marginals of the pixels, see `models.VAE`.
      eps: of Adam; 1e-4 is the published one.
      stages: samples of the stages of training before that with `num_samples`; one of a single
        sample is the ELBO.
      stage_epochs: how many of `epochs` each of these stages lasts.
    """
    static = binarisation == "static"
    if static:
        dataset, transform = common.images(shared, "static")
    else:
        dataset, transform = common.images(shared, "dynamic")
    differs = None if (tuple(hidden), latent) == ((200, 200), 50) else "other networks"
    if shared.tiny:
        hidden, latent, shared = (16,), 4, replace(shared, epochs=2)
        stages, stage_epochs = stages[:1], stage_epochs and (1,)
    name = "IWAE" if bound == "iwae" else "VAE"
    row = f"{SOURCE}, Table {3 if static else 1}, {name}, k = {num_samples}"
    nll, units = (
        value and runs.Published(value, row, differs)
        for value in PUBLISHED[bound, binarisation].get(num_samples, (None, None))
    )
    sound = bound == "iwae" or gradient == "total"
    require(sound, "gradient", 'must be "total" for the ELBO', gradient)
    options = {"gradient": gradient} if bound == "iwae" else {}
    bound_of = lambda k: partial(common.bound_of_samples(bound, k), **options)
    loss = bound_of(num_samples)
    validation = loss if static else None
    loss = common.samples_in_stages(bound_of, stages, stage_epochs, loss, shared, dataset)
    vae = models.DenseVAE(dataset.event_shape, latent, hidden)
    vae = vae.clone(marginal_start=marginal_start)
    return common.latent_experiment(
        shared,
        model=f"{name} k={num_samples} {common.sizes(*hidden, latent)}",
        module=vae,
        loss=loss,
        dataset=dataset,
        transform=transform,
        adam={"eps": eps},
        validation=validation,
        estimators=common.latent_estimators(
            vae, dataset, shared.beside(nll), units, samples=shared.bound_samples
        ),
    )
