"""Synthetic sets of points in the plane, each with its exact log density and entropy."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgmjax.data.dataset import Dataset, describe
from dgmjax.data.sources.plane import Banana, Checkerboard, Curves, Law, Pinwheel
from dgmjax.errors import DataError, require


def _moons(k: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved half circles of radius 1, as in scikit-learn's `make_moons`."""
    sign = np.where(k == 0, 1, -1)
    x = np.where(k == 0, 0, 1) + sign * np.cos(np.pi * t)
    return x, np.where(k == 0, 0, 0.5) + sign * np.sin(np.pi * t)


def _circles(k: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Concentric circles of radius 0.5, 1, 1.5, ..."""
    radius = 0.5 * (k + 1)
    return radius * np.cos(2 * np.pi * t), radius * np.sin(2 * np.pi * t)


def _spirals(k: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two Archimedean arms of one and a half turns, out to radius 2."""
    angle, sign = 3 * np.pi * t, np.where(k == 0, 1, -1)
    return sign * 2 * t * np.cos(angle), sign * 2 * t * np.sin(angle)


def _octagon(k: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight points on a circle of radius 2."""
    return 2 * np.cos(np.pi * k / 4), 2 * np.sin(np.pi * k / 4)


def _grid(k: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a 5x5 grid over [-4, 4]^2."""
    return 2.0 * (k // 5) - 4.0, 2.0 * (k % 5) - 4.0


@dataclass(frozen=True)
class Synthetic:
    """A row: description, distribution, entropy in nats, and the origin of the entropy.

    "Quadrature" is the trapezoidal rule in two dimensions in float64; the tests repeat it.
    """

    summary: str
    law: Law
    entropy: float
    entropy_from: str = "quadrature"


_BANANA = Banana(a=1.0, b=0.3, c=0.5, d=0.0)
_CORRELATED = Banana(a=1.0, b=0.5, c=0.0, d=0.8)

TABLE: dict[str, Synthetic] = {
    "moons": Synthetic("two half circles, noise 0.1", Curves(_moons, 2, 0.1, 96), 1.0075848),
    "circles": Synthetic(
        "circles of radius 0.5, 1, noise 0.05", Curves(_circles, 2, 0.05, 256), 0.6060764
    ),
    "rings": Synthetic(
        "circles of radius 0.5 to 2, noise 0.08", Curves(_circles, 4, 0.08, 320), 2.2125235
    ),
    "spirals": Synthetic("two spiral arms, noise 0.1", Curves(_spirals, 2, 0.1, 256), 1.8890253),
    "eight_gaussians": Synthetic(
        "eight Gaussians of deviation 0.2 at radius 2", Curves(_octagon, 8, 0.2, 1), 1.6980612
    ),
    "grid_gaussians": Synthetic(
        "25 Gaussians of deviation 0.05 on a 5x5 grid", Curves(_grid, 25, 0.05, 1), 0.0652883
    ),
    "pinwheel": Synthetic("five twisted Gaussian arms", Pinwheel(), 0.9342941),
    "checkerboard": Synthetic(
        "uniform on 8 unit squares", Checkerboard(), math.log(8), "closed form"
    ),
    "banana": Synthetic("a bent Gaussian", _BANANA, _BANANA.entropy, "closed form"),
    "correlated_gaussian": Synthetic(
        "a Gaussian of correlation 0.85", _CORRELATED, _CORRELATED.entropy, "closed form"
    ),
}


def load_synthetic(
    name: str,
    folder: Path,
    *,
    n_train: int = 10_000,
    n_validation: int = 2_000,
    n_test: int = 10_000,
    seed: int = 0,
) -> Dataset:
    """Draws a synthetic set: `x` float32 `[N, 2]`, `label` the component. A split of 0 is left out.

    Each split has a random stream of its own: another `n_train` does not change the test set.
    """
    row = TABLE[name]
    require(seed >= 0, "seed", "must be at least 0", seed, "", DataError)
    sizes = {"train": n_train, "validation": n_validation, "test": n_test}
    splits = {}
    for index, (split, size) in enumerate(sizes.items()):
        require(size >= 0, f"n_{split}", "must be at least 0", size, "", DataError)
        if size:
            bits = np.random.Philox(np.random.SeedSequence((seed, index)))
            x, label = row.law.sample(np.random.Generator(bits), size)
            splits[split] = {"x": x.astype(np.float32), "label": label.astype(np.int32)}
    require(len(splits) > 0, "n_train", "must be positive if no other is", sizes, "", DataError)
    facts = {"source": f"synthetic: {row.summary}", "version": "1"}
    info = describe(splits, **facts, splits=f"drawn independently, seed {seed}")
    info |= {"entropy_nats": row.entropy, "entropy_from": row.entropy_from}
    return Dataset(name, splits, info, row.law.log_density, row.entropy)
