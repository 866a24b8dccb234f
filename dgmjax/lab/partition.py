"""Likelihoods of models that are known up to their normaliser."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgmjax.evaluation.averages import Measurement, average
from dgmjax.inference import Partition, log_partition
from dgmjax.lab.experiment import Estimator
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.plotting.bounds import estimates_by_temperatures
from dgmjax.runs import Published
from dgmjax.types import Array, Batch, Key, Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def partition_estimators(
    temperatures: np.ndarray,
    num_chains: int,
    published: Published | None = None,
    metric: str = "nll_annealed",
) -> tuple[Estimator, Estimator]:
    """-log p(x) = E(x) + log Z of the test split, and log Z with its standard error.

    log Z is annealed from independent sites with the means of the training data. Its estimate is
    too low on average, so that the likelihood is optimistic.

    Args:
      temperatures: `[T + 1]`, from 0 to 1.
      num_chains: of the estimate.
      published: beside the likelihood.
      metric: name of the likelihood's record.
    """
    how = f"annealed log Z, {num_chains} chains, {len(temperatures) - 1} temperatures"
    betas = tuple(float(beta) for beta in temperatures)

    def log_z(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        found = partition(trained, betas, num_chains)
        return Measurement(float(found.log_z), float(found.standard_error), num_chains)

    def nll(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        found = partition(trained, betas, num_chains)
        energies = trained.per_example(_energy, arrays, 500)["loss"]
        mean, spread, count = average(energies)
        error = math.hypot(float(found.standard_error), spread or 0.0)
        return Measurement(mean + float(found.log_z), error, count)

    return (
        Estimator(metric, f"E(x) + log Z, {how}", nll, published=published),
        Estimator("log_partition", how, log_z),
    )


@lru_cache(maxsize=4)
def partition(trained: Trained, betas: tuple[float, ...], num_chains: int) -> Partition:
    """log Z of a trained model, from independent sites with the means of its training data."""
    rates = trained.arrays("train")["x"].mean(0)
    return trained.call(_partition(betas, num_chains), rates, jax.random.key(EVALUATION_SEED))


def partition_figure(trained: Trained, temperatures: list[np.ndarray], chains: int) -> "Figure":
    """log Z with its standard error against the number of temperatures."""
    counts = [len(betas) - 1 for betas in temperatures]
    found = [partition(trained, tuple(map(float, betas)), chains) for betas in temperatures]
    values, errors = [f.log_z for f in found], [f.standard_error for f in found]
    title = f"log Z: {trained.experiment.model}"
    return estimates_by_temperatures(counts, values, errors, title)


def _energy(model: Any, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    return model.energy(batch["x"]), {}


@lru_cache(maxsize=8)
def _partition(betas: tuple[float, ...], num_chains: int) -> Any:
    """The same function for the same numbers, so that it compiles once."""
    return lambda model, rates, key: log_partition(
        model.annealing(rates), key, np.asarray(betas), num_chains=num_chains
    )
