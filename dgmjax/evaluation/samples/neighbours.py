"""Nearest neighbours: precision and recall, density and coverage, a two-sample test, memorising."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dgmjax.errors import DataError, require, require_sizes
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.evaluation.samples.checks import checked, checked_pair
from dgmjax.types import ArrayLike

CELLS = 10_000_000
"""Distances that are in memory at once."""
ROUNDING = 1e-13
"""Of a squared distance, relative to the squares that it is expanded into."""


def nearest(queries: ArrayLike, references: ArrayLike, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Indices and Euclidean distances of the k nearest of `references[M, D]`, `[N, k]` each.

    The nearest comes first.

    >>> indices, distances = nearest([[0.0], [5.0]], [[1.0], [4.0], [9.0]])
    >>> indices.tolist(), distances.tolist()
    ([[0], [1]], [[1.0], [1.0]])
    """
    require_sizes(k=k)
    y = checked("references", references, k, f"the {k} neighbours asked for")
    x = checked("queries", queries, 1)
    rule = f"must have the {y.shape[1]} columns of `references`"
    require(x.shape[1] == y.shape[1], "queries", rule, x.shape[1], error=DataError)
    middle = np.median(y, 0)
    found = [
        np.argpartition(squared, k - 1, axis=1)[:, :k]
        for _, squared in _squared_distances(x - middle, y - middle)
    ]
    indices = np.concatenate(found)
    # Once more by differences: expanded squares leave 1e-8 where a copy is at distance 0.
    distances = np.stack([np.linalg.norm(x - y[column], axis=-1) for column in indices.T], 1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1)


class PrecisionRecall(NamedTuple):
    """The share of generated images that are like real ones, and the share the other way round."""

    precision: Measurement
    recall: Measurement


def precision_recall(real: ArrayLike, generated: ArrayLike, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall of `generated[M, D]` against `real[N, D]`.

    The balls about all points of a set that reach to their k-th nearest neighbour (in the same set,
    themselves left out) stand for its support. Precision is the share of generated points in
    that of the real ones, recall the share of real points in that of the generated ones.
    Standard errors are of these shares, the balls being given. The large ball of one outlying real
    image may hold noise of any kind: read precision beside `density_coverage` and a distance.

    Raises:
      DataError: k rows or fewer in a set, NaN.

    Source: Kynkaanniemi, Karras, Laine, Lehtinen & Aila, "Improved Precision and Recall Metric for
    Assessing Generative Models", 2019, section 2, https://arxiv.org/abs/1904.06991.
    """
    x, y = _centred_pair(real, generated, k)
    precision = _balls_around(y, x, _squared_radii(x, k)).counts > 0
    recall = _balls_around(x, y, _squared_radii(y, k)).counts > 0
    return PrecisionRecall(average(precision), average(recall))


class DensityCoverage(NamedTuple):
    """How many real neighbourhoods a generated image lies in, and how many of them hold one."""

    density: Measurement
    coverage: Measurement


def density_coverage(real: ArrayLike, generated: ArrayLike, k: int = 5) -> DensityCoverage:
    """Density and coverage of `generated[M, D]` against `real[N, D]`.

    With balls about the real points as in `precision_recall`: density is the mean number of balls
    that a generated point lies in, divided by k (1 for equal distributions, and not bounded by
    it), coverage the share of balls that hold a generated point. One outlier among the real points
    has one large ball, which precision counts in full and these two for next to nothing.

    Raises:
      DataError: k rows or fewer in a set, NaN.

    Source: Naeem, Oh, Uh, Choi & Yoo, "Reliable Fidelity and Diversity Metrics for Generative
    Models", 2020, Eq. 3 and 4, https://arxiv.org/abs/2002.09797.
    """
    x, y = _centred_pair(real, generated, k)
    found = _balls_around(y, x, _squared_radii(x, k))
    return DensityCoverage(average(found.counts / k), average(found.hit))


def nearest_neighbour_accuracy(real: ArrayLike, generated: ArrayLike) -> Measurement:
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier of real against generated.

    1/2 where both have one distribution; towards 1 where they differ, and below 1/2 where generated
    points are copies of the real ones. A point whose nearest neighbours of both kinds are as near
    counts as half right. Two points that are each other's nearest neighbour are right or wrong
    together: with a share m of such points, the standard error is sqrt(1 + m) times that of
    independent trials.

    Args:
      real, generated: `[N, D]` each.

    Raises:
      DataError: sets of different sizes (chance would not be 1/2), fewer than 2 rows, NaN.

    Source: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests", 2017, section 4,
    https://arxiv.org/abs/1610.06545.
    """
    x, y = _centred_pair(real, generated, 1)
    rule = f"must have the {len(x)} rows of `real`"
    require(len(x) == len(y), "generated", rule, len(y), "Take as many of both.", DataError)
    points, num = np.concatenate([x, y]), len(x)
    correct, found = [], []
    for start, squared in _squared_distances(points, points):
        rows = np.arange(len(squared))
        squared[rows, start + rows] = np.inf  # a point is no neighbour of itself
        sides = squared[:, :num].min(1), squared[:, num:].min(1)
        is_real = start + rows < num
        own, other = np.where(is_real, sides, sides[::-1])
        tied = np.abs(own - other) <= ROUNDING * ((points[start + rows] ** 2).sum(-1) + own)
        correct.append(np.where(tied, 0.5, own < other))
        found.append(squared.argmin(1))
    neighbours = np.concatenate(found)
    mutual = (neighbours[neighbours] == np.arange(2 * num)).mean()
    return _with_variance(average(np.concatenate(correct)), factor=1.0 + float(mutual))


def memorised_share(
    generated: ArrayLike, train: ArrayLike, held_out: ArrayLike, share: float = 0.01
) -> Measurement:
    """The share of generated points nearer to a training point than nearly all held-out data are.

    Near is what the `share` of held-out points that are nearest to their training neighbours
    reaches: a model that draws from the distribution of the data returns `share`, one that copies
    training images 1.

    The standard error is of both draws, generated and held-out points, where the model is that of
    the data.

    Args:
      generated, train, held_out: `[M, D]`, `[N, D]`, `[L, D]`, pixels or features.
      share: in (0, 1); at least one held-out point must be nearer.

    Raises:
      DataError: fewer than 1 / share held-out points, NaN; so many held-out points with a copy
        among the training points that nothing is nearer.
    """
    require(0.0 < share < 1.0, "share", "must lie in (0, 1)", share)
    needed = int(np.ceil(1.0 / share))
    own = checked("held_out", held_out, needed, f"one for the nearest {share:g} of them")
    _, usual = nearest(own, train)
    _, found = nearest(generated, train)
    # Weibull's quantile is the one below which another held-out point lies with probability
    # `share`, however few there are.
    reach = np.quantile(usual[:, 0], share, method="weibull")
    rule = f"must have fewer than {share:g} of its rows among those of `train`"
    remedy = "Compare features that differ between points, or raise `share`."
    require(reach > 0.0, "held_out", rule, f"{np.mean(usual == 0.0):g}", remedy, DataError)
    return _with_variance(average(found[:, 0] < reach), added=share * (1.0 - share) / len(own))


def _with_variance(found: Measurement, factor: float = 1.0, added: float = 0.0) -> Measurement:
    """The same number, of a variance that is not that of independent examples."""
    error = found.standard_error
    if error is None:
        return found
    return found._replace(standard_error=math.sqrt(factor * error**2 + added))


def _centred_pair(real: ArrayLike, generated: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets about one median, since expanded squares lose digits far from 0.

    The mean would follow a single outlier, and all others would be far from it.
    """
    require_sizes(k=k)
    x, y = checked_pair(real, generated, k + 1, f"one more than the {k} neighbours of each")
    middle = np.median(x, 0)
    return x - middle, y - middle


def _squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """`|x_i - y_j|^2` of chunks of rows of x, with the first row of each."""
    squares = (y**2).sum(-1)
    step = max(1, CELLS // len(y))
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        yield start, (rows**2).sum(-1)[:, None] - 2.0 * rows @ y.T + squares


def _squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each point to its k-th nearest neighbour among the others, `[N]`."""
    found = []
    for start, squared in _squared_distances(x, x):
        rows = np.arange(len(squared))
        squared[rows, start + rows] = np.inf  # a point is no neighbour of itself
        found.append(np.partition(squared, k - 1, axis=1)[:, k - 1])
    return np.concatenate(found)


class _Balls(NamedTuple):
    counts: np.ndarray
    hit: np.ndarray


def _balls_around(points: np.ndarray, centres: np.ndarray, squared_radii: np.ndarray) -> _Balls:
    """How many balls hold each point, and whether each ball holds any."""
    # A point on the rim is inside: rounding of the two ways to its distance must not decide.
    reach = squared_radii + ROUNDING * (centres**2).sum(-1)
    slack = ROUNDING * (points**2).sum(-1)
    counts, hit = [], np.zeros(len(centres), bool)
    for start, squared in _squared_distances(points, centres):
        inside = squared <= reach + slack[start : start + len(squared), None]
        counts.append(inside.sum(1))
        hit |= inside.any(0)
    return _Balls(np.concatenate(counts), hit)
