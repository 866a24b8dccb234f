"""Use of codebooks: the codes of a data set, and how often each occurs."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import DataError, require
from dgmjax.types import Array


def encoded(
    encode: Callable[[Array], tuple[Array, ...]],
    arrays: Mapping[str, np.ndarray],
    batch_size: int = 500,
) -> tuple[np.ndarray, ...]:
    """Indices `[N, ...]` of every level, of every example; `encode` is compiled here."""
    compiled = jax.jit(encode)
    parts = []
    for batch in evaluation_batches({"x": arrays["x"]}, batch_size):
        real = batch["mask"] > 0
        parts.append([np.asarray(level)[real] for level in compiled(batch["x"])])
    return tuple(np.concatenate(level) for level in zip(*parts))


def code_counts(indices: np.ndarray, num_codes: int) -> np.ndarray:
    """How often each of the codes 0 .. num_codes - 1 occurs, `[num_codes]`.

    Raises:
      DataError: indices that are not integers in that range.

    >>> code_counts(np.array([[0, 2], [2, 2]]), 4).tolist()
    [1, 0, 3, 0]
    """
    indices = np.asarray(indices)
    sound = indices.dtype.kind in "iu" and indices.size > 0
    sound = sound and indices.min() >= 0 and indices.max() < num_codes
    rule = f"must be integers in 0 .. {num_codes - 1}"
    given = f"{indices.dtype} of shape {indices.shape}"
    require(sound, "indices", rule, given, error=DataError)
    return np.bincount(indices.ravel(), minlength=num_codes)
