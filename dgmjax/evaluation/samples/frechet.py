"""Frechet distance between sets of feature vectors."""

import numpy as np

from dgmjax.evaluation.averages import Measurement
from dgmjax.evaluation.samples.checks import checked_pair
from dgmjax.types import ArrayLike


def gaussian_frechet(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) of two normals N(m, A) and N(m', B).

    The squared 2-Wasserstein distance, in float64; singular covariances are no exception.

    Source: Dowson & Landau, "The Frechet Distance between Multivariate Normal Distributions", 1982,
    Eq. 4, https://doi.org/10.1016/0047-259X(82)90077-X.

    >>> gaussian_frechet(np.zeros(1), np.eye(1), np.ones(1), 4.0 * np.eye(1))  # 1 + (2 - 1)^2
    2.0
    """
    difference = np.asarray(mean_a, np.float64) - np.asarray(mean_b, np.float64)
    a, b = np.asarray(covariance_a, np.float64), np.asarray(covariance_b, np.float64)
    # tr (A^1/2 B A^1/2)^1/2 is the sum of the singular values of A^1/2 B^1/2. Roots of the
    # eigenvalues of the product A B would turn rounding errors of 1e-16 into 1e-8.
    shared = np.linalg.svd(_root(a) @ _root(b), compute_uv=False).sum()
    return float(difference @ difference + np.trace(a) + np.trace(b) - 2.0 * shared)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet_distance(
    real: ArrayLike, generated: ArrayLike, *, resamples: int = 50, seed: int = 0
) -> Measurement:
    """The Frechet distance of normals with the moments of `real[N, D]` and `generated[M, D]`.

    Covariances divide by N - 1. The estimate is biased upwards by about c / N, so that distances
    compare only at equal numbers of images; of two sets from one distribution it is above 0.

    Args:
      resamples: of the bootstrap over both sets, whose deviation is the standard error (too large
        where the distance is hardly above its bias); with fewer than 2 there is none.
      seed: of the bootstrap.

    Raises:
      DataError: no more rows than features (a covariance without full rank), NaN.

    Source: Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter, "GANs Trained by a Two Time-Scale
    Update Rule Converge to a Local Nash Equilibrium", 2017, Eq. 6,
    https://arxiv.org/abs/1706.08500.
    """
    x, y = checked_pair(real, generated, more_than_features=True)
    # About the common mean, so that second moments do not cancel.
    centre = x.mean(0)
    x, y = x - centre, y - centre
    value = gaussian_frechet(*_moments(x), *_moments(y))
    generator = np.random.default_rng(seed)
    again = [
        gaussian_frechet(
            *_moments(x, _counts(generator, len(x))), *_moments(y, _counts(generator, len(y)))
        )
        for _ in range(resamples if resamples > 1 else 0)
    ]
    return Measurement(value, float(np.std(again, ddof=1)) if again else None, len(y))


def _counts(generator: np.random.Generator, num: int) -> np.ndarray:
    """How often each row is drawn in a bootstrap sample of `num`."""
    return np.bincount(generator.integers(0, num, num), minlength=num).astype(np.float64)


def _moments(x: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of rows that occur `counts` times."""
    weighted = x if counts is None else counts[:, None] * x
    mean = weighted.sum(0) / len(x)
    return mean, (weighted.T @ x - len(x) * np.outer(mean, mean)) / (len(x) - 1)
