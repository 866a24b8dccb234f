"""Measures of estimators: functions `(trained, arrays) -> Measurement`.

Averages of an objective; codes (clusters, linear probes, disentanglement); imputations. Codes are
the means of the posterior, averages of samples where it is a flow (`evaluation.posterior_mean`). A
data set names its classes `label` and its factors of variation `factors`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Literal

import jax
import numpy as np

from dgmjax.contracts import is_mixture
from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.evaluation.baselines import independent_bernoulli
from dgmjax.evaluation.clustering import cluster_accuracy, normalised_mutual_information
from dgmjax.evaluation.disentanglement import beta_vae_score, mutual_information_gap
from dgmjax.evaluation.imputation import Imputed, imputation_error, imputations, impute
from dgmjax.evaluation.latent import active_units, posterior_mean, posterior_means
from dgmjax.evaluation.probe import linear_probe
from dgmjax.evaluation.units import bits_per_dim
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.types import Array, Objective

Measure = Callable[[Trained, Mapping[str, np.ndarray]], Measurement]


def averaged(
    objective: Objective, batch_size: int = 500, metric: str = "loss", bits: bool = False
) -> Measure:
    """The mean over examples of an objective's loss, or of another metric of it.

    Args:
      bits: turn nats per example into bits per dimension.
    """

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        values = trained.per_example(objective, arrays, batch_size)[metric]
        dims = int(np.prod(arrays["x"].shape[1:]))
        return average(bits_per_dim(values, dims) if bits else values)

    return measure


def latent_units(batch_size: int = 500, mean: Callable[..., Array] = posterior_mean) -> Measure:
    """Active units (see `evaluation.latent.active_units`) of the codes `mean(model, x)`."""

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        means = posterior_means(lambda x: trained.call(mean, x), arrays, batch_size)
        return Measurement(float(active_units(means)), None, len(means))

    return measure


def independent_pixels(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
    """The baseline of independent Bernoulli pixels, fitted to the training split."""
    return average(independent_bernoulli(trained.arrays("train")["x"], arrays["x"]))


CLUSTER_SEED = 0


def codes(trained: Trained, arrays: Mapping[str, np.ndarray], batch_size: int = 500) -> np.ndarray:
    """E[z | x] of every row, `[N, latent]` (latents of other shapes are flattened)."""
    means = posterior_means(lambda x: trained.call(posterior_mean, x), arrays, batch_size)
    return means.reshape(len(means), -1)


def clusters(
    trained: Trained, arrays: Mapping[str, np.ndarray], batch_size: int = 500
) -> np.ndarray:
    """The cluster of every row, `[N]`.

    The component of largest responsibility for E[z | x] where the prior is a mixture
    (`prior().responsibilities`), else k-means on the codes with as many clusters as there are
    labels, ten starts from a fixed seed.
    """
    if is_mixture(trained.model.prior()):
        parts = [
            np.asarray(trained.call(_component, batch["x"]))[batch["mask"] > 0]
            for batch in evaluation_batches(arrays, batch_size)
        ]
        return np.concatenate(parts)
    from sklearn.cluster import KMeans

    count = len(np.unique(_column(arrays, "label")))
    means = KMeans(count, n_init=10, random_state=CLUSTER_SEED)
    return means.fit_predict(codes(trained, arrays, batch_size).astype(np.float64))


def _component(model, x):
    return model.prior().responsibilities(posterior_mean(model, x)).argmax(-1)


def clustering(metric: Literal["accuracy", "nmi"] = "accuracy", batch_size: int = 500) -> Measure:
    """Agreement of `clusters` with the labels: accuracy under the best matching, or NMI."""
    known = metric in ("accuracy", "nmi")
    require(known, "metric", "must be 'accuracy' or 'nmi'", repr(metric))

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        labels = _column(arrays, "label")
        found = clusters(trained, arrays, batch_size)
        if metric == "accuracy":
            return cluster_accuracy(labels, found)
        return Measurement(normalised_mutual_information(labels, found), None, len(labels))

    return measure


def probe_accuracy(batch_size: int = 500) -> Measure:
    """Accuracy of a linear probe fitted to codes of the training split."""

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        train = trained.arrays("train")
        return linear_probe(
            codes(trained, train, batch_size),
            _column(train, "label"),
            codes(trained, arrays, batch_size),
            _column(arrays, "label"),
        )

    return measure


def disentanglement(
    metric: Literal["mig", "beta_vae_score"] = "mig", batch_size: int = 500
) -> Measure:
    """The mutual information gap of the codes, or the score of beta-VAE."""
    known = metric in ("mig", "beta_vae_score")
    require(known, "metric", "must be 'mig' or 'beta_vae_score'", repr(metric))

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        factors, z = _column(arrays, "factors"), codes(trained, arrays, batch_size)
        if metric == "beta_vae_score":
            return beta_vae_score(z, factors)
        return Measurement(mutual_information_gap(z, factors).value, None, len(z))

    return measure


def _column(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    require(name in arrays, "arrays", f"must hold `{name}`", sorted(arrays), "", DataError)
    return arrays[name]


def imputed(
    trained: Trained,
    arrays,
    *,
    num_samples: int = 10_000,
    num_imputations: int = 0,
    chunk: int = 100,
    batch_size: int = 100,
) -> Imputed:
    """The rows of `arrays` (`x` and `observed`) completed by a trained model."""
    method = _method(num_samples, num_imputations, chunk)
    evaluate = lambda batch, key: trained.call(method, batch, key)
    return impute(evaluate, arrays, batch_size, jax.random.key(EVALUATION_SEED))


@lru_cache
def _method(num_samples: int, num_imputations: int, chunk: int) -> Callable[..., Imputed]:
    """The same function for the same numbers, so that it compiles once."""
    return partial(
        imputations, num_samples=num_samples, num_imputations=num_imputations, chunk=chunk
    )


def imputation_mse(num_samples: int = 10_000, chunk: int = 100, batch_size: int = 100) -> Measure:
    """Mean squared error of single imputation over the missing entries of the split.

    The arrays hold `x`, `observed` and `complete` (see `data.remove_entries`).
    """

    def measure(trained, arrays):
        single = imputed(
            trained, arrays, num_samples=num_samples, chunk=chunk, batch_size=batch_size
        ).single
        return imputation_error(single, arrays["complete"], arrays["observed"])

    return measure


def imputation_mse_of(method: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Measure:
    """The same for a baseline `(x, observed) -> completed x` that sees the split only."""

    def measure(trained, arrays):
        completed = method(arrays["x"], arrays["observed"])
        return imputation_error(completed, arrays["complete"], arrays["observed"])

    return measure
