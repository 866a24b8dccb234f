"""Pictures of environments, as pure functions of their states."""

import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array

_WIDTH = 0.14  # of the rod, where the picture reaches from -1 to 1
_LENGTH = 0.85


def pendulum_frames(state: Array, size: int = 16) -> Array:
    """Grey pictures `[..., size, size, 1]`, levels 0 .. 255, of pendulums `[angle, rate]`.

    A rod from the centre to its end, upwards at angle 0 and clockwise for positive angles, with
    soft edges: exp(-d^2 / (2 w^2)), d the distance of a pixel from the rod. The rate of turning is
    not to be seen in one picture.

    >>> upright = pendulum_frames(jnp.zeros(2), 8)[..., 0]
    >>> bool(upright[1, 3] > 150), bool(upright[6, 3] < 5)
    (True, True)
    """
    require(size >= 4, "size", "must be at least 4", size)
    angle = state[..., 0, None, None]
    places = (jnp.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = places[None, :], -places[:, None]
    along_x, along_y = jnp.sin(angle), jnp.cos(angle)
    share = jnp.clip(x * along_x + y * along_y, 0.0, _LENGTH)
    square = (x - share * along_x) ** 2 + (y - share * along_y) ** 2
    grey = jnp.exp(-square / (2.0 * _WIDTH**2))
    return jnp.round(255.0 * grey)[..., None].astype(jnp.uint8)
