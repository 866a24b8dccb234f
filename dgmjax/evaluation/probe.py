"""Linear probes: accuracy of a linear classifier on codes."""

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.evaluation.labels import require_no_missing


def linear_probe(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    *,
    strength: float = 1.0,
    iterations: int = 1000,
) -> Measurement:
    """Test accuracy of a logistic regression that is fitted to codes of the training split.

    Codes are standardised by the training split; columns that are constant there are left out.
    scikit-learn's logistic regression with an L2 penalty.

    Args:
      train_codes, test_codes: `[N, latent]`.
      train_labels, test_labels: `[N]`, none of them missing.
      strength: inverse strength of the penalty (scikit-learn's C).
      iterations: the most; scikit-learn warns if it has not converged.

    >>> codes = np.array([[0.0], [0.1], [1.0], [1.1]])
    >>> linear_probe(codes, np.array([0, 0, 1, 1]), codes[:2], np.array([0, 1])).value
    0.5
    """
    from sklearn.linear_model import LogisticRegression

    train, test = _codes("train_codes", train_codes), _codes("test_codes", test_codes)
    same = train.shape[1] == test.shape[1]
    rule = f"must have the {train.shape[1]} columns of `train_codes`"
    require(same, "test_codes", rule, test.shape[1], "", DataError)
    for name, labels, codes in (
        ("train_labels", train_labels, train),
        ("test_labels", test_labels, test),
    ):
        shape = np.shape(labels)
        require(shape == (len(codes),), name, "must be [N], one per code", shape, "", DataError)
        require_no_missing(name, np.asarray(labels))
    classes = len(np.unique(train_labels))
    require(classes > 1, "train_labels", "must hold two classes or more", classes, "", DataError)
    # Of the training split, for both: statistics of the test split would be information about it.
    mean, scale = train.mean(0), train.std(0)
    varying = varies(train)
    require(
        bool(varying.any()), "train_codes", "must not be constant", "constant codes", "", DataError
    )
    standard = lambda codes: (codes[:, varying] - mean[varying]) / scale[varying]
    probe = LogisticRegression(C=strength, max_iter=iterations)
    probe.fit(standard(train), np.asarray(train_labels))
    return average(probe.predict(standard(test)) == np.asarray(test_labels))


def varies(codes: np.ndarray) -> np.ndarray:
    """Which columns of `[N, D]` are not constant; the deviation of equal numbers may be rounded."""
    return codes.max(0) > codes.min(0)


def _codes(name: str, codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes, np.float64)
    table = codes.ndim == 2 and codes.size > 0
    require(table, name, "must be [N, latent] and not empty", codes.shape, "", DataError)
    finite = bool(np.isfinite(codes).all())
    require(finite, name, "must be finite", "NaN or infinity", "", DataError)
    return codes
