"""Categorical distribution over one-hot vectors, for networks and relaxations."""

import jax
import jax.numpy as jnp

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


class OneHotCategorical(Distribution):
    """P(x = e_k) = softmax(logits)_k for the unit vectors e_k of R^K, event shape (K,).

    `log_prob(x) = sum_k x_k log softmax(logits)_k`, which is linear in x: it extends to the
    simplex, where relaxed samples lie (`distributions.RelaxedCategorical`). That x is one-hot is
    not checked here. Samples are float32, as the next network reads them.

    >>> OneHotCategorical(jnp.zeros(4)).log_prob(jnp.eye(4)[1]).round(4).item()
    -1.386299967765808
    """

    def __init__(self, logits: Array):
        super().__init__()
        self.logits = jnp.asarray(logits)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.logits.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    @property
    def log_probs(self) -> Array:
        """Normalised log-probabilities `[..., K]`, in at least float32."""
        logits = self.logits.astype(jnp.promote_types(self.logits.dtype, jnp.float32))
        return jax.nn.log_softmax(logits)

    def log_prob(self, value: Array) -> Array:
        return (value * _where_possible(self.log_probs, value)).sum(-1)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        shape = (*sample_shape, *self.batch_shape)
        index = jax.random.categorical(key, self.logits, shape=shape)
        return jax.nn.one_hot(index, self.logits.shape[-1])

    def mean(self) -> Array:
        """The probabilities."""
        return jnp.exp(self.log_probs)

    def mode(self) -> Array:
        return jax.nn.one_hot(jnp.argmax(self.logits, -1), self.logits.shape[-1])

    def entropy(self) -> Array:
        return -(self.mean() * _where_possible(self.log_probs, self.mean())).sum(-1)

    def kl_divergence(self, other_dist, **kwargs) -> Array:
        """sum_k p_k (log p_k - log q_k) in nats, for another `OneHotCategorical` q."""
        if isinstance(other_dist, OneHotCategorical):
            own, other = (
                _where_possible(log_probs, self.mean())
                for log_probs in (self.log_probs, other_dist.log_probs)
            )
            return (self.mean() * (own - other)).sum(-1)
        return super().kl_divergence(other_dist, **kwargs)


def _where_possible(log_probs: Array, weight: Array) -> Array:
    """Log-probabilities, 0 in place of -inf where they are multiplied by 0."""
    return jnp.where((weight == 0) & (log_probs == -jnp.inf), 0.0, log_probs)
