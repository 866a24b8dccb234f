"""Categorical distribution over levels, for data of any dtype."""

import jax
import jax.numpy as jnp

from dgmjax.distributions.base import Distribution, as_data
from dgmjax.types import Array, Key


class Categorical(Distribution):
    """P(x = k) = softmax(logits)_k for k in 0 .. K - 1, event shape ().

    distrax's takes integers only and multiplies by a one-hot vector; this one gathers, and takes
    levels in any dtype, since networks read them as floats. A level outside 0 .. K - 1 has
    log-probability -inf.

    >>> Categorical(jnp.zeros(4)).log_prob(jnp.array([2.0, 4.0])).round(4).tolist()
    [-1.386299967765808, -inf]
    """

    def __init__(self, logits: Array):
        super().__init__()
        self.logits = jnp.asarray(logits)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    @property
    def log_probs(self) -> Array:
        """Normalised log-probabilities `[..., K]`, in at least float32."""
        logits = self.logits.astype(jnp.promote_types(self.logits.dtype, jnp.float32))
        return jax.nn.log_softmax(logits)

    def log_prob(self, value: Array) -> Array:
        value = as_data(value)
        shape = jnp.broadcast_shapes(value.shape, self.batch_shape)
        value = jnp.broadcast_to(value, shape)
        index, levels = value.astype(jnp.int32), self.logits.shape[-1]
        inside = (value >= 0) & (value < levels) & (value == index)
        log_probs = jnp.broadcast_to(self.log_probs, (*shape, levels))
        chosen = jnp.clip(index, 0, levels - 1)[..., None]
        return jnp.where(inside, jnp.take_along_axis(log_probs, chosen, -1)[..., 0], -jnp.inf)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        """Levels as int32."""
        shape = (*sample_shape, *self.batch_shape)
        logits = self.logits.astype(jnp.promote_types(self.logits.dtype, jnp.float32))
        return jax.random.categorical(key, logits, shape=shape)

    def mean(self) -> Array:
        return (jnp.exp(self.log_probs) * jnp.arange(self.logits.shape[-1])).sum(-1)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, -1)

    def kl_divergence(self, other_dist, **options) -> Array:
        """sum_k p_k log(p_k / q_k), where q is a `Categorical` as well."""
        if not isinstance(other_dist, Categorical):
            return super().kl_divergence(other_dist, **options)
        own = self.log_probs
        possible = own > -jnp.inf
        # Before the product with a probability of 0, which would leave no gradient.
        gap = jnp.where(possible, own - other_dist.log_probs, 0.0)
        return (jnp.exp(own) * gap).sum(-1)

    def entropy(self) -> Array:
        log_probs = self.log_probs
        finite = jnp.where(log_probs == -jnp.inf, 0.0, log_probs)  # times a probability of 0
        return -(jnp.exp(log_probs) * finite).sum(-1)
