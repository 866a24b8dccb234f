"""Radial flows, with an inverse."""

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_event, require_finite
from dgmjax.bijectors.planar import softplus_offset
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
from dgmjax.types import Array, ArrayLike

ALPHA_FLOOR = 1e-2


class Radial(Bijector):
    """x = z + beta' (z - centre) / (alpha' + r), r = |z - centre|: towards or from a centre.

    With t = alpha' / (alpha' + r) and the slope at the centre s = 1 + beta' / alpha':
    forward: x = centre + (1 + (s - 1) t) (z - centre),
             log_det = (D - 1) log(1 + (s - 1) t) + log(1 + (s - 1) t^2)
    inverse: the radius is the positive root of a quadratic,
             r^2 + (s alpha' - |x - centre|) r - alpha' |x - centre| = 0

    Invertible where beta' > -alpha', that is s > 0: alpha' = 0.01 + softplus(alpha) and
    s = slope_floor + softplus(beta + c), so that beta = 0 is the identity. (The paper has
    beta' = -alpha' + softplus(beta), which is the same set of maps but for the floors.)

    Args:
      centre: `[..., D]`.
      alpha, beta: `[...]`.
      slope_floor: the least value of s, in (0, 0.5].

    Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows", 2015, Eq. 14 and
    appendix A.2, https://arxiv.org/abs/1505.05770.
    """

    def __init__(
        self, centre: ArrayLike, alpha: ArrayLike, beta: ArrayLike, slope_floor: float = 1e-2
    ) -> None:
        self.centre, self.alpha, self.beta = as_float(centre), as_float(alpha), as_float(beta)
        check_shapes(self, centre="... D")
        require(0 < slope_floor <= 0.5, "slope_floor", "must lie in (0, 0.5]", slope_floor)
        require_finite("centre, alpha, beta", (self.centre, self.alpha, self.beta))
        super().__init__(event_ndims_in=1)
        self.slope_floor = float(slope_floor)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        self._check(z)
        alpha, slope = self._constrained()
        difference = z - self.centre
        scale, log_det = self._at(_norm(difference), alpha, slope)
        return self.centre + scale[..., None] * difference, log_det

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        self._check(x)
        alpha, slope = self._constrained()
        difference = x - self.centre
        radius = _positive_root(slope * alpha, alpha, _norm(difference))
        scale, log_det = self._at(radius, alpha, slope)
        return self.centre + difference / scale[..., None], -log_det

    def _check(self, x: Array) -> None:
        batches = self.centre.shape[:-1], self.alpha.shape, self.beta.shape
        check_event(self, x, self.centre.shape[-1:], *batches)

    def _constrained(self) -> tuple[Array, Array]:
        alpha = ALPHA_FLOOR + jax.nn.softplus(self.alpha)
        floor = self.slope_floor
        return alpha, floor + jax.nn.softplus(self.beta + softplus_offset(floor))

    def _at(self, radius: Array, alpha: Array, slope: Array) -> tuple[Array, Array]:
        """What `z - centre` is multiplied by, and the log-determinant."""
        t = alpha / (alpha + radius)
        # Sums of positive terms: 1 + (s - 1) t would cancel where s is near 0 and t near 1.
        scale = (1 - t) + slope * t
        along = (1 - t * t) + slope * t * t
        return scale, (self.centre.shape[-1] - 1) * jnp.log(scale) + jnp.log(along)


def _norm(x: Array) -> Array:
    """The Euclidean norm, with gradient 0 at 0."""
    square = jnp.sum(x * x, axis=-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _positive_root(inner: Array, alpha: Array, target: Array) -> Array:
    """r >= 0 with r^2 + (inner - target) r = alpha target, without cancellation."""
    b = inner - target
    root = jnp.hypot(b, 2 * jnp.sqrt(jnp.where(target > 0, alpha * target, 1e-30)))
    # (-b + root) / 2 cancels for b > 0. The product of both roots is -alpha target, which gives
    # this one by the other, -(b + root) / 2.
    positive = b > 0
    return jnp.where(
        positive, 2 * alpha * target / jnp.where(positive, b + root, 1), 0.5 * (root - b)
    )
