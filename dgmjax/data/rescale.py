"""Transforms with a Jacobian: logit, change of scale, standardisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.checks import validate
from dgmjax.data.transform import check_levels, num_dims, with_x
from dgmjax.errors import DataError, require
from dgmjax.types import Array, Key

MAX_OFFSET = 1e4
"""Largest |mean| / std of a column in float32: what is left of its 24 bits are ten or so."""


@dataclass(frozen=True)
class Logit:
    """x -> logit(y), y = alpha + (1 - 2 alpha) x, for x in [0, 1].

    `log_det = sum(log(1 - 2 alpha) - log y - log(1 - y))`.

    Sources: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, section 4.1,
    https://arxiv.org/abs/1605.08803; Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow
    for Density Estimation", 2017, appendix E (alpha 1e-6 for MNIST, 0.05 for CIFAR-10),
    https://arxiv.org/abs/1705.07057.
    """

    alpha: float = 1e-6

    def __post_init__(self) -> None:
        require(0 < self.alpha < 0.5, "alpha", "must be in (0, 0.5)", self.alpha)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"])
        slope = 1 - 2 * self.alpha
        log_y = jnp.log(self.alpha + slope * x)
        # From 1 - x, which keeps its digits where 1 - y would lose them.
        log_not_y = jnp.log(self.alpha + slope * (1 - x))
        each = math.log(slope) - log_y - log_not_y
        return with_x(batch, log_y - log_not_y, jnp.sum(each, axis=range(1, x.ndim)))

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        validate(arrays, values="unit")

    def inverse(self, x: Array) -> Array:
        y = jax.nn.sigmoid(x)
        return jnp.clip((y - self.alpha) / (1 - 2 * self.alpha), 0, 1)


@dataclass(frozen=True)
class Scale:
    """Grey levels 0..levels-1 to [low, high]; `log_det = D log((high - low) / (levels - 1))`."""

    levels: int = 256
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)
        require(self.low < self.high, "low", "must be below `high`", (self.low, self.high))

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"]).astype(jnp.float32)
        slope = (self.high - self.low) / (self.levels - 1)
        return with_x(batch, self.low + slope * x, num_dims(x) * math.log(slope))

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        check_levels(arrays, self.levels)

    def inverse(self, x: Array) -> Array:
        return (x - self.low) * ((self.levels - 1) / (self.high - self.low))


@dataclass(frozen=True)
class Standardise:
    """x -> (x - mean) / std along the last axis (columns, channels); `log_det = -sum(log std)`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, train_x: np.ndarray) -> Standardise:
        """Mean and standard deviation of the last axis of `[N, ..., C]`, in float64.

        Raises:
          DataError: values that are not finite, a column without variation, or one that varies so
            little about its mean that float32 cannot tell its values apart.
        """
        validate({"x": train_x}, values="real")
        columns = np.asarray(train_x, np.float64)
        columns = columns.reshape(-1, columns.shape[-1] if columns.ndim > 1 else 1)
        std = columns.std(0)
        # The mean of equal numbers may be rounded, and then none of them is at distance 0; squares
        # of tiny distances may be.
        constant = (columns.min(0) == columns.max(0)) | ~(std > 0)
        constant = np.flatnonzero(constant).tolist()
        remedy = "Drop the constant columns: they have no density."
        require(not constant, "train_x", "must vary in every column", constant, remedy, DataError)
        fitted = cls(tuple(columns.mean(0).tolist()), tuple(std.tolist()))
        fitted._require_digits("train_x")
        return fitted

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # arrays are welcome; tuples can be hashed
            values = np.atleast_1d(np.asarray(getattr(self, name), np.float64))
            object.__setattr__(self, name, tuple(values.tolist()))
        equal = len(self.mean) == len(self.std)
        require(equal, "std", "must be as long as `mean`", (len(self.mean), len(self.std)))
        require(min(self.std) > 0, "std", "must be positive", self.std)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"]).astype(jnp.float32)
        self._require_columns(x.shape)
        repeats = num_dims(x) // len(self.std)
        log_det = -repeats * sum(math.log(s) for s in self.std)
        new = (x - jnp.asarray(self.mean, x.dtype)) / jnp.asarray(self.std, x.dtype)
        return with_x(batch, new, log_det)

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        validate(arrays, values="real")
        self._require_columns(np.shape(arrays["x"]))
        self._require_digits("x")

    def inverse(self, x: Array) -> Array:
        return x * jnp.asarray(self.std) + jnp.asarray(self.mean)

    def _require_columns(self, shape: Sequence[int]) -> None:
        columns = shape[-1] if len(shape) > 1 else 1
        rule = f"must have {len(self.std)} columns, as the data of the fit had"
        require(columns == len(self.std), "x", rule, f"shape {tuple(shape)}", "", DataError)

    def _require_digits(self, argument: str) -> None:
        """Refuses columns whose variation is lost: x is float32 before the mean is subtracted."""
        for column, (mean, std) in enumerate(zip(self.mean, self.std)):
            rule = f"must have means of at most {MAX_OFFSET:g} standard deviations to keep digits"
            given = f"mean {mean:.6g} and standard deviation {std:.3g} in column {column}"
            remedy = "Subtract an offset from that column before, in float64."
            kept = abs(mean) <= MAX_OFFSET * std
            require(kept, argument, rule, given, remedy, DataError)
