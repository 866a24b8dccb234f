"""Planar flows, with an inverse."""

import math

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_event, require_finite
from dgmjax.bijectors.solver import check_converged, solve_increasing
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
from dgmjax.types import Array, ArrayLike


def softplus_offset(floor: float) -> float:
    """c such that floor + softplus(c) = 1: with it, zero parameters give slope 1."""
    return math.log(math.expm1(1 - floor))


class Planar(Bijector):
    """x = z + u' tanh(a), a = w.z + b: a push along u', across the plane w.z + b = 0.

    forward: log_det = log(1 + s tanh'(a)), with s = w.u'
    inverse: w.z solves the increasing scalar equation t + s tanh(t + b) = w.x; then
             z = x - u' tanh(w.z + b)

    Invertible where s > -1, so u is moved along w until it is:
    u' = u + (m(w.u) - w.u) w / |w|^2 with m(t) = -1 + slope_floor + softplus(t + c). The paper
    has c = 0 and no floor; here c makes u = 0 the identity, and the floor keeps the slope of the
    map away from 0, so that the inverse is accurate in float32.

    Args:
      u, w: `[..., D]`.
      b: `[...]`. All three may have batch dimensions: one flow for each example.
      slope_floor: the least value of 1 + s, in (0, 0.5].

    Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows", 2015, Eq. 10 to 13
    and appendix A.1, https://arxiv.org/abs/1505.05770.
    """

    def __init__(self, u: ArrayLike, w: ArrayLike, b: ArrayLike, slope_floor: float = 1e-2) -> None:
        self.u, self.w, self.b = as_float(u), as_float(w), as_float(b)
        check_shapes(self, u="... D", w="... D")
        require(0 < slope_floor <= 0.5, "slope_floor", "must lie in (0, 0.5]", slope_floor)
        require_finite("u, w, b", (self.u, self.w, self.b))
        super().__init__(event_ndims_in=1)
        self.slope_floor = float(slope_floor)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        self._check(z)
        u, slope = self._constrained()
        a = _dot(self.w, z) + self.b
        return z + u * jnp.tanh(a)[..., None], _log_slope(a, slope)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        self._check(x)
        u, slope = self._constrained()
        target = _dot(self.w, x) + self.b
        a = check_converged(solve_planar(target, slope), target)
        return x - u * jnp.tanh(a)[..., None], -_log_slope(a, slope)

    def _check(self, x: Array) -> None:
        batches = self.u.shape[:-1], self.w.shape[:-1], self.b.shape
        check_event(self, x, self.u.shape[-1:], *batches)

    def _constrained(self) -> tuple[Array, Array]:
        """u' and 1 + w.u', the least slope of the map."""
        product, square = _dot(self.w, self.u), _dot(self.w, self.w)
        slope = self.slope_floor + jax.nn.softplus(product + softplus_offset(self.slope_floor))
        # Both branches are computed, so each is given harmless numbers where the other is chosen: a
        # NaN in a branch that is not taken would still enter the gradient.
        sound = (square > 3e-5) & (square < 1e30) & (jnp.abs(product) < 1e3)
        plain = (slope - 1 - product) / jnp.where(sound, square, 1)
        unequal = self._push(jnp.where(sound[..., None], 1, self.w))
        return self.u + jnp.where(sound[..., None], plain[..., None] * self.w, unequal), slope

    def _push(self, w: Array) -> Array:
        """u' - u, for w so small or large that its square, or m(t) - t, has lost its digits.

        In terms of v = w / max|w| and q = v.u, t = max|w| q, so that (m(t) - t) / max|w| is
        (m(t) - t) / t times q, and near t = 0 a series in t times q.
        """
        floor, offset = self.slope_floor, softplus_offset(self.slope_floor)
        largest = jnp.abs(w).max(-1)
        v = w / jnp.where(largest > 0, largest, 1)[..., None]
        q = _dot(v, self.u)
        t = largest * q
        near = jnp.abs(t) < 0.03
        slope = 1 / (1 + math.exp(-offset))  # m'(0)
        s, r = jnp.where(near, t, 0), jnp.where(near, 1, t)
        # Taylor series of (m(t) - t) / t: m(0) = 0 by the choice of c, its first derivative is
        # slope, the second slope (1 - slope), the third (1 - 2 slope) times the second.
        series = slope - 1 + slope * (1 - slope) * s / 2 * (1 + (1 - 2 * slope) * s / 3)
        bounded = jnp.minimum(r, 1e3)  # beyond it softplus(t + c) - t is c
        rest = floor - 1 + jax.nn.softplus(bounded + offset) - jnp.where(r > 1e3, bounded, r)
        ratio = jnp.where(near, series, rest / r)
        square = _dot(v, v)
        return (ratio * q / jnp.where(square > 0, square, 1))[..., None] * v


def _dot(a: Array, b: Array) -> Array:
    """A sum of float32 products (a matrix product might run in less on an accelerator)."""
    return jnp.sum(a * b, axis=-1)


def _log_slope(a: Array, slope: Array) -> Array:
    """log(1 + (slope - 1) tanh'(a)), without cancellation as `slope` nears 0."""
    square = jnp.tanh(a) ** 2
    return jnp.log(square + slope * (1 - square))


@jax.jit
def solve_planar(target: Array, slope: Array) -> Array:
    """a such that a + (slope - 1) tanh(a) = target; increasing, as slope > 0."""
    target, slope = jnp.broadcast_arrays(target, slope)
    # |tanh| <= 1, so the root lies within |slope - 1| of the target.
    reach = jnp.abs(slope - 1)
    root = solve_increasing(
        lambda a: a + (slope - 1) * jnp.tanh(a) - target, target - reach, target + reach
    )
    return jnp.where(jnp.isfinite(target), root, target)
