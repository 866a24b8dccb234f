"""Disentanglement of codes, for data whose factors of variation are known."""

from typing import NamedTuple

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement
from dgmjax.evaluation.probe import linear_probe, varies


class Gap(NamedTuple):
    """The mutual information gap and its terms.

    Attributes:
      value: the mean of `per_factor`.
      per_factor: `[F]`, the gap of each factor in units of its entropy, between 0 and 1.
      information: `[L, F]`, I(z_j; v_k) in nats.
      entropy: `[F]`, H(v_k) in nats.
    """

    value: float
    per_factor: np.ndarray
    information: np.ndarray
    entropy: np.ndarray


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray, num_bins: int = 20) -> Gap:
    """MIG = (1/F) sum_k (I(z_j*; v_k) - max_{j != j*} I(z_j; v_k)) / H(v_k), j* = argmax_j I.

    1 where each factor is in one code and in no other, 0 where its two most informative codes are
    equally informative. Codes that do not take integer values, or take more than `num_bins` values,
    are cut into `num_bins` bins of equal width; the information is that of the table of counts,
    which for independent codes is about (num_bins - 1) (values - 1) / (2 N) nats above 0.

    Args:
      codes: `[N, L]`, such as posterior means.
      factors: `[N, F]`, integers; the rows should cover the factors' combinations evenly.
      num_bins: of each code, at least 2.

    Sources: Chen, Li, Grosse & Duvenaud, "Isolating Sources of Disentanglement in Variational
    Autoencoders", 2018, Eq. 6, https://arxiv.org/abs/1802.04942; binning of the codes: Locatello et
    al., "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations", 2019, appendix C, https://arxiv.org/abs/1811.12359.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> mutual_information_gap(v * 1.0, v).value
    1.0
    """
    codes, factors = _codes_and_factors(codes, factors)
    require(num_bins >= 2, "num_bins", "must be at least 2", num_bins)
    columns = [np.unique(column, return_inverse=True)[1] for column in factors.T]
    binned = [_binned(column, num_bins) for column in codes.T]
    information = np.array([[_information(z, v) for v in columns] for z in binned])
    # H(v) = I(v; v).
    entropy = np.array([_information(v, v) for v in columns])
    first = np.sort(information, axis=0)[::-1]
    second = first[1] if len(first) > 1 else np.zeros_like(entropy)
    gaps = (first[0] - second) / entropy
    return Gap(float(gaps.mean()), gaps, information, entropy)


def beta_vae_score(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    num_train: int = 2000,
    num_test: int = 1000,
    num_pairs: int = 64,
    seed: int = 0,
) -> Measurement:
    """Accuracy of a linear classifier that says which factor two groups of codes share.

    For a point: draw a factor k, then `num_pairs` pairs of examples that agree in v_k and are
    random otherwise; the point is the mean over the pairs of |z - z'|, its class is k. A factor
    in a code of its own leaves that entry at 0. Chance is 1 / F.

    Args:
      codes: `[N, L]`, such as posterior means.
      factors: `[N, F]`, integers, two factors or more, over an exhaustive grid or a random part of
        it, so that factors are independent.
      num_train, num_test: points that the classifier is fitted to and measured on; at least F to
        fit it to, so that each factor occurs.
      num_pairs: L of the paper.
      seed: of the draws.

    Source: Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
    Framework", 2017, section 3, Algorithm 1, https://openreview.net/forum?id=Sy2fzU9gl.
    """
    codes, factors = _codes_and_factors(codes, factors)
    for name, count in (("num_train", num_train), ("num_test", num_test), ("num_pairs", num_pairs)):
        require(count >= 1, name, "must be at least 1", count)
    num_factors = factors.shape[1]
    rule = "must hold two factors or more, for a classifier to tell apart"
    require(num_factors >= 2, "factors", rule, num_factors, "", DataError)
    rule = f"must be at least the {num_factors} factors, each of which occurs in training"
    require(num_train >= num_factors, "num_train", rule, num_train)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    groups = [_Groups(column) for column in factors.T]
    # Distances are compared across entries, so each is in units of its own spread; one that never
    # varies carries nothing.
    scale = codes.std(0)
    varying = varies(codes)
    codes = codes[:, varying] / scale[varying]
    require(codes.shape[1] > 0, "codes", "must not be constant", "constant codes", "", DataError)
    total = num_train + num_test
    kept = generator.integers(len(groups), size=total)
    kept[: len(groups)] = np.arange(len(groups))  # each factor occurs in training
    points = np.empty((total, codes.shape[1]))
    for k, group in enumerate(groups):
        chosen = np.flatnonzero(kept == k)
        first, second = group.pairs(generator, (len(chosen), num_pairs))
        points[chosen] = np.abs(codes[first] - codes[second]).mean(1)
    train, test = slice(0, num_train), slice(num_train, None)
    return linear_probe(points[train], kept[train], points[test], kept[test], iterations=10_000)


class _Groups:
    """The rows of each value of a factor, to draw pairs that agree in it."""

    def __init__(self, values: np.ndarray):
        self.rows = np.argsort(values, kind="stable")
        _, self.first, self.count = np.unique(
            values[self.rows], return_index=True, return_counts=True
        )

    def pairs(self, generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Two rows `shape` each that share a value drawn at random."""
        value = generator.integers(len(self.first), size=shape)
        draw = lambda: self.rows[
            self.first[value] + (generator.random(shape) * self.count[value]).astype(np.int64)
        ]
        return draw(), draw()


def _binned(column: np.ndarray, num_bins: int) -> np.ndarray:
    """Indices of the distinct integer values, or of bins of equal width."""
    values, index = np.unique(column, return_inverse=True)
    if len(values) <= num_bins and bool((values == np.round(values)).all()):
        return index
    low, high = column.min(), column.max()
    # A constant code has width 0, and is one bin. The largest value closes the last bin.
    width = (high - low) / num_bins or 1.0
    return np.minimum((column - low) / width, num_bins - 1).astype(np.int64)


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) in nats of the joint frequencies of two columns of indices from 0."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1.0 / len(a))
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    # 0 log 0 = 0.
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def _codes_and_factors(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    table = codes.ndim == 2 and codes.size > 0 and bool(np.isfinite(codes).all())
    require(table, "codes", "must be [N, L], finite and not empty", codes.shape, "", DataError)
    table = factors.ndim == 2 and len(factors) == len(codes) and factors.shape[1] > 0
    rule = f"must be [N, F] with the {len(codes)} rows of `codes`"
    require(table, "factors", rule, factors.shape, "", DataError)
    whole = factors.dtype.kind in "biu"
    if factors.dtype.kind == "f":
        whole = bool((np.isfinite(factors) & (factors == np.round(factors))).all())
    rule = "must be whole numbers, since each value counts as a group of its own"
    given = "NaN, infinity or fractions" if factors.dtype.kind == "f" else factors.dtype
    remedy = "Number the values of a factor, and cut one that is continuous into bins."
    require(whole, "factors", rule, given, remedy, DataError)
    constant = [k for k, column in enumerate(factors.T) if (column == column[0]).all()]
    rule = "must vary in each column, since a constant has no entropy"
    require(not constant, "factors", rule, f"constant columns {constant}", "", DataError)
    return codes, factors
