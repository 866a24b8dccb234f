"""Random affine maps of images: views of one picture that are as likely as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from dgmjax.data.checks import validate
from dgmjax.data.transform import with_x
from dgmjax.errors import DataError, require
from dgmjax.types import Array, Key


@dataclass(frozen=True)
class RandomAffine:
    """Images turned, stretched, sheared and shifted about their middles, each by draws of its own.

    The value at pixel p is that of the image at A (p - c) + c + s, interpolated linearly, and 0
    outside of it. A = R(angle) [[1, shear], [0, 1]] diag(exp(log scales)), c is the middle, and
    every number is uniform on [-m, m] for the m given here.

    Attributes:
      shift: in pixels, of each axis.
      angle: in radians.
      log_scale: of each axis.
      shear: of the rows against the columns.

    >>> image = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2].set(1.0)
    >>> turned = RandomAffine(shift=0.0)({"x": image}, jax.random.key(0))["x"]
    >>> float(turned[0, 2, 2, 0])  # the middle stays where it is
    1.0
    """

    shift: float = 2.0
    angle: float = 0.25
    log_scale: float = 0.1
    shear: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require(0 <= value < np.inf, field.name, "must be finite and not negative", value)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"])
        require(x.ndim == 4, "x", "must be images [B, H, W, C]", f"shape {x.shape}", "", DataError)
        grey = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        moved = jax.vmap(self._moved)(grey, jax.random.split(key, len(x)))
        whole = not jnp.issubdtype(x.dtype, jnp.floating)
        return with_x(batch, (jnp.round(moved) if whole else moved).astype(x.dtype))

    def _moved(self, image: Array, key: Key) -> Array:
        angle, shear, *rest = jax.random.uniform(key, (6,), image.dtype, -1.0, 1.0)
        scales, shift = jnp.stack(rest[:2]), jnp.stack(rest[2:])
        cos, sin = jnp.cos(self.angle * angle), jnp.sin(self.angle * angle)
        turn = jnp.array([[cos, -sin], [sin, cos]])
        slant = jnp.array([[1.0, 0.0], [0.0, 1.0]]).at[0, 1].set(self.shear * shear)
        matrix = (turn @ slant) * jnp.exp(self.log_scale * scales)
        size = np.array(image.shape[:2])
        middle = (size - 1) / 2
        pixels = np.moveaxis(np.mgrid[: size[0], : size[1]], 0, -1) - middle
        turned = pixels.astype(image.dtype) @ matrix.T.astype(image.dtype)
        places = turned + middle + self.shift * shift
        rows, columns = places[..., 0], places[..., 1]
        channel = lambda plane: map_coordinates(plane, [rows, columns], order=1)
        return jax.vmap(channel, -1, -1)(image)

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        validate(arrays, values="real")

    def inverse(self, x: Array) -> Array:
        return x
