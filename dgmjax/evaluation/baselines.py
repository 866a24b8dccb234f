"""Baselines with closed forms, for comparison with a model's numbers."""

import numpy as np

from dgmjax.errors import DataError, require


def independent_bernoulli(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """-log p(x) in nats of each test example under independent Bernoulli dimensions.

    The rates are (n_1 + 1) / (n + 2) of the training data (Laplace's rule), so that no
    test example has probability zero.

    >>> independent_bernoulli(np.ones((2, 1)), np.ones((1, 1))).round(4).tolist()
    [0.2877]
    """
    train = np.asarray(train, np.float64).reshape(len(train), -1)
    test = np.asarray(test, np.float64).reshape(len(test), -1)
    rate = (train.sum(0) + 1.0) / (len(train) + 2.0)
    return -(test @ np.log(rate) + (1.0 - test) @ np.log1p(-rate))


def full_normal(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """-log p(x) in nats of each test example under N(m, S), mean and covariance of `train`.

    The maximum-likelihood fit, in float64.

    Raises:
      DataError: a singular covariance.

    >>> full_normal(np.array([[-1.0], [1.0]]), np.array([[0.0]])).round(4).tolist()
    [0.9189]
    """
    train = np.asarray(train, np.float64).reshape(len(train), -1)
    test = np.asarray(test, np.float64).reshape(len(test), -1)
    mean = train.mean(0)
    covariance = (train - mean).T @ (train - mean) / len(train)
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        factor = np.zeros_like(covariance)
    # Of a column that the earlier ones determine, rounding leaves about sqrt(D eps) of its scale.
    least = 10.0 * np.sqrt(len(covariance) * np.finfo(np.float64).eps)
    require(
        bool((np.diag(factor) > least * np.sqrt(np.diag(covariance))).all()),
        "train",
        "must have a covariance that is not singular",
        f"{len(train)} examples of {train.shape[1]} columns",
        "Drop columns that depend on others, or give more examples.",
        DataError,
    )
    z = np.linalg.solve(factor, (test - mean).T)
    log_det = 2.0 * np.log(np.diag(factor)).sum()
    return 0.5 * ((z**2).sum(0) + log_det + train.shape[1] * np.log(2.0 * np.pi))
