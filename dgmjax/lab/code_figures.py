"""Figures of a trained model with codebooks (`models.HierarchicalVQVAE`)."""

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
    sizes = [level.num_codes for level in trained.experiment.module.levels]
    counts = [code_counts(level, size) for level, size in zip(indices, sizes)]
    return histograms(counts, f"Codebook use: {trained.experiment.model}")


def maps(trained: Any, num: int = 8) -> "Figure":
    """Test images, their indices and reconstructions."""
    x = trained.arrays("test")["x"][:num]
    indices = trained.call("encode", x)
    x_hat = trained.call("reconstruct", x, jax.random.key(0))
    high = max(1.0, float(np.max(x)))  # grey levels are integers
    x, x_hat = x / high, np.asarray(x_hat) / high
    sizes = [level.num_codes for level in trained.experiment.module.levels]
    return index_maps(x, indices, x_hat, sizes, f"Codes: {trained.experiment.model}")
