"""Distributions on the unit sphere in D dimensions: von Mises-Fisher and uniform.

Densities are those with respect to the sphere's area.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.types import Array, Key

_LIFT = 16
"""Orders above its own at which a Bessel function is expanded."""


def log_bessel_and_ratio(order: float, x: Array) -> tuple[Array, Array]:
    """log(e^-x x^-v I_v(x)) and I_{v+1}(x) / (x I_v(x)) of x >= 0, v >= 0; both finite at 0.

    Debye's expansion at the order n = v + 16, of relative error below 1e-6 for every x, and from
    there down by the recurrence of the ratios, r_{j-1} = 1 / (2 j + x^2 r_j), which is stable in
    this direction.

    Source: Olver & Maximon, "Bessel Functions", in NIST Digital Library of Mathematical Functions,
    2010, Eq. 10.41.3 and 10.29.1, https://dlmf.nist.gov/10.41.
    """
    n, s = order + _LIFT, jnp.sqrt((order + _LIFT) ** 2 + x * x)
    p = n / s
    terms = (
        (3 * p - 5 * p**3) / (24 * n),
        (81 * p**2 - 462 * p**4 + 385 * p**6) / (1152 * n**2),
        (30375 * p**3 - 369603 * p**5 + 765765 * p**7 - 425425 * p**9) / (414720 * n**3),
    )
    slopes = (  # of the terms in p
        (3 - 15 * p**2) / (24 * n),
        (162 * p - 1848 * p**3 + 2310 * p**5) / (1152 * n**2),
        (91125 * p**2 - 1848015 * p**4 + 5360355 * p**6 - 3828825 * p**8) / (414720 * n**3),
    )
    correction = 1 + sum(terms)
    # s - x, and the logarithm of (x / (n + s))^n / x^n, without a difference of large numbers.
    log_bessel = n * n / (s + x) - n * jnp.log(n + s) - 0.5 * jnp.log(2 * np.pi * s)
    log_bessel = log_bessel + jnp.log(correction)
    ratio = 1 / (n + s) - 0.5 / s**2 - n / s**3 * sum(slopes) / correction
    for j in range(_LIFT, 0, -1):
        ratio = 1 / (2 * (order + j) + x * x * ratio)
        log_bessel = log_bessel - jnp.log(ratio)
    return log_bessel, ratio


def log_area(dims: int) -> float:
    """log of the area of the unit sphere in `dims` dimensions, 2 pi^(D/2) / Gamma(D/2)."""
    return math.log(2.0) + 0.5 * dims * math.log(math.pi) - math.lgamma(0.5 * dims)


class SphericalUniform(Distribution):
    """The uniform distribution on the unit sphere.

    Args:
      dims: D, at least 2.

    >>> round(float(SphericalUniform(3).log_prob(jnp.array([0.0, 0.0, 1.0]))), 4)  # -log 4 pi
    -2.531
    """

    manifold = "the unit sphere"

    def __init__(self, dims: int):
        super().__init__()
        require(dims >= 2, "dims", "must be at least 2", dims)
        self.dims = dims

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.dims,)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    def log_prob(self, value: Array) -> Array:
        return jnp.full(jnp.shape(value)[:-1], -log_area(self.dims))

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return unit(jax.random.normal(key, (*sample_shape, self.dims)))

    def mean(self) -> Array:
        return jnp.zeros(self.dims)

    def entropy(self) -> Array:
        """log of the area, in nats."""
        return jnp.asarray(log_area(self.dims))


class VonMisesFisher(Distribution):
    """p(z) = C(k) exp(k mu . z) on the unit sphere.

    C(k) = k^v / ((2 pi)^(D/2) I_v(k)) with v = D/2 - 1.

    Samples have gradients with respect to both parameters: z = cos(t) mu + sin(t) u, with a
    direction u orthogonal to mu, and an angle t whose slope dt/dk = -(dF/dk) / (dF/dt) is that of
    its distribution function F, by quadrature.

    Args:
      loc: mu, `[..., D]`, unit vectors, D at least 2.
      concentration: k, `[...]`, at least 0.

    Sources: Davidson, Falorsi, De Cao, Kipf & Tomczak, "Hyperspherical Variational Auto-Encoders",
    2018, section 3, https://arxiv.org/abs/1804.00891; the draws: Wood, "Simulation of the von
    Mises Fisher Distribution", 1994, https://doi.org/10.1080/03610919408813161; their slopes:
    Figurnov, Mohamed & Mnih, "Implicit Reparameterization Gradients", 2018, Eq. 5,
    https://arxiv.org/abs/1805.08498.
    """

    manifold = "the unit sphere"

    def __init__(self, loc: Array, concentration: Array):
        super().__init__()
        loc, concentration = jnp.asarray(loc), jnp.asarray(concentration)
        dims = loc.shape[-1] if loc.ndim else 0
        require(dims >= 2, "loc", "must hold vectors of at least 2 dimensions", loc.shape)
        self.loc, self.concentration = loc, concentration

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.loc.shape[:-1], self.concentration.shape)

    @property
    def _dims(self) -> int:
        return self.loc.shape[-1]

    def _bessel(self) -> tuple[Array, Array]:
        return log_bessel_and_ratio(0.5 * self._dims - 1.0, self.concentration)

    def log_prob(self, value: Array) -> Array:
        # k (mu . z - 1) as a square: near mu nothing cancels.
        apart = 0.5 * jnp.square(value - self.loc).sum(-1)
        log_bessel, _ = self._bessel()
        constant = log_bessel + 0.5 * self._dims * math.log(2 * math.pi)
        return -self.concentration * apart - constant

    def mean(self) -> Array:
        """A(k) mu with A = I_{v+1} / I_v, inside of the sphere."""
        _, ratio = self._bessel()
        return (self.concentration * ratio)[..., None] * self.loc

    def entropy(self) -> Array:
        """-k A(k) - log C(k), in nats."""
        log_bessel, ratio = self._bessel()
        k = self.concentration
        entropy = k * (1 - k * ratio) + log_bessel + 0.5 * self._dims * math.log(2 * math.pi)
        return jnp.broadcast_to(entropy, self.batch_shape)

    def kl_divergence(self, other_dist, **options) -> Array:
        """KL(self || other) in nats for the uniform distribution: its entropy less one's own.

        Raises:
          NotImplementedError: for any other distribution.
        """
        if not isinstance(other_dist, SphericalUniform) or other_dist.dims != self._dims:
            raise NotImplementedError(f"KL(VonMisesFisher || {other_dist.name}) is not known here.")
        return log_area(self._dims) - self.entropy()

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        angle_key, key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        k = jnp.broadcast_to(self.concentration, shape)
        angle = _angles(angle_key, k, self._dims)[..., None]
        noise = jax.random.normal(key, (*shape, self._dims), self.loc.dtype)
        # Twice: noise that is nearly along mu leaves a short vector, which is not quite orthogonal.
        across = _across(_across(noise, self.loc), self.loc)
        return jnp.cos(angle) * self.loc + jnp.sin(angle) * across


def unit(z: Array) -> Array:
    """z / |z|, and 0 at 0."""
    squared = jnp.square(z).sum(-1, keepdims=True)
    return z * jax.lax.rsqrt(jnp.where(squared > 0, squared, 1.0))


def _across(z: Array, loc: Array) -> Array:
    """The unit vector of the part of z that is orthogonal to the unit vector `loc`."""
    return unit(z - (z * loc).sum(-1, keepdims=True) * loc)


def _angles(key: Key, concentration: Array, dims: int) -> Array:
    """Angles to the mean direction, with the slope dt/dk as their gradient."""
    k = jax.lax.stop_gradient(concentration)
    angle = jax.lax.stop_gradient(_accepted_angles(key, k, dims))
    slope = jax.lax.stop_gradient(_slope(angle, k, dims))
    # The bracket is exactly 0: the value is the draw, the gradient is that of its quantile.
    return angle + slope * (concentration - k)


def _accepted_angles(key: Key, k: Array, dims: int) -> Array:
    """Draws of t, whose density is in proportion to exp(k cos t) sin(t)^(D-2), by rejection."""
    half = 0.5 * (dims - 1)
    b = half / (k + jnp.sqrt(k * k + half * half))
    x = (1 - b) / (1 + b)

    def log_ratio(away):  # `away` is 1 - cos(t), which stays precise for large k
        return -k * away + 2 * half * jnp.log(2 * b / (1 + b) + x * away)

    peak = log_ratio(2 * b / (1 + b))

    def body(state):
        key, away, found = state
        key, beta_key, uniform_key = jax.random.split(key, 3)
        beta = jax.random.beta(beta_key, half, half, k.shape, k.dtype)
        proposed = 2 * b * beta / (1 - (1 - b) * beta)
        log_u = jnp.log1p(-jax.random.uniform(uniform_key, k.shape, k.dtype))
        accepted = log_ratio(proposed) - peak >= log_u
        return key, jnp.where(accepted & ~found, proposed, away), found | accepted

    start = key, jnp.zeros_like(k), jnp.zeros(k.shape, bool)
    _, away, _ = jax.lax.while_loop(lambda state: ~state[2].all(), body, start)
    return 2 * jnp.arcsin(jnp.sqrt(jnp.clip(0.5 * away, 0.0, 1.0)))


def _slope(angle: Array, k: Array, dims: int) -> Array:
    """-integral from 0 to t of (cos(u) - A) g(u) du / g(t); g(u) = exp(k cos u) sin(u)^(D-2)."""
    nodes, weights = np.polynomial.legendre.leggauss(48)
    _, ratio = log_bessel_and_ratio(0.5 * dims - 1.0, k)
    tiny = jnp.finfo(angle.dtype).tiny
    angle = jnp.maximum(angle, 1e-6)
    u = angle[..., None] * jnp.asarray(0.5 * (nodes + 1), angle.dtype)
    rising = 2 * jnp.sin(0.5 * (angle[..., None] - u)) * jnp.sin(0.5 * (angle[..., None] + u))
    power = jnp.log(jnp.maximum(jnp.sin(u), tiny)) - jnp.log(
        jnp.maximum(jnp.sin(angle), tiny)[..., None]
    )
    density = jnp.exp(k[..., None] * rising + (dims - 2) * power)
    centred = jnp.cos(u) - (k * ratio)[..., None]
    return -0.5 * angle * (jnp.asarray(weights, angle.dtype) * centred * density).sum(-1)
