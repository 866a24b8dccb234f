"""Kernel distance (KID) between sets of feature vectors."""

import numpy as np

from dgmjax.errors import require_sizes
from dgmjax.evaluation.averages import Measurement
from dgmjax.evaluation.samples.checks import checked_pair
from dgmjax.types import ArrayLike


def kernel_distance(
    real: ArrayLike, generated: ArrayLike, *, blocks: int = 10, seed: int = 0
) -> Measurement:
    """MMD^2 of `real[N, D]` and `generated[M, D]` under k(x, y) = (x . y / D + 1)^3, unbiased.

    E k(x, x') + E k(y, y') - 2 E k(x, y) over pairs of different rows. The mean over disjoint
    blocks of rows, drawn at random, with the standard error of that mean. Unlike the Frechet
    distance it is unbiased at any number of images, and may be negative where the sets agree.

    Args:
      blocks: number of blocks; 1 takes all pairs and has no standard error.
      seed: of the division into blocks.

    Raises:
      DataError: fewer than two rows of each set for a block, NaN.

    Source: Binkowski, Sutherland, Arbel & Gretton, "Demystifying MMD GANs", 2018, section 4,
    https://arxiv.org/abs/1801.01401.
    """
    require_sizes(blocks=blocks)
    x, y = checked_pair(real, generated, 2 * blocks, f"two for each of {blocks} blocks")
    generator = np.random.default_rng(seed)
    parts = zip(
        np.array_split(generator.permutation(x), blocks),
        np.array_split(generator.permutation(y), blocks),
    )
    found = np.array([_unbiased(*part) for part in parts])
    error = float(found.std(ddof=1) / np.sqrt(blocks)) if blocks > 1 else None
    return Measurement(float(found.mean()), error, len(y))


def _unbiased(x: np.ndarray, y: np.ndarray) -> float:
    return _of_pairs(x) + _of_pairs(y) - 2.0 * float(_kernel(x, y).mean())


def _of_pairs(x: np.ndarray) -> float:
    """The mean of k(x_i, x_j) over i != j: a row beside itself would bias it upwards."""
    gram = _kernel(x, x)
    return float((gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1)))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3
