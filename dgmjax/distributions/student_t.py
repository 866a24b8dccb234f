"""Student's t distribution as a pytree (distrax has none, and TFP's has no leaves)."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from dgmjax.distributions.base import Distribution
from dgmjax.types import Array, Key


class StudentT(Distribution):
    """Location-scale Student t with `df` degrees of freedom, event shape ().

    log p(x) = lgamma((v+1)/2) - lgamma(v/2) - log(v pi)/2 - log(s)
               - (v+1)/2 log(1 + ((x - loc)/s)^2 / v)        with v = df, s = scale.

    >>> round(float(StudentT(1.0, 0.0, 1.0).log_prob(0.0)), 4)     # Cauchy: -log(pi)
    -1.1447
    """

    def __init__(self, df: Array, loc: Array, scale: Array):
        super().__init__()
        shape = jnp.broadcast_shapes(jnp.shape(df), jnp.shape(loc), jnp.shape(scale))
        self.df, self.loc, self.scale = (
            jnp.broadcast_to(jnp.asarray(p, jnp.result_type(float, p)), shape)
            for p in (df, loc, scale)
        )

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.loc.shape

    def log_prob(self, value: Array) -> Array:
        half = 0.5 * (self.df + 1.0)
        normaliser = gammaln(half) - gammaln(0.5 * self.df) - 0.5 * jnp.log(jnp.pi * self.df)
        z = (value - self.loc) / self.scale
        return normaliser - jnp.log(self.scale) - half * jnp.log1p(z * z / self.df)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        t = jax.random.t(key, self.df, (*sample_shape, *self.batch_shape), self.loc.dtype)
        return self.loc + self.scale * t

    def mean(self) -> Array:
        """The location; NaN where df <= 1 and no mean exists."""
        return jnp.where(self.df > 1.0, self.loc, jnp.nan)

    def mode(self) -> Array:
        return self.loc

    def variance(self) -> Array:
        """scale^2 df / (df - 2), and infinite for 1 < df <= 2, NaN for df <= 1."""
        finite = self.scale**2 * self.df / jnp.maximum(self.df - 2.0, 1e-30)
        return jnp.where(self.df > 2.0, finite, jnp.where(self.df > 1.0, jnp.inf, jnp.nan))
