"""What a latent space does: active units."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from dgmjax.data.batches import evaluation_batches
from dgmjax.types import Array


def posterior_means(
    mean: Callable[[Array], Array], arrays: Mapping[str, np.ndarray], batch_size: int
) -> np.ndarray:
    """E[z | x] of every example, `[N, latent]`; `mean` maps a batch of x and is compiled here."""
    compiled = jax.jit(mean)
    parts = [
        np.asarray(compiled(batch["x"]))[batch["mask"] > 0]
        for batch in evaluation_batches(arrays, batch_size)
    ]
    return np.concatenate(parts)


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """Number of dimensions u with Var_x(E[z_u | x]) > threshold.

    Args:
      means: posterior means `[N, latent]` over a split (say which).
      threshold: 0.01 in the paper.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2.

    >>> active_units(np.array([[0.0, 1.0], [0.01, -1.0]]))
    1
    """
    return int((np.var(np.asarray(means, np.float64), axis=0) > threshold).sum())
