"""Sprites: rendered images of one white shape, with known factors of variation."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dgmjax.data.dataset import Dataset, describe, split_rows
from dgmjax.errors import DataError, require

SHAPES = ("square", "ellipse", "heart")
FACTORS = ("shape", "scale", "rotation", "x", "y")
SIZES = (3, 4, 8, 8, 8)
"""Values of each factor in the default grid: 6144 images."""

_SAMPLES = 4  # a side of the grid of points in a pixel
_CHUNK = 256  # images rendered together


def render_sprites(
    shape: np.ndarray,
    scale: np.ndarray,
    rotation: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    size: int = 32,
    antialias: bool = True,
) -> np.ndarray:
    """Images uint8 `[N, size, size, 1]` of one sprite each.

    Args:
      shape: `[N]`, 0 square, 1 ellipse, 2 heart.
      scale: `[N]`, radius of the sprite's surroundings as a share of the image's side.
      rotation: `[N]`, in radians, counter-clockwise.
      x, y: `[N]`, centre of the sprite, from 0 (left, top) to 1.
      size: side of the image in pixels.
      antialias: grey values 0..255, the share of 4 x 4 points of a pixel that are inside;
        otherwise 0/1, by the centre of the pixel.
    """
    require(size >= 4, "size", "must be at least 4", size, "", DataError)
    columns = [np.atleast_1d(np.asarray(c, np.float32)) for c in (scale, rotation, x, y)]
    shape = np.atleast_1d(np.asarray(shape))
    lengths = {len(shape), *map(len, columns)}
    require(len(lengths) == 1, "shape", "must be as long as the others", lengths, "", DataError)
    known = bool(np.isin(shape, range(len(SHAPES))).all())
    require(known, "shape", f"must be 0..{len(SHAPES) - 1}", np.unique(shape), "", DataError)
    positive = bool((columns[0] > 0).all())
    require(positive, "scale", "must be positive", columns[0].min(), "", DataError)
    parts = []
    for start in range(0, len(shape), _CHUNK):
        rows = slice(start, start + _CHUNK)
        parts.append(_render(shape[rows], [c[rows] for c in columns], size, antialias))
    return np.concatenate(parts)[..., None]


def _render(shape: np.ndarray, columns: list[np.ndarray], size: int, antialias: bool) -> np.ndarray:
    scale, rotation, x, y = (c[:, None, None] for c in columns)
    samples = _SAMPLES if antialias else 1
    line = ((np.arange(size * samples) + 0.5) / (size * samples)).astype(np.float32)
    # Coordinates of the image's points in the sprite's own frame, y upwards.
    right, up = line[None, None, :] - x, y - line[None, :, None]
    cos, sin = np.cos(rotation) / scale, np.sin(rotation) / scale
    u, v = cos * right + sin * up, cos * up - sin * right
    inside = np.zeros(u.shape, bool)
    for index, contains in enumerate((_square, _ellipse, _heart)):
        rows = shape == index
        if rows.any():
            inside[rows] = contains(u[rows], v[rows])
    if not antialias:
        return inside.astype(np.uint8)
    counts = inside.reshape(len(shape), size, samples, size, samples).sum((2, 4))
    return np.round(counts * (255.0 / samples**2)).astype(np.uint8)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) < 0.7


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u**2 + (v / 0.5) ** 2 < 1.0


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(a^2 + b^2 - 1)^3 < a^2 b^3, moved and scaled into the unit circle."""
    a, b = 1.28 * u, 1.28 * v + 0.2
    squares = a * a + b * b - 1.0
    return squares * squares * squares < a * a * b * b * b


def factor_grid(sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """All combinations of the factors' indices, int32 `[N, 5]`."""
    return np.array(list(itertools.product(*map(range, sizes))), np.int32)


def factor_values(factors: np.ndarray, sizes: tuple[int, ...] = SIZES) -> dict[str, np.ndarray]:
    """The arguments of `render_sprites` that the indices `[N, 5]` stand for.

    Scales are 0.16 to 0.3 of the side, positions 0.3 to 0.7, so that every sprite is whole.
    Rotations divide a quarter turn, after which a square looks the same.
    """
    index = np.asarray(factors).T
    share = [i / max(n - 1, 1) for i, n in zip(index, sizes)]
    return {
        "shape": index[0],
        "scale": 0.16 + 0.14 * share[1],
        "rotation": 0.5 * np.pi * index[2] / sizes[2],
        "x": 0.3 + 0.4 * share[3],
        "y": 0.3 + 0.4 * share[4],
    }


def load_sprites(
    name: str,
    folder: Path,
    *,
    splits: Mapping[str, float] | None = None,
    split_seed: int = 0,
    size: int = 32,
    antialias: bool = True,
    sizes: tuple[int, ...] = SIZES,
) -> Dataset:
    """The exhaustive grid of factors: `x`, `factors` int32 `[N, 5]` and `label`, the shape.

    Source of the design: Matthey, Higgins, Hassabis & Lerchner, "dSprites: Disentanglement Testing
    Sprites Dataset", 2017, https://github.com/google-deepmind/dsprites-dataset.

    Args:
      splits, split_seed: random parts; `{"train": 1.0}` is the whole grid.
      size, antialias: see `render_sprites`.
      sizes: values of shape (at most 3), scale, rotation, x and y.
    """
    sizes = tuple(sizes)
    sound = len(sizes) == len(FACTORS) and min(sizes) >= 1 and sizes[0] <= len(SHAPES)
    rule = f"must be five numbers of at least 1, the first at most {len(SHAPES)}"
    require(sound, "sizes", rule, sizes, "", DataError)
    factors = factor_grid(sizes)
    x = render_sprites(**factor_values(factors, sizes), size=size, antialias=antialias)
    arrays = {"x": x, "factors": factors, "label": factors[:, 0].copy()}
    parts = split_rows(arrays, splits, split_seed)
    info = describe(
        parts,
        source="rendered: one shape in the plane",
        version="1",
        levels=256 if antialias else 2,
        splits=f"random, seed {split_seed}",
        factors=dict(zip(FACTORS, sizes)),
    )
    return Dataset(name, parts, info)
