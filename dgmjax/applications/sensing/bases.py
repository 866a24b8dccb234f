"""Orthonormal bases in which images and sound are sparse: entries, cosines, Haar wavelets."""

import math
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
import numpy as np

from dgmjax.applications.sensing.operators import along_axes
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array

Basis = Literal["pixel", "dct", "wavelet"]


def cosines(size: int) -> np.ndarray:
    """The discrete cosine transform (DCT-II) as an orthonormal matrix; rows are the cosines."""
    require_sizes(size=size)
    k, n = np.arange(size)[:, None], np.arange(size)
    rows = math.sqrt(2.0 / size) * np.cos(math.pi * (n + 0.5) * k / size)
    rows[0] /= math.sqrt(2.0)
    return rows


def haar(size: int) -> np.ndarray:
    """Haar wavelets (Daubechies 1) as an orthonormal matrix; averages come first.

    Averages are halved again as long as their number is even: 28 entries have two levels and 7
    averages.

    >>> haar(2).round(4).tolist()
    [[0.7071, 0.7071], [0.7071, -0.7071]]
    """
    require_sizes(size=size)
    rows, left = np.eye(size), size
    while left % 2 == 0:
        pairs = rows[:left].reshape(left // 2, 2, size) / math.sqrt(2.0)
        rows[:left] = np.concatenate([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]])
        left //= 2
    return rows


BASES: dict[str, Callable[[int], np.ndarray]] = {
    "pixel": np.eye,
    "dct": cosines,
    "wavelet": haar,
}
"""The analysis matrix of an axis of a size; its transpose makes the signal of coefficients."""


def synthesis(basis: Basis, event_shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """Coefficients `[..., *event]` to the signal, a product of the basis along each axis.

    The map is orthonormal. Axes of one entry, such as the channel of a grey image, are left alone.
    """
    require(basis in BASES, "basis", f"must be one of {sorted(BASES)}", repr(basis))
    if basis == "pixel":
        return lambda coefficients: coefficients
    matrices = tuple(jnp.asarray(BASES[basis](n).T, jnp.float32) for n in event_shape)
    return lambda coefficients: along_axes(matrices, coefficients, len(event_shape))
