"""Sequences of different lengths in arrays of one length."""

import jax.numpy as jnp

from dgmjax.distributions.base import Distribution, draw_batch
from dgmjax.errors import require
from dgmjax.types import Array, Key


class Padded(Distribution):
    """The first steps of a sequence of independent sites; the rest is padding.

    log p(x) = sum over observed t of log p(x_t): `value` is not read elsewhere.

    Args:
      sites: distribution over `[T, ...]` with `site_log_prob(x)`, such as `Factorised`.
      observed: `[*batch, T]`, 1 for a step of the sequence and 0 for padding.
    """

    def __init__(self, sites, observed: Array):
        super().__init__()
        length = sites.event_shape[0]
        require(
            tuple(observed.shape[-1:]) == (length,),
            "observed",
            f"must end in the number of steps, {length}",
            f"shape {tuple(observed.shape)}",
        )
        self.sites, self.observed = sites, jnp.asarray(observed) > 0

    @property
    def event_shape(self) -> tuple[int, ...]:
        return tuple(self.sites.event_shape)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.sites.batch_shape, self.observed.shape[:-1])

    def _kept(self, value: Array) -> Array:
        """`value` with zeros in place of padding."""
        observed = self.observed.reshape(*self.observed.shape, *[1] * (len(self.event_shape) - 1))
        return jnp.where(observed, value, jnp.zeros((), value.dtype))

    def step_log_prob(self, value: Array) -> Array:
        """log p(x_t) of each step, `[..., T]`, 0 for padding."""
        each = self.sites.site_log_prob(self._kept(value))
        batch = each.ndim - len(self.event_shape) + self.sites.family.event_ndims
        summed = each.sum(tuple(range(batch + 1, each.ndim)))
        return jnp.where(self.observed, summed, 0.0)

    def log_prob(self, value: Array) -> Array:
        return self.step_log_prob(value).sum(-1)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self._kept(draw_batch(self.sites, key, sample_shape, self.batch_shape))

    def mean(self) -> Array:
        return self._kept(self.sites.mean())
