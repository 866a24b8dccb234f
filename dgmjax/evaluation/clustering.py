"""Agreement of clusters with classes: accuracy under the best matching, and NMI."""

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.evaluation.labels import require_no_missing


def contingency(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Counts `[classes, clusters]` of examples, over the values that occur."""
    labels, clusters = _paired(labels, clusters)
    _, rows = np.unique(labels, return_inverse=True)
    _, columns = np.unique(clusters, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def cluster_accuracy(labels: np.ndarray, clusters: np.ndarray) -> Measurement:
    """max_m (1/N) sum_n 1[label_n = m(cluster_n)] over one-to-one matchings m.

    The best matching is found by the Hungarian algorithm. Where there are more clusters than
    classes, the examples of those left over count as wrong. The standard error takes the matching
    as given.

    Args:
      labels, clusters: `[N]`, of any values, none of them missing.

    Source: Xie, Girshick & Farhadi, "Unsupervised Deep Embedding for Clustering Analysis", 2016,
    Eq. 10, https://arxiv.org/abs/1511.06335.

    >>> cluster_accuracy(np.array([0, 0, 1, 1]), np.array([7, 7, 3, 7])).value
    0.75
    """
    from scipy.optimize import linear_sum_assignment

    table = contingency(labels, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    right = int(table[rows, columns].sum())
    return average(np.arange(len(labels)) < right)


def normalised_mutual_information(labels: np.ndarray, clusters: np.ndarray) -> float:
    """I(label; cluster) / ((H(label) + H(cluster)) / 2), between 0 and 1, by scikit-learn.

    >>> normalised_mutual_information(np.array([0, 0, 1, 1]), np.array([7, 7, 3, 3]))
    1.0
    """
    from sklearn.metrics import normalized_mutual_info_score

    labels, clusters = _paired(labels, clusters)
    return float(normalized_mutual_info_score(labels, clusters))


def _paired(labels: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    whole = labels.ndim == 1 and len(labels) > 0
    require(whole, "labels", "must be [N] and not empty", labels.shape, "", DataError)
    rule = f"must have the shape of `labels`, {labels.shape}"
    require(clusters.shape == labels.shape, "clusters", rule, clusters.shape, "", DataError)
    require_no_missing("labels", labels)
    require_no_missing("clusters", clusters)
    return labels, clusters
