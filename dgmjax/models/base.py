"""Density models: the base class, and normal distributions as modules."""

import math
from collections.abc import Callable

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.families import bounded
from dgmjax.distributions.transformed import log_prob_in_batch
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, Key

LOG_SCALE_BOUND = 10.0


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
        return log_prob_in_batch(self(context), x)

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


class Known(DensityModel):
    """A distribution without parameters: `make()` returns it, without a batch shape."""

    make: Callable[[], distrax.Distribution]

    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        return self.make()


class ParametricDensity(DensityModel):
    """A density of which each parameter is learned, or is linear in the context `[..., C]`."""

    def parameter(
        self, name: str, shape: tuple[int, ...], context: Array | None, init: Callable
    ) -> Array:
        """b, or W c + b: `[*shape]`, or `[..., *shape]` where a context is given."""
        bias = self.param(name, init, shape)
        if context is None:
            return bias
        if num_dims(shape) == 0:  # as below the diagonal of one dimension
            return jnp.broadcast_to(bias, (*context.shape[:-1], *shape))
        linear = Dense(num_dims(shape), use_bias=False, name=f"{name}_of_context")(context)
        return bias + as_float(linear).reshape(*context.shape[:-1], *shape)


class DiagonalNormal(ParametricDensity):
    """N(mu, diag(sigma^2)) with mu and log sigma learned, or linear in the context `[..., C]`.

    log sigma is smoothly bounded; without a context it starts as N(0, I). The base of an amortised
    posterior is `Flow((D,), layers, base=DiagonalNormal((D,)))`.
    """

    event_shape: tuple[int, ...]

    @nn.compact
    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        zeros = nn.initializers.zeros
        loc = self.parameter("loc", self.event_shape, context, zeros)
        log_scale = self.parameter("log_scale", self.event_shape, context, zeros)
        scale = jnp.exp(bounded(log_scale, LOG_SCALE_BOUND))
        return distrax.Independent(distrax.Normal(loc, scale), len(self.event_shape))


def num_dims(event_shape: tuple[int, ...]) -> int:
    """Number of dimensions of an event."""
    return math.prod(event_shape)
