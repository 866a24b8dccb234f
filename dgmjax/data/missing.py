"""Missing entries: the mask of observed ones is part of the data, and fixed for a data set.

Arrays with missing entries hold `x` (zero where an entry is missing), `observed` (the same shape,
uint8: 1 observed, 0 missing) and, where entries were removed on purpose, `complete`, the truth,
which is NaN where it was never known.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from dgmjax.data.checks import validate
from dgmjax.data.dataset import Arrays, Dataset, permutation, share_of
from dgmjax.errors import DataError, require
from dgmjax.types import Array, Key


class Pattern(Protocol):
    """Removal of entries regardless of their values: missing completely at random."""

    def __call__(self, shape: tuple[int, ...], *seed: int) -> np.ndarray:
        """uint8 `[N, *event]`, 1 where an entry stays."""
        ...


@dataclass(frozen=True)
class AtRandom:
    """A share `rate` of all entries of the array, drawn without replacement.

    >>> int(AtRandom(0.5)((4, 3), 0).sum())
    6
    """

    rate: float

    def __post_init__(self) -> None:
        require(0 < self.rate < 1, "rate", "must be in (0, 1)", self.rate)

    def __call__(self, shape: tuple[int, ...], *seed: int) -> np.ndarray:
        total = math.prod(shape)
        observed = np.ones(total, np.uint8)
        observed[permutation(total, *seed)[: share_of(total, self.rate)]] = 0
        return observed.reshape(shape)


@dataclass(frozen=True)
class Blocks:
    """One square of `size` x `size` pixels of each image, anywhere in it."""

    size: int

    def __post_init__(self) -> None:
        require(self.size >= 1, "size", "must be at least 1", self.size)

    def __call__(self, shape: tuple[int, ...], *seed: int) -> np.ndarray:
        require(len(shape) == 4, "x", "must be images [N, height, width, channels]", shape)
        count, height, width, _ = shape
        fits = self.size < min(height, width)
        require(fits, "size", f"must be below the sides {height}, {width}", self.size)
        # Raw words, not `integers`: their stream is fixed by the algorithm, while NumPy may change
        # how it makes integers of them.
        words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(2 * count)
        words = words.reshape(2, count)
        top, left = words[0] % (height - self.size + 1), words[1] % (width - self.size + 1)
        inside = [
            (np.arange(length) >= first[:, None]) & (np.arange(length) < first[:, None] + self.size)
            for first, length in ((top.astype(int), height), (left.astype(int), width))
        ]
        hidden = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        return np.broadcast_to(~hidden, shape).astype(np.uint8)


def remove_entries(dataset: Dataset, pattern: Pattern, seed: int = 0) -> Dataset:
    """The data set with entries removed: `x`, `observed`, and the truth as `complete`.

    The entries are the same in every epoch, and a pure function of `seed` and of the split's name.
    What is missing already stays missing. Its truth is that of `complete`, or else NaN, which
    `evaluation.imputation_error` leaves out.
    """
    require(seed >= 0, "seed", "must be at least 0", seed, "", DataError)
    splits = {}
    for name, arrays in dataset.splits.items():
        x = np.asarray(arrays["x"])
        # The name is part of the seed: splits of one size would otherwise miss the same entries.
        observed = pattern(x.shape, seed, *name.encode())
        complete = x
        if "observed" in arrays:
            check_observed(arrays)
            before = np.asarray(arrays["observed"]) > 0
            observed = observed * before
            if "complete" in arrays:
                complete = np.asarray(arrays["complete"])
            elif not before.all():
                complete = np.where(before, x, np.nan)
        filled = np.where(observed > 0, x, np.zeros((), x.dtype))
        splits[name] = {**arrays, "x": filled, "observed": observed, "complete": complete}
    shares = {name: round(float(1 - a["observed"].mean()), 4) for name, a in splits.items()}
    info = {**dataset.info, "missing": f"{pattern}, seed {seed}", "missing_share": shares}
    return dataclasses.replace(dataset, splits=splits, info=info)


def mark_missing(x: np.ndarray) -> dict[str, np.ndarray]:
    """`x` (zero-filled) and `observed`, for data in which NaN stands for a missing entry.

    >>> mark_missing(np.array([[1.0, np.nan]]))["observed"].tolist()
    [[1, 0]]
    """
    x = np.asarray(x)
    floating = x.dtype.kind == "f"
    require(floating, "x", "must be floating point to hold NaN", x.dtype, "", DataError)
    observed = ~np.isnan(x)
    return {
        "x": np.where(observed, x, np.zeros((), x.dtype)),
        "observed": observed.astype(np.uint8),
    }


def check_observed(arrays: Arrays) -> None:
    """Raises `DataError` unless `observed` is 0 or 1 and has the shape of `x`."""
    require("observed" in arrays, "arrays", "must hold `observed`", list(arrays), "", DataError)
    x, observed = np.asarray(arrays["x"]), np.asarray(arrays["observed"])
    rule = f"must have the shape of `x`, {x.shape}"
    require(observed.shape == x.shape, "observed", rule, observed.shape, "", DataError)
    numeric = observed.dtype.kind in "buif"
    sound = numeric and bool(np.all((observed == 0) | (observed == 1)))
    given = f"{observed.dtype} values" + (f" up to {observed.max()}" if numeric else "")
    remedy = "1 stands for an observed entry, 0 for a missing one."
    require(sound, "observed", "must be 0 or 1", given, remedy, DataError)


@dataclass(frozen=True)
class FillMissing:
    """Puts zeros in place of missing entries; the first transform of such data.

    `check` refuses a mask that is not 0 or 1 or does not have the shape of x, and NaN or infinity.
    """

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"])
        return {**batch, "x": jnp.where(batch["observed"] > 0, x, jnp.zeros((), x.dtype))}

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        validate(arrays, values="real")
        check_observed(arrays)

    def inverse(self, x: Array) -> Array:
        return x
