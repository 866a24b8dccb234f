"""Poisson distribution over counts as a pytree (distrax has none, and TFP's has no leaves)."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


class Poisson(Distribution):
    """p(x) = rate^x exp(-rate) / x! for x = 0, 1, 2, ..., given log(rate); event shape ().

    Data may be of any dtype that holds the counts. They are not checked here (they may be
    traced), but where they enter.

    >>> round(float(Poisson(jnp.log(2.0)).log_prob(3)), 4)     # log(8/6) - 2
    -1.7123
    """

    def __init__(self, log_rate: Array):
        super().__init__()
        self.log_rate = jnp.asarray(log_rate)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.log_rate.shape

    @property
    def rate(self) -> Array:
        """The mean and the variance, in at least float32."""
        return jnp.exp(self.log_rate.astype(jnp.promote_types(self.log_rate.dtype, jnp.float32)))

    def log_prob(self, value: Array) -> Array:
        rate = self.rate
        x = jnp.asarray(value).astype(rate.dtype)
        return x * self.log_rate - rate - gammaln(x + 1.0)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        """Counts as int32."""
        return jax.random.poisson(key, self.rate, (*sample_shape, *self.batch_shape))

    def mean(self) -> Array:
        return self.rate

    def variance(self) -> Array:
        return self.rate

    def mode(self) -> Array:
        """The largest integer of at most the rate."""
        return jnp.floor(self.rate)
