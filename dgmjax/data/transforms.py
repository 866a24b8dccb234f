"""Transforms of batches before a model sees them: pure JAX, usable inside `jit`.

Every transform that maps densities keeps account of its Jacobian in `batch["log_det"]`, `[B]`:
the log density of the original data is `log_prob(x) + log_det`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.checks import validate
from dgmjax.data.dataset import num_rows
from dgmjax.data.rescale import Logit, Scale, Standardise
from dgmjax.data.transform import Transform, check_levels, flat, num_dims, with_x
from dgmjax.errors import require
from dgmjax.types import Array, Key

__all__ = [
    "Binarise",
    "Compose",
    "Dequantise",
    "Identity",
    "Logit",
    "Scale",
    "Standardise",
    "Together",
    "Transform",
    "apply_once",
]


@dataclass(frozen=True)
class Identity:
    """Leaves the batch alone."""

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        return dict(batch)

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        validate(arrays, values="real")

    def inverse(self, x: Array) -> Array:
        return x


@dataclass(frozen=True)
class Binarise:
    """Grey values to float32 {0, 1}.

    `dynamic`: x ~ Bernoulli(grey), a fresh draw at every call. `threshold`:
    x = 1[grey > threshold]. `static`: the data are 0/1 already, which `check` verifies. Grey is
    `x / (levels - 1)` for integers and `x` itself for floating point in [0, 1]. There is no
    `log_det`: the map has no density.

    Sources: dynamic: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016,
    section 5, https://arxiv.org/abs/1509.00519; static: Salakhutdinov & Murray, "On the
    Quantitative Analysis of Deep Belief Networks", 2008,
    https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/.
    """

    mode: Literal["static", "dynamic", "threshold"]
    threshold: float = 0.5
    levels: int = 256

    def __post_init__(self) -> None:
        modes = ("static", "dynamic", "threshold")
        require(self.mode in modes, "mode", f"must be one of {modes}", self.mode)
        inside = 0 <= self.threshold < 1
        require(inside, "threshold", "must be in [0, 1)", self.threshold)
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"])
        return with_x(batch, self._binary(flat(x), key).astype(jnp.float32).reshape(x.shape))

    def _binary(self, x: Array, key: Key) -> Array:
        if self.mode == "static":
            return x
        integer = not jnp.issubdtype(x.dtype, jnp.floating)
        grey = x.astype(jnp.float32) / (self.levels - 1) if integer else x
        if self.mode == "threshold":
            return grey > self.threshold
        # u is in [0, 1): a grey of 0 never gives 1, and a grey of 1 always does.
        return jax.random.uniform(key, x.shape, jnp.float32) < grey

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        if self.mode == "static":
            return validate(arrays, values="binary")
        validate(arrays, values="real")
        if np.asarray(arrays["x"]).dtype.kind == "f":
            validate(arrays, values="unit")
        else:
            check_levels(arrays, self.levels)

    def inverse(self, x: Array) -> Array:
        return x


@dataclass(frozen=True)
class Dequantise:
    """x = (k + u) / levels in [0, 1) with u ~ U[0, 1), for integers k in 0..levels-1.

    `log_det = -D log(levels)`, so that the log probability of the integers is bounded below by
    the average over u of `log_prob(x) + log_det` (Theis, van den Oord & Bethge, "A Note on the
    Evaluation of Generative Models", 2016, Eq. 2 to 5, https://arxiv.org/abs/1511.01844).
    """

    levels: int = 256

    def __post_init__(self) -> None:
        require(1 < self.levels <= 2**16, "levels", "must be in 2..65536", self.levels)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"])
        k = flat(x).astype(jnp.float32)
        u = jax.random.uniform(key, k.shape, jnp.float32)
        inside = jnp.minimum(k + u, jnp.nextafter(k + 1, k))  # k + u may round up to k + 1
        scaled = (inside / self.levels).reshape(x.shape)
        return with_x(batch, scaled, -num_dims(x) * math.log(self.levels))

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        check_levels(arrays, self.levels)

    def inverse(self, x: Array) -> Array:
        return jnp.clip(jnp.floor(x * self.levels), 0, self.levels - 1)


@dataclass(frozen=True)
class Together:
    """A transform of `x`, and the same of other arrays of a batch that are of its kind.

    `log_det` is that of `x` alone; arrays that a batch lacks are left out.
    """

    transform: Transform
    names: tuple[str, ...] = ("context",)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        keys = jax.random.split(key, len(self.names) + 1)
        made = self.transform(batch, keys[0])
        for name, one in zip(self.names, keys[1:]):
            if name in batch:
                made[name] = self.transform({"x": batch[name]}, one)["x"]
        return made

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.transform.check(arrays)
        for name in self.names:
            if name in arrays:
                self.transform.check({"x": arrays[name]})

    def inverse(self, x: Array) -> Array:
        return self.transform.inverse(x)


@dataclass(frozen=True)
class Compose:
    """Transforms one after another, first to last, each with a key of its own."""

    transforms: tuple[Transform, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        new = dict(batch)
        for index, transform in enumerate(self.transforms):
            # By place: two transforms of one kind draw different numbers.
            new = transform(new, jax.random.fold_in(key, index))
        return new

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Checks the first transform on the data; the others see its output."""
        first = self.transforms[0] if self.transforms else Identity()
        first.check(arrays)

    def inverse(self, x: Array) -> Array:
        for transform in reversed(self.transforms):
            x = transform.inverse(x)
        return x


def apply_once(
    transform: Transform, arrays: Mapping[str, np.ndarray], seed: int, chunk: int = 1024
) -> dict[str, np.ndarray]:
    """Evaluation data: one fixed draw of `transform`, whatever the evaluation batch size.

    Row i is transformed alone, with the key `fold_in(key(seed), i)`, so that neither `chunk` (rows
    per compiled call, which bounds memory) nor the other rows matter. Calls `transform.check`
    first.
    """
    total = num_rows(arrays)
    require(chunk >= 1, "chunk", "must be at least 1", chunk)
    transform.check(arrays)
    size = min(chunk, total)
    parts = []
    for start in range(0, total, size):
        # The last chunk repeats the last row, so that all have one shape and compile once.
        rows = np.minimum(np.arange(start, start + size), total - 1)
        batch = {key: np.asarray(array[rows]) for key, array in arrays.items()}
        new = _apply_rows(transform, batch, jax.random.key(seed), rows)
        parts.append({key: np.asarray(value)[: total - start] for key, value in new.items()})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@partial(jax.jit, static_argnums=0)
def _apply_rows(transform: Transform, batch: dict[str, Array], key: Key, rows: Array) -> dict:
    def one(row: dict[str, Array], index: Array) -> dict[str, Array]:
        single = {name: value[None] for name, value in row.items()}
        new = transform(single, jax.random.fold_in(key, index))
        return {name: value[0] for name, value in new.items()}

    return jax.vmap(one)(batch, rows)
