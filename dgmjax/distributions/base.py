"""Base of all distributions: the one place that depends on distrax's interface.

A distribution is a complete pytree (`dgmjax.bijectors.pytrees`). distrax draws `n`
samples through `_sample_n(key, n)`; ours draw any `sample_shape` in one call (`draw`), which
saves a reshape or a vmap, and lets events be pytrees.
"""

from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.pytrees import Pytree
from dgmjax.errors import require
from dgmjax.types import Array, Key, PyTree


class Distribution(Pytree, distrax.Distribution):
    """A distribution whose subclasses write `log_prob`, `draw`, `event_shape`, `batch_shape`."""

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> PyTree:
        """Samples of shape `sample_shape + batch_shape + event_shape`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be sampled.")

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[PyTree, Array]:
        """Samples and their log-probabilities; overridden where both together cost less."""
        samples = self.draw(key, sample_shape)
        return samples, self.log_prob(samples)

    def sample(self, *, seed, sample_shape=()) -> PyTree:
        """Samples of shape `sample_shape + batch_shape + event_shape`; `seed` is a key or int."""
        return self.draw(as_key(seed), as_shape(sample_shape))

    def sample_and_log_prob(self, *, seed, sample_shape=()) -> tuple[PyTree, Array]:
        """Samples and their log-probabilities in nats."""
        return self.draw_and_log_prob(as_key(seed), as_shape(sample_shape))

    def _sample_n(self, key: Key, n: int) -> Array:
        return self.draw(key, (n,))


def as_key(seed) -> Key:
    """A typed PRNG key from a key or an integer."""
    return jax.random.key(seed) if isinstance(seed, int | np.integer) else seed


def as_shape(sample_shape) -> tuple[int, ...]:
    """A shape from an integer or a sequence."""
    one = isinstance(sample_shape, int | np.integer)
    shape = (int(sample_shape),) if one else tuple(sample_shape)
    require(all(n >= 0 for n in shape), "sample_shape", "must not be negative", shape)
    return shape


def draw_batch(
    distribution: Any, key: Key, sample_shape: tuple[int, ...], batch_shape: tuple[int, ...]
) -> Array:
    """Draws of shape `sample_shape + batch_shape + event_shape`, all of them independent.

    Args:
      distribution: over arrays, of a batch shape that broadcasts to `batch_shape`.
    """
    own = tuple(distribution.batch_shape)
    num, lead = len(own), tuple(batch_shape[: len(batch_shape) - len(own)])
    # One more axis of samples for each axis of the batch: of length 1 where the distribution has
    # the axis itself.
    copies = tuple(
        wanted if have == 1 else 1 for wanted, have in zip(batch_shape[len(lead) :], own)
    )
    each = distribution.sample(seed=key, sample_shape=(*sample_shape, *lead, *copies))
    start = len(sample_shape) + len(lead)
    order = [start + axis + offset for axis in range(num) for offset in (0, num)]
    axes = [*range(start), *order, *range(start + 2 * num, each.ndim)]
    return each.transpose(axes).reshape(*sample_shape, *batch_shape, *distribution.event_shape)


def is_one(temperature: Any) -> bool:
    """Whether a sampler is to draw from the distribution itself; not if it is traced."""
    return isinstance(temperature, float | int) and temperature == 1.0


def check_temperature(temperature: Any, zero: bool = False) -> None:
    """Raises `DgmjaxError` unless a concrete temperature is one positive number, or `zero`."""
    if isinstance(temperature, jax.core.Tracer):
        return
    sound = jnp.ndim(temperature) == 0 and 0.0 <= float(temperature) < float("inf")
    sound = sound and (zero or float(temperature) > 0.0)
    rule = "must be one number of at least 0" if zero else "must be one positive number"
    require(sound, "temperature", rule, temperature)


def as_data(value: Any) -> Array:
    """`value` as an array with which networks and densities may compute.

    Booleans and integers narrower than 32 bits become int32: in their own type a comparison with
    256 levels, or twice a level, would wrap. Other types are kept.
    """
    value = jnp.asarray(value)
    narrow = value.dtype == bool or (
        jnp.issubdtype(value.dtype, jnp.integer) and value.dtype.itemsize < 4
    )
    return value.astype(jnp.int32) if narrow else value


def sum_event(values: Array, event_ndims: int) -> Array:
    """Sums the last `event_ndims` axes, in at least float32."""
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return values.sum(tuple(range(-event_ndims, 0))) if event_ndims else values
