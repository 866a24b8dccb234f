"""Stationary first-order autoregressive process, and the rate that it imposes on a posterior."""

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.carry import scan
from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


class AR1(Distribution):
    """z_0 ~ N(0, 1), z_t = alpha z_{t-1} + sqrt(1 - alpha^2) e_t, each feature by itself.

    Every z_t is N(0, 1) by itself, so that no posterior whose positions are independent equals
    this prior: KL(q || p) >= `committed_rate()` > 0.

    Args:
      alpha: `[D]`, each in (-1, 1).
      length: T; events are `[T, D]`.

    Source: Razavi, van den Oord, Poole & Vinyals, "Preventing Posterior Collapse with delta-VAEs",
    2019, section 2.2 and appendix A, https://arxiv.org/abs/1901.03416.

    >>> round(float(AR1(jnp.array([0.5]), 3).committed_rate()), 4)
    0.2554
    """

    def __init__(self, alpha: Array, length: int):
        super().__init__()
        self.alpha, self.length = jnp.asarray(alpha), length

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.length, self.alpha.shape[-1])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.alpha.shape[:-1]

    def log_prob(self, value: Array) -> Array:
        # The chain rule: z_t given z_{t-1} is normal with variance 1 - alpha^2, so that T steps
        # cost O(T) and no covariance matrix is made.
        noise = value[..., 1:, :] - self.alpha[..., None, :] * value[..., :-1, :]
        variance = 1.0 - self.alpha**2
        first = -0.5 * (value[..., 0, :] ** 2).sum(-1)
        later = -0.5 * ((noise**2).sum(-2) / variance + (self.length - 1) * jnp.log(variance))
        return first + later.sum(-1) - 0.5 * self.length * value.shape[-1] * np.log(2 * np.pi)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        noise = jax.random.normal(key, (*sample_shape, *self.batch_shape, *self.event_shape))
        scale = jnp.sqrt(1.0 - self.alpha**2)

        def body(z, e):
            z = self.alpha * z + scale * e
            return z, z

        noise = jnp.moveaxis(noise, -2, 0)
        _, later = scan(body, noise[0], noise[1:])
        return jnp.moveaxis(jnp.concatenate([noise[:1], later]), 0, -2)

    def mean(self) -> Array:
        return jnp.zeros((*self.batch_shape, *self.event_shape))

    def committed_rate(self) -> Array:
        """min over independent normals q of KL(q || p), in nats:
        1/2 sum_d ((T - 2) log(1 + alpha_d^2) - log(1 - alpha_d^2)), for T >= 2.

        The minimum has means 0 and the variances 1 / (the diagonal of p's precision matrix).
        """
        squared = self.alpha**2
        rate = (self.length - 2) * jnp.log1p(squared) - jnp.log1p(-squared)
        return 0.5 * jnp.where(self.length > 1, rate, 0.0).sum(-1)
