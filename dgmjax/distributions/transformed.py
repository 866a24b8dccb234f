"""Distribution of a bijector's output."""

import jax

from dgmjax.bijectors.base import check_batch
from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.types import Array, Key


def log_prob_in_batch(distribution, value: Array) -> Array:
    """`distribution.log_prob(value)`; a batch that it does not broadcast against is named."""
    ndims = len(distribution.event_shape)
    check_batch(distribution, value.shape[: value.ndim - ndims], distribution.batch_shape)
    return distribution.log_prob(value)


class Transformed(Distribution):
    """x = f(z) with z ~ base: log p(x) = log p_base(f^-1(x)) + log|det d f^-1(x) / dx|.

    Unlike `distrax.Transformed` it caches nothing in itself (an equal object compiles once and
    none leaks a tracer), and it draws any sample shape with one call of the bijector.

    Args:
      base: distribution whose event has `bijector.event_ndims_in` dimensions.
      bijector: `distrax.Bijector`, forward from base `z` to data `x`.

    >>> import distrax, jax.numpy as jnp
    >>> base = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
    >>> flow = Transformed(base, distrax.Block(distrax.ScalarAffine(1.0, 2.0), 1))
    >>> flow.sample(seed=0, sample_shape=(3, 5)).shape
    (3, 5, 2)
    """

    def __init__(self, base, bijector):
        super().__init__()
        require(
            len(base.event_shape) == bijector.event_ndims_in,
            "base",
            f"must have events of {bijector.event_ndims_in} dimensions for this bijector",
            f"event shape {base.event_shape}",
            "Perhaps wrap the base in distrax.Independent, or the bijector in distrax.Block.",
        )
        self.base, self.bijector = base, bijector

    def _output(self) -> jax.ShapeDtypeStruct:
        shape = self.base.batch_shape + self.base.event_shape
        return jax.eval_shape(self.bijector.forward, jax.ShapeDtypeStruct(shape, self.base.dtype))

    @property
    def event_shape(self) -> tuple[int, ...]:
        shape = self._output().shape
        return shape[len(shape) - self.bijector.event_ndims_out :]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        shape = self._output().shape
        return shape[: len(shape) - self.bijector.event_ndims_out]

    @property
    def dtype(self):
        return self._output().dtype

    def log_prob(self, value: Array) -> Array:
        z, log_det = self.bijector.inverse_and_log_det(value)
        return log_prob_in_batch(self.base, z) + log_det

    def _base_shape(self, sample_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The sample shape to ask of the base: one draw for each of the bijector's batch."""
        batch, given = self.batch_shape, self.base.batch_shape
        missing = len(batch) - len(given)
        require(
            batch[missing:] == given,
            "base",
            f"must have a batch shape that ends the bijector's, {batch}",
            given,
        )
        return (*sample_shape, *batch[:missing])

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        shape = self._base_shape(sample_shape)
        return self.bijector.forward(self.base.sample(seed=key, sample_shape=shape))

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Samples and their log-densities from one forward pass (no inverse is needed)."""
        shape = self._base_shape(sample_shape)
        z, base_log_prob = self.base.sample_and_log_prob(seed=key, sample_shape=shape)
        x, log_det = self.bijector.forward_and_log_det(z)
        return x, base_log_prob - log_det
