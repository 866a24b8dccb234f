"""Point masses: distributions without noise."""

import jax.numpy as jnp

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


class PointMass(Distribution):
    """All probability at one vector: z = loc.

    As a density, log p(z) is infinite at `loc` and minus infinity elsewhere: no bound that compares
    it with a density is finite.

    Args:
      loc: `[..., D]`.

    >>> PointMass(jnp.ones(2)).sample(seed=0).tolist()
    [1.0, 1.0]
    """

    def __init__(self, loc: Array):
        super().__init__()
        self.loc = jnp.asarray(loc)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.loc.shape[:-1]

    def log_prob(self, value: Array) -> Array:
        return jnp.where((value == self.loc).all(-1), jnp.inf, -jnp.inf)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return jnp.broadcast_to(self.loc, (*sample_shape, *self.loc.shape))

    def mean(self) -> Array:
        return self.loc
