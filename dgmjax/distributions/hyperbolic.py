"""Wrapped normal on the Poincare ball, the hyperbolic space of curvature -c."""

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.types import Array, Key

_INSIDE = 1e-5
"""How far points are kept from the ball's rim, in units of its radius."""


class WrappedNormal(Distribution):
    """z = exp_mu(v / l(mu)), v ~ N(0, diag(scale^2)), on the ball |z| < 1 / sqrt(c).

    With l(z) = 2 / (1 - c |z|^2) and d = |v|, the hyperbolic distance of z to mu,

        log p(z) = log N(v; 0, scale^2) + (D - 1) log(sqrt(c) d / sinh(sqrt(c) d)) + D log l(z),

    a density in the ball's own coordinates (Lebesgue measure), as those of other distributions are.

    Args:
      loc: mu, `[..., D]`, inside of the ball.
      scale: `[..., D]`, positive.
      curvature: c, positive.

    Source: Mathieu, Le Lan, Maddison, Tomioka & Teh, "Continuous Hierarchical Representations with
    Poincare Variational Auto-Encoders", 2019, section 3.2 and Eq. 11,
    https://arxiv.org/abs/1901.06033.
    """

    manifold = "the Poincare ball"

    def __init__(self, loc: Array, scale: Array, curvature: float = 1.0):
        super().__init__()
        require(curvature > 0, "curvature", "must be positive", curvature)
        self.loc, self.scale = jnp.asarray(loc), jnp.asarray(scale)
        self.curvature = float(curvature)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.loc.shape, self.scale.shape)[:-1]

    def log_prob(self, value: Array) -> Array:
        root = self.curvature**0.5
        moved = mobius_add(-self.loc, value, self.curvature)
        length = _norm(moved)
        v = 2 * jnp.arctanh(jnp.minimum(root * length, 1 - _INSIDE)) / (root * length) * moved
        dims, x = self.loc.shape[-1], root * _norm(v)[..., 0]
        normal = -0.5 * jnp.square(v / self.scale) - jnp.log(self.scale) - 0.5 * np.log(2 * np.pi)
        # log sinh(x), by e^-2x where e^x overflows.
        log_sinh = x + jnp.log(-jnp.expm1(-2 * x)) - np.log(2.0)
        log_factor = jnp.log(2.0) - jnp.log1p(-self.curvature * jnp.square(value).sum(-1))
        return normal.sum(-1) + (dims - 1) * (jnp.log(x) - log_sinh) + dims * log_factor

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        v = self.scale * jax.random.normal(key, shape, self.loc.dtype)
        return exponential_map(self.loc, v, self.curvature)


def exponential_map(loc: Array, v: Array, curvature: float) -> Array:
    """exp_mu(v / l(mu)): the end of the geodesic of length |v| from mu in the direction v."""
    root, length = curvature**0.5, _norm(v)
    step = jnp.tanh(0.5 * root * length) * v / (root * length)
    z = mobius_add(loc, step, curvature)
    # Rounding must not put a point on the rim, where the density has no value.
    limit = (1 - _INSIDE) / root
    return z * jnp.minimum(1.0, limit / _norm(z))


def mobius_add(x: Array, y: Array, curvature: float) -> Array:
    """The sum of x and y in the Poincare ball; (-x) + x = 0 and 0 + x = x."""
    c, xy = curvature, (x * y).sum(-1, keepdims=True)
    xx, yy = (jnp.square(a).sum(-1, keepdims=True) for a in (x, y))
    numerator = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
    return numerator / (1 + 2 * c * xy + c * c * xx * yy)


def _norm(z: Array) -> Array:
    """|z|, at least 1e-6 and with a gradient at 0."""
    return jnp.sqrt(jnp.maximum(jnp.square(z).sum(-1, keepdims=True), 1e-12))
