"""MNIST in logit space: MAF(5) at 1300.5 nats, and its competitors (Papamakarios et al. 2017).

    dgmjax train maf_mnist_logit --model maf --data-dir DATA

`--model` is one of gaussian, made, realnvp, maf, maf_mog, made_mog, nsf and nsf_ar. Published
negative log-likelihoods in logit space: Gaussian 1366.9, MADE 1380.8, RealNVP(5) 1323.2, MAF(5)
1300.5, MAF MoG(5) 1100.3. Images are dequantised by uniform noise and mapped by a logit with alpha
1e-6. 10,000 of the 60,000 training images are held out and select the parameters. The published
optimiser is Adam with batches of 100 and early stopping after 30 epochs. Networks see logits
standardised by an affine map of each entry, which is initialised from a batch and learned.
Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
Table 2, https://arxiv.org/abs/1705.07057.
"""

from dataclasses import dataclass, replace

import numpy as np

from dgmjax import data, lab, objectives, runs

from ..shared import common, densities, own
from ..shared.options import Images

SOURCE = "Papamakarios, Pavlakou & Murray 2017, Table 2"
PUBLISHED = {
    "gaussian": 1366.9,
    "made": 1380.8,
    "realnvp": 1323.2,
    "maf": 1300.5,
    "maf_mog": 1100.3,
}


@dataclass(frozen=True)
class Flatten:
    """`x[B, *event]` to `[B, D]`; samples go back to `event_shape`."""

    event_shape: tuple[int, ...]

    def __call__(self, batch, key):
        return {**batch, "x": batch["x"].reshape(batch["x"].shape[0], -1)}

    def check(self, arrays):
        data.validate(arrays, values="real")

    def inverse(self, x):
        return x.reshape(*x.shape[:-1], *self.event_shape)


def logit_space_nll(model, batch, key):
    """-log p in nats of the logits themselves, as published: without the logit's Jacobian."""
    without = {name: value for name, value in batch.items() if name != "log_det"}
    return objectives.negative_log_likelihood(model, without, key)


def maf_mnist_logit(
    *,
    model: densities.Name = "maf",
    layers: int = 5,
    hidden: tuple[int, ...] = (1024,),
    weight_decay: float = 1e-6,
    patience: int = 30,
    shared: Images = Images(learning_rate=1e-4, epochs=50, batch_size=100),
) -> lab.Experiment:
    """A density of 784 logits of dequantised grey values.

    Args:
      model: which density.
      layers: of the flow, where it is one.
      hidden: units of each network's hidden layers.
      weight_decay: of Adam (decoupled).
      patience: epochs without a better validation before training stops.
    """
    sized = model == "gaussian" or tuple(hidden) == (1024,)
    of_that_size = sized and (layers == 5 or model in ("gaussian", "made"))
    if shared.tiny:
        layers, hidden, shared = 2, (16,), replace(shared, epochs=1, batch_size=100)
    own.require_own(shared, is_own=shared.dataset is not None)
    if shared.dataset is not None:
        dataset, levels = own.integer_images(shared, shared.dataset)
    elif shared.tiny:
        dataset, levels = data.load("digits"), 17
    else:
        dataset, levels = data.load("mnist", data_dir=shared.data_dir), 256
    features = int(np.prod(dataset.event_shape))
    transform = data.Compose(
        (data.Dequantise(levels), data.Logit(1e-6), Flatten(dataset.event_shape))
    )
    published = None
    if model in PUBLISHED and of_that_size:
        published = runs.Published(PUBLISHED[model], SOURCE)
    nll = objectives.negative_log_likelihood
    density = densities.density_model(model, features, layers=layers, hidden=hidden)
    return common.experiment(
        shared,
        model=f"{densities.label(model, layers)}, logit space",
        module=density if model == "gaussian" else densities.standardised(density, features),
        loss=logit_space_nll,
        adam={"weight_decay": weight_decay, "clip": 100.0},
        dataset=dataset,
        transform=transform,
        validation=logit_space_nll,
        patience=patience,
        estimators=(
            lab.Estimator(
                "nll_nats",
                "exact, of the logits",
                lab.averaged(logit_space_nll),
                "nats",
                published=published,
            ),
            lab.Estimator(
                "bits_per_dim",
                "bound, uniform dequantisation, one draw",
                lab.averaged(nll, bits=True),
                unit="bits/dim",
            ),
            densities.closed_form_gaussian(original_units=False),
        ),
        figures={"samples": lab.figures.samples},
    )
