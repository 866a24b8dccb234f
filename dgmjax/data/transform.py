"""Transform protocol, and functions that transforms share."""

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from dgmjax.data.checks import validate
from dgmjax.errors import DataError, require
from dgmjax.types import Array, Key


@runtime_checkable
class Transform(Protocol):
    """A frozen, hashable map of batches; equal transforms compile once.

    `__call__(batch, key)` returns a new dict with another `x` and, where densities are mapped, a
    `log_det` `[B]` to which its own is added. It is pure and traceable; `key` may be ignored.
    `check(arrays)` runs once, on the host, and raises `DataError` unless the data are as the
    transform expects; `__call__` cannot check. `inverse(x)` maps samples back for pictures
    (`Dequantise` rounds down, `Binarise` leaves them alone).
    """

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]: ...

    def check(self, arrays: Mapping[str, np.ndarray]) -> None: ...

    def inverse(self, x: Array) -> Array: ...


def flat(x: Array) -> Array:
    """`[B, D]`: XLA vectorises along the last axis, and that of an image is its channels."""
    return x.reshape(x.shape[0], -1)


def num_dims(x: Array) -> int:
    return math.prod(x.shape[1:])


def with_x(batch: Mapping[str, Any], x: Array, log_det: Array | float | None = None) -> dict:
    """`batch` with another `x`, and `log_det` (a scalar or `[B]`) added to what is there."""
    new = {**batch, "x": x}
    if log_det is not None:
        before = batch.get("log_det", jnp.zeros(x.shape[:1], jnp.float32))
        new["log_det"] = before + log_det
    return new


def check_levels(arrays: Mapping[str, np.ndarray], levels: int) -> None:
    """Requires integers that use 0..levels-1: 17 grey levels read as 256 would look black."""
    validate(arrays, values="count")
    low, high = int(arrays["x"].min()), int(arrays["x"].max())
    require(
        high < levels and (high >= (levels - 1) / 4 or high == low),
        "levels",
        "must be the number of grey levels of `x`",
        f"{levels} for values {low}..{high}",
        "Digits have 17 (0..16), 8-bit images 256; data that are already 0/1 take "
        "Binarise('static').",
        DataError,
    )
