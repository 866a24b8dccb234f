"""Bernoulli distribution over {0, 1} given logits, in float32 and finite for every logit."""

import jax
import jax.numpy as jnp

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), with the sigmoid as its derivative; linear for large x, never infinite.

    >>> float(softplus(jnp.float32(1e4)))
    10000.0
    """
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return softplus(x), jax.nn.sigmoid(x) * dx


class Bernoulli(Distribution):
    """p(x) = sigmoid(logits)^x (1 - sigmoid(logits))^(1 - x), event shape ().

    `log_prob(x) = x logits - log(1 + exp(logits))`: one softplus, and finite for logits of
    +-1e4. Samples are float32, as the next network reads them. `x` outside {0, 1} is not checked
    here (it may be traced): data are checked where they enter.

    >>> Bernoulli(jnp.zeros(3)).log_prob(jnp.ones(3)).round(4).tolist()
    [-0.6930999755859375, -0.6930999755859375, -0.6930999755859375]
    """

    def __init__(self, logits: Array):
        super().__init__()
        self.logits = jnp.asarray(logits)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.shape(self.logits)

    @property
    def probs(self) -> Array:
        """Probability of 1, of shape `batch_shape`."""
        return jax.nn.sigmoid(self.logits)

    def log_prob(self, value: Array) -> Array:
        logits = self._wide_logits
        return value * logits - softplus(logits)

    @property
    def _wide_logits(self) -> Array:
        return self.logits.astype(jnp.promote_types(self.logits.dtype, jnp.float32))

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        shape = (*sample_shape, *self.batch_shape)
        # In bfloat16 uniform numbers have steps of 1/128: rare ones would come out too often.
        probs = jax.nn.sigmoid(self._wide_logits)
        return jax.random.bernoulli(key, probs, shape).astype(jnp.float32)

    def mean(self) -> Array:
        return self.probs

    def mode(self) -> Array:
        return (self.logits > 0).astype(jnp.float32)

    def entropy(self) -> Array:
        return softplus(self.logits) - self.logits * self.probs

    def kl_divergence(self, other_dist, **kwargs) -> Array:
        """-H(p) - E_p[log q] in nats, for another `Bernoulli` q; log q is linear in x."""
        if isinstance(other_dist, Bernoulli):
            return -self.entropy() - other_dist.log_prob(self.probs)
        return super().kl_divergence(other_dist, **kwargs)
