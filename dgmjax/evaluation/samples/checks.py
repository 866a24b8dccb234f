"""Checks of feature vectors."""

from typing import Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.types import ArrayLike


def checked(name: str, vectors: ArrayLike, least: int = 2, why: str = "") -> np.ndarray:
    """`vectors` as `[N, D]` in float64.

    Args:
      least: rows that are needed, and `why`.

    Raises:
      DataError: another shape, NaN or infinity, fewer rows.
    """
    array = np.asarray(vectors, np.float64)
    table = array.ndim == 2 and array.shape[1] > 0
    require(table, name, "must be [N, features]", f"shape {array.shape}", "", DataError)
    rule = f"must have at least {least} rows" + (f", {why}" if why else "")
    enough = len(array) >= least
    require(enough, name, rule, len(array), "Draw more samples.", DataError)
    finite = bool(np.isfinite(array).all())
    require(finite, name, "must be finite", "NaN or infinity", error=DataError)
    return array


def checked_pair(
    real: ArrayLike,
    generated: ArrayLike,
    least: int = 2,
    why: str = "",
    *,
    more_than_features: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Both sets, with the same features; see `checked`."""
    features = np.shape(real)[-1] if np.ndim(real) == 2 else 0
    if more_than_features:
        least, why = features + 1, "more than there are features"
    x: Any = checked("real", real, least, why)
    y: Any = checked("generated", generated, least, why)
    rule = f"must have the {features} features of `real`"
    require(y.shape[1] == features, "generated", rule, y.shape[1], error=DataError)
    return x, y
