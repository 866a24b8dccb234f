"""Distribution of a bijector's output."""

import jax

from dgmjax.bijectors.base import check_batch
from dgmjax.distributions.autoregressive import Autoregressive
from dgmjax.distributions.base import Distribution, as_key, as_shape, check_temperature, is_one
from dgmjax.errors import DgmjaxError, require
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
        """The sample shape of the base: one draw for each entry of the bijector's batch."""
        batch, given = self.batch_shape, self.base.batch_shape
        missing = len(batch) - len(given)
        require(
            batch[missing:] == given,
            "base",
            f"must have a batch shape that ends the bijector's, {batch}",
            given,
        )
        # A bijector with parameters for each example has a batch that the base lacks. Its axes are
        # drawn as sample axes, or all examples would share one z.
        return (*sample_shape, *batch[:missing])

    def sample(self, *, seed, sample_shape=(), temperature: Array | float = 1.0) -> Array:
        """Samples of shape `sample_shape + batch_shape + event_shape`.

        Args:
          seed: key or integer.
          temperature: T of the base, 1 for the distribution itself. z = m + T (z' - m) with
            z' ~ base, whose mean is m: a normal base keeps its mean, and T multiplies its scale.
            With 0 every sample is f(m), the image of the mode of a normal base. Where f
            preserves volume, the samples of a normal base follow p^(1 / T^2), normalised. A base
            that takes a temperature itself (`Autoregressive`, another flow) is sampled at T.

        Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
        section 6, https://arxiv.org/abs/1807.03039.
        """
        key, shape = as_key(seed), as_shape(sample_shape)
        if is_one(temperature):
            return self.draw(key, shape)
        check_temperature(temperature, zero=True)
        return self.bijector.forward(
            _tempered(self.base, key, self._base_shape(shape), temperature)
        )

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        shape = self._base_shape(sample_shape)
        return self.bijector.forward(self.base.sample(seed=key, sample_shape=shape))

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Samples and their log-densities from one forward pass (no inverse is needed)."""
        shape = self._base_shape(sample_shape)
        z, base_log_prob = self.base.sample_and_log_prob(seed=key, sample_shape=shape)
        x, log_det = self.bijector.forward_and_log_det(z)
        # p(x) = p(z) / |det dx/dz|, the determinant of the forward map.
        return x, base_log_prob - log_det


def _tempered(base, key: Key, shape: tuple[int, ...], temperature: Array | float) -> Array:
    if isinstance(base, Transformed | Autoregressive):
        return base.sample(seed=key, sample_shape=shape, temperature=temperature)
    try:
        mean = base.mean()
    except NotImplementedError as error:
        raise DgmjaxError(
            "`temperature` must be 1 for a base whose mean is not known; got "
            f"{temperature} and {type(base).__name__}."
        ) from error
    # About the mean, not about 0: a learned base would otherwise move as it cools.
    return mean + temperature * (base.sample(seed=key, sample_shape=shape) - mean)
