"""Uniform on circles and normal on lines: the base of flows of angles and real numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


class CircleAndLine(Distribution):
    """prod_i p(z_i), with p = 1 / (2 bound) on circular entries and N(0, 1) on the others.

    The density of a circular entry is the same at every real number, and is one over a whole
    turn, [-bound, bound), from which samples come.

    Args:
      circular: D booleans.
      bound: half of a turn.

    >>> round(float(CircleAndLine((True, False), 1.0).log_prob(jnp.zeros(2))), 4)
    -1.6121
    """

    def __init__(self, circular: tuple[bool, ...], bound: float = math.pi):
        super().__init__()
        self.circular, self.bound = tuple(bool(one) for one in circular), float(bound)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.circular),)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("float32")

    def log_prob(self, value: Array) -> Array:
        normal = -0.5 * (value**2 + math.log(2 * math.pi))
        each = jnp.where(np.array(self.circular), -math.log(2 * self.bound), normal)
        # Entries of a circle do not enter, but NaN among them must not be a density.
        return each.sum(-1) + 0.0 * value.sum(-1)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        shape = (*sample_shape, len(self.circular))
        of_circle, of_line = jax.random.split(key)
        angles = jax.random.uniform(of_circle, shape, minval=-self.bound, maxval=self.bound)
        return jnp.where(np.array(self.circular), angles, jax.random.normal(of_line, shape))

    def mean(self) -> Array:
        """Zeros: of the lines, and the middle of the turns."""
        return jnp.zeros(self.event_shape)
