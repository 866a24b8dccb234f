"""Poisson distribution over counts as a pytree (distrax has none, and TFP's has no leaves)."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key

MANY = 16.0
"""Counts from which on the terms of the log-probability cancel, and the saddle point is used."""


class Poisson(Distribution):
    """p(x) = rate^x exp(-rate) / x! for x = 0, 1, 2, ..., given log(rate); event shape ().

    With 16 counts and more it is computed as log p(x) = -D(x) - c(x) - log(2 pi x) / 2, where
    D(x) = x log(x / rate) + rate - x is the deviance and c Stirling's correction of log x!: the
    three terms of the formula are of the size of x log x each, their sum of the size of 1.

    Data may be of any dtype that holds the counts. They are not checked here (they may be
    traced), but where they enter.

    Source: Loader, "Fast and Accurate Computation of Binomial Probabilities", 2000, Eq. 7 to 10 and
    section 5, https://www.r-project.org/doc/reports/CLoader-dbinom-2002.pdf.

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
        log_rate = self.log_rate.astype(rate.dtype)
        many = x >= MANY
        # Each branch gets counts for which it is finite, gradients included.
        few = jnp.where(many, 0.0, x)
        # Without 0 times the logarithm of a rate of 0.
        plain = few * jnp.where(few > 0.0, log_rate, 0.0) - rate - gammaln(few + 1.0)
        return jnp.where(many, _saddle(jnp.where(many, x, MANY), rate, log_rate), plain)

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


def _saddle(x: Array, rate: Array, log_rate: Array) -> Array:
    """log p(x) for x >= 16, accurate to the last digits of a float32."""
    # c(x) = 1/(12 x) - 1/(360 x^3) + 1/(1260 x^5) - ...; from 16 on what is left out is below the
    # last digit of a float32.
    square = 1.0 / (x * x)
    stirling = (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0)) / x
    return -_deviance(x, rate, log_rate) - stirling - 0.5 * jnp.log(2.0 * jnp.pi * x)


def _deviance(x: Array, rate: Array, log_rate: Array) -> Array:
    """x log(x / rate) + rate - x, without cancellation where x is near the rate.

    With v = (x - rate) / (x + rate), log(x / rate) = 2 artanh(v) = 2 (v + v^3 / 3 + ...), and
    the first term of the series times x is (x - rate) (1 + v): x - rate cancels exactly.
    """
    v = (x - rate) / (x + rate)
    near = jnp.abs(v) < 0.1
    v = jnp.where(near, v, 0.0)
    w = v * v
    series = w * (1.0 / 3.0 + w * (1.0 / 5.0 + w * (1.0 / 7.0 + w * (1.0 / 9.0 + w / 11.0))))
    close = (x - rate) * v + 2.0 * x * v * series
    sound = rate > 1e-30  # their ratio may overflow otherwise
    ratio = jnp.log(x / jnp.where(sound, rate, 1.0))
    ratio = jnp.where(sound, ratio, jnp.log(x) - log_rate)
    return jnp.where(near, close, x * ratio + (rate - x))
