"""Mixtures of whole events, with responsibilities."""

import jax
import jax.numpy as jnp

from dgmjax.distributions.base import Distribution
from dgmjax.distributions.each import log_prob_of_each
from dgmjax.errors import require
from dgmjax.types import Array, Key


class Mixture(Distribution):
    """p(z) = sum_k softmax(logits)_k p_k(z) over events of any shape.

    Args:
      logits: `[..., K]`, unnormalised log weights.
      components: distribution of batch shape `[..., K]`.

    >>> import distrax
    >>> normals = distrax.Independent(distrax.Normal(jnp.zeros((3, 2)), jnp.ones((3, 2))), 1)
    >>> mixture = Mixture(jnp.zeros(3), normals)
    >>> mixture.sample(seed=0, sample_shape=(5,)).shape, mixture.batch_shape
    ((5, 2), ())
    """

    def __init__(self, logits: Array, components):
        super().__init__()
        require(
            components.batch_shape[-1:] == jnp.shape(logits)[-1:] and jnp.ndim(logits) >= 1,
            "logits",
            f"must have one entry for each component, {components.batch_shape[-1:]}",
            f"shape {jnp.shape(logits)}",
        )
        self.logits, self.components = logits, components

    @property
    def num_components(self) -> int:
        """K."""
        return self.logits.shape[-1]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.components.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.components.batch_shape, self.logits.shape)[:-1]

    def joint_log_prob(self, value: Array) -> Array:
        """log p(z, k) for every k, `[..., K]`, in nats."""
        each = log_prob_of_each(self.components, jnp.asarray(value))
        return jax.nn.log_softmax(self.logits, -1) + each

    def log_prob(self, value: Array) -> Array:
        return jax.nn.logsumexp(self.joint_log_prob(value), axis=-1)

    def responsibilities(self, value: Array) -> Array:
        """p(k | z), `[..., K]`: the clusters of a mixture prior."""
        return jax.nn.softmax(self.joint_log_prob(value), axis=-1)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        which_key, key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        which = jax.random.categorical(which_key, self.logits, shape=shape)
        each = self.components.sample(seed=key, sample_shape=sample_shape)
        batch = jnp.broadcast_shapes(each.shape[: len(shape) + 1], (*shape, self.num_components))
        each = jnp.broadcast_to(each, (*batch, *self.event_shape))
        index = which.reshape(*shape, *[1] * (1 + len(self.event_shape)))
        return jnp.take_along_axis(each, index, axis=len(shape)).squeeze(len(shape))

    def mean(self) -> Array:
        weights = jax.nn.softmax(self.logits, -1)
        weights = weights.reshape(*weights.shape, *[1] * len(self.event_shape))
        return (weights * self.components.mean()).sum(-1 - len(self.event_shape))
