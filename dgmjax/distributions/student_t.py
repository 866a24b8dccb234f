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

    Values and gradients (by df, too) are those of float32 from the Cauchy distribution to the
    normal one: for large v the terms cancel, and series take their place.

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
        z = (value - self.loc) / self.scale
        return _log_normaliser(self.df) - jnp.log(self.scale) - _log_kernel(self.df, z)

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


LARGE = 16.0
"""Degrees of freedom from which on Stirling's series replaces the difference of log-gammas."""


def _log_normaliser(df: Array) -> Array:
    """lgamma((v + 1) / 2) - lgamma(v / 2) - log(pi v) / 2.

    With a = v / 2 and Stirling's series of both, lgamma(a + 1/2) - lgamma(a) is
    log(a) / 2 - 1 / (8 a) + 1 / (192 a^3) - 1 / (640 a^5) + ..., so that the logarithms cancel.
    """
    large = df >= LARGE
    few, many = jnp.where(large, 1.0, df), jnp.where(large, df, LARGE)
    half = 0.5 * (few + 1.0)
    plain = gammaln(half) - gammaln(0.5 * few) - 0.5 * jnp.log(jnp.pi * few)
    inverse = 2.0 / many
    square = inverse * inverse
    higher = square * (1.0 / 192.0 + square * (-1.0 / 640.0 + square * 17.0 / 14336.0))
    correction = higher - 1.0 / 8.0
    return jnp.where(large, -0.5 * jnp.log(2.0 * jnp.pi) + inverse * correction, plain)


@jax.custom_jvp
def _log_kernel(df: Array, z: Array) -> Array:
    """(v + 1) / 2 log(1 + z^2 / v); z^2 itself may be more than a float32 holds."""
    far = jnp.abs(z) > 1e4 * jnp.maximum(1.0, jnp.sqrt(df))
    near, away = jnp.where(far, 0.0, z), jnp.where(far, jnp.abs(z), 1.0)
    log = jnp.where(far, 2.0 * jnp.log(away) - jnp.log(df), jnp.log1p(near * near / df))
    return 0.5 * (df + 1.0) * log


@_log_kernel.defjvp
def _log_kernel_jvp(primals, tangents):
    """By z: (v + 1) z / (v + z^2). By v: (log(1 + w) - w / (1 + w) - (w / v) / (1 + w)) / 2.

    With w = z^2 / v small, the first difference is w^2 / 2 - 2 w^3 / 3 + 3 w^4 / 4 - ...
    """
    (df, z), (change_of_df, change_of_z) = primals, tangents
    root = jnp.sqrt(df)
    t = z / root
    size = jnp.maximum(jnp.abs(t), 1.0)
    # t / (1 + t^2), for large t as 1 / (t + 1 / t): no square that could overflow.
    share = jnp.where(jnp.abs(t) > 1.0, jnp.sign(t) / (size + 1.0 / size), t / (1.0 + _square(t)))
    by_z = (df + 1.0) / root * share
    w = _square(t)
    small = w < 0.05
    s = jnp.where(small, w, 0.0)
    series = s * s * (1 / 2 - s * (2 / 3 - s * (3 / 4 - s * (4 / 5 - s * (5 / 6 - s * 6 / 7)))))
    w = jnp.where(small, 1.0, w)
    part = t * share  # w / (1 + w)
    gap = jnp.where(small, series, jnp.log1p(w) - part)
    by_df = 0.5 * (gap - part / df)
    return _log_kernel(df, z), by_df * change_of_df + by_z * change_of_z


def _square(t: Array) -> Array:
    """t^2, or its largest float32 where that overflows."""
    return jnp.minimum(jnp.abs(t), 1e18) ** 2
