"""What estimators measure of codes: clusters, linear probes, disentanglement.

The codes are the means of the posterior, averages of samples where it is a flow
(`evaluation.posterior_mean`). A data set names its classes `label` and its factors of
variation `factors`.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement
from dgmjax.evaluation.clustering import cluster_accuracy, normalised_mutual_information
from dgmjax.evaluation.disentanglement import beta_vae_score, mutual_information_gap
from dgmjax.evaluation.latent import posterior_mean, posterior_means
from dgmjax.evaluation.probe import linear_probe
from dgmjax.training.measures import Measure
from dgmjax.training.trained import Trained

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
    if hasattr(trained.model.prior(), "responsibilities"):
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
