"""What every density model has, and the simplest of them: normal distributions as modules."""

import math

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.families import Normal
from dgmjax.errors import require
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, Key


class DensityModel(nn.Module):
    """A module whose `__call__(context)` returns a distribution; the rest follows.

    `log_prob(x)` is in nats, one per example; `sample` has shape
    `sample_shape + batch_shape + event_shape`.
    """

    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        """The distribution of x, given the context."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(context).")

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x | context) in nats, of shape `sample_shape + batch_shape`."""
        return self(context).log_prob(x)

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples of x given the context."""
        return self(context).sample(seed=key, sample_shape=sample_shape)


class StandardNormal(DensityModel):
    """N(0, I) over events of shape `event_shape`; no parameters."""

    event_shape: tuple[int, ...]

    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        loc = jnp.zeros(self.event_shape)
        return distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), len(self.event_shape))


class DiagonalNormal(DensityModel):
    """N(mu, diag(sigma^2)) with learned mu and log sigma; starts as N(0, I)."""

    event_shape: tuple[int, ...]

    @nn.compact
    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        loc = self.param("loc", nn.initializers.zeros, self.event_shape)
        log_scale = self.param("log_scale", nn.initializers.zeros, self.event_shape)
        return distrax.Independent(distrax.Normal(loc, jnp.exp(log_scale)), len(self.event_shape))


class ConditionalNormal(DensityModel):
    """N(mu(c), diag(sigma(c)^2)) with mu and log sigma linear in the context c `[..., C]`.

    The base of an amortised posterior, `Flow((D,), layers, base=ConditionalNormal((D,)))`.
    log sigma is smoothly bounded by `log_scale_bound`.
    """

    event_shape: tuple[int, ...]
    log_scale_bound: float = 10.0

    @nn.compact
    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        require(context is not None, "context", "must be given to a conditional density", "none")
        size = num_dims(self.event_shape)
        params = Dense(2 * size, name="params")(context)
        params = params.reshape(*params.shape[:-1], *self.event_shape, 2)
        family = Normal(log_scale_bound=self.log_scale_bound)
        return distrax.Independent(family(as_float(params)), len(self.event_shape))


def num_dims(event_shape: tuple[int, ...]) -> int:
    """Number of dimensions of an event."""
    return math.prod(event_shape)
