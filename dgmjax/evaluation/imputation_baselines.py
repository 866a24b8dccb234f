"""Imputation without a generative model, for comparison with a model's numbers."""

import warnings

import numpy as np

from dgmjax.data.missing import check_observed
from dgmjax.errors import DataError, require


def mean_imputation(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Missing entries replaced by the observed mean of their column; float64 `[N, *event]`.

    >>> mean_imputation(np.array([[1.0], [3.0], [0.0]]), np.array([[1], [1], [0]])).tolist()
    [[1.0], [3.0], [2.0]]
    """
    x, seen = _columns(x, observed)
    means = np.where(seen, x, 0.0).sum(0) / seen.sum(0)
    return np.where(seen, x, means)


def iterative_imputation(
    x: np.ndarray, observed: np.ndarray, *, iterations: int = 30, seed: int = 0
) -> np.ndarray:
    """scikit-learn's `IterativeImputer`: each column regressed on all others in turn.

    Bayesian ridge regression, at most `iterations` rounds (its own default is 10). It stops there
    whether or not it has converged. `x` is `[N, columns]`.

    Source: van Buuren & Groothuis-Oudshoorn, "mice: Multivariate Imputation by Chained Equations in
    R", 2011, of which it takes the mean, https://doi.org/10.18637/jss.v045.i03.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    require(iterations >= 1, "iterations", "must be at least 1", iterations)
    x, seen = _columns(x, observed)
    require(x.ndim == 2, "x", "must be a table [N, columns]", x.shape, "", DataError)
    imputer = IterativeImputer(max_iter=iterations, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return imputer.fit_transform(np.where(seen, x, np.nan))


def _columns(x: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`x` in float64 and the mask as booleans; every column must have been observed once."""
    check_observed({"x": x, "observed": observed})
    seen = np.asarray(observed) > 0
    unseen = int((~seen.any(0)).sum())
    rule = "must show each column at least once"
    require(unseen == 0, "observed", rule, f"{unseen} columns never", "Drop them.", DataError)
    return np.asarray(x, np.float64), seen
