"""Figures of a trained model with codebooks (`models.HierarchicalVQVAE`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgmjax.evaluation.codes import code_counts, encoded
from dgmjax.plotting.codes import histograms, index_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def usage(trained: Any) -> "Figure":
    """How often each code is used in the test split."""
    indices = encoded(lambda x: trained.call("encode", x), trained.arrays("test"))
    flat, sizes, names = by_depth(trained.experiment.module.levels, indices)
    counts = [code_counts(one, size) for one, size in zip(flat, sizes)]
    return histograms(counts, f"Codebook use: {trained.experiment.model}", names)


def maps(trained: Any, num: int = 8) -> "Figure":
    """Test images, their indices and reconstructions."""
    x = trained.arrays("test")["x"][:num]
    indices = trained.call("encode", x)
    x_hat = trained.call("reconstruct", x, jax.random.key(0))
    high = max(1.0, float(np.max(x)))  # grey levels are integers
    x, x_hat = x / high, np.asarray(x_hat) / high
    flat, sizes, names = by_depth(trained.experiment.module.levels, indices)
    return index_maps(x, flat, x_hat, sizes, f"Codes: {trained.experiment.model}", names)


def by_depth(
    levels: Sequence[Any], indices: Sequence[Any]
) -> tuple[list[np.ndarray], list[int], list[str]]:
    """Indices `[N, h, w]` of every depth of every level, the sizes of their codebooks and names."""
    flat, sizes, names = [], [], []
    for number, (level, given) in enumerate(zip(levels, indices)):
        maps = np.asarray(given)
        deep = level.depth > 1
        flat += list(np.moveaxis(maps, -1, 0)) if deep else [maps]
        sizes += [level.num_codes] * level.depth
        names += [f"level {number}.{d}" if deep else f"level {number}" for d in range(level.depth)]
    return flat, sizes, names
