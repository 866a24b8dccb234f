"""Monotone rational-quadratic splines that survive float32."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import Bijector, as_float, check_batch, require_finite
from dgmjax.bijectors.rematerialisation import recomputed_in_scans
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
from dgmjax.types import Array

TAILS = ("linear", "circular")
Tails = str | tuple[str, ...]
LOG_SLOPE_BOUND = 2.0


class ElementwiseSpline(Bijector):
    """A monotone rational-quadratic spline through K + 1 knots on [-bound, bound].

    In the bin [x_k, x_k+1], of width w, height h and slope s = h / w, with t = (z - x_k) / w:
    forward: x = y_k + h (s t^2 + d_k t (1 - t)) / (s + (d_k + d_k+1 - 2 s) t (1 - t))
    log_det = log(s^2 (d_k+1 t^2 + 2 s t (1 - t) + d_k (1 - t)^2)
              / (s + (d_k + d_k+1 - 2 s) t (1 - t))^2)
    inverse: t is a root of a quadratic, polished by one Newton step

    Outside of [-bound, bound]: "linear" tails are the identity, with slope 1 at both ends;
    "circular" ones repeat, x(z + 2 bound) = x(z) + 2 bound, with equal slopes at both ends, so
    that the spline is a map of the circle.

    What float32 needs: bins are at least `min_bin` times the average, and the slope at a knot
    lies within a factor e^2 of the harmonic mean of the slopes of its two bins. The second
    bounds the derivative *inside* bins, which bounds on sizes and on knots alone do not.

    Args:
      params: `[..., 3 K - 1]` ("linear") or `[..., 3 K]` (with circular tails, where linear
        entries leave one unused); zeros give the identity.
      num_bins, bound, min_bin: see above.
      tails: of all entries, or a tuple of one for each entry of the last axis of the points.

    Sources: Durkan, Bekasov, Murray & Papamakarios, "Neural Spline Flows", 2019, Eq. 4 to 8,
    https://arxiv.org/abs/1906.04032; Rezende et al., "Normalizing Flows on Tori and Spheres", 2020,
    section 2.1.1 (circular), https://arxiv.org/abs/2002.02428.
    """

    def __init__(
        self,
        params: Array,
        num_bins: int,
        bound: float = 3.0,
        tails: Tails = "linear",
        min_bin: float = 0.1,
    ) -> None:
        require(num_bins >= 2, "num_bins", "must be at least 2", num_bins)
        require(bound > 0, "bound", "must be positive", bound)
        tails = checked_tails(tails)
        require(0 < min_bin < 1, "min_bin", "must lie in (0, 1)", min_bin)
        self.params = as_float(params)
        size = num_spline_params(num_bins, tails)
        check_shapes(self, params=f"... {size}")
        require(
            isinstance(tails, str) or self.params.shape[-2:-1] == (len(tails),),
            "tails",
            "must be one word, or as many as there are entries: the last axis but one of `params`",
            f"{len(tails)} for params of shape {self.params.shape}",
        )
        require_finite("params", self.params)
        super().__init__(event_ndims_in=0)
        self.num_bins, self.bound, self.tails = int(num_bins), float(bound), tails
        self.min_bin = float(min_bin)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self._apply(as_float(x), inverse=False)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self._apply(as_float(y), inverse=True)

    def _apply(self, x: Array, inverse: bool) -> tuple[Array, Array]:
        check_batch(self, x.shape, self.params.shape[:-1])
        evaluate = recomputed_in_scans(partial(self._evaluate, inverse=inverse))
        return evaluate(self.params, x)

    def _evaluate(self, params: Array, x: Array, inverse: bool) -> tuple[Array, Array]:
        # Outside of the spline, where it is not wanted, it is evaluated at 0: no NaN gradients.
        reduced, offset = x, jnp.zeros_like(x)
        inside = (x >= -self.bound) & (x <= self.bound)
        if self.tails != "linear":
            circular = is_circular(self.tails)
            turned, turns = _whole_turns(x, self.bound)
            reduced, offset = jnp.where(circular, turned, x), jnp.where(circular, turns, 0)
            inside = jnp.where(circular, jnp.isfinite(x), inside)
        safe = jnp.where(inside, reduced, 0)
        bin_ = self._bin(params, safe, of_height=inverse)
        y, log_det = (_inverse_in_bin if inverse else _forward_in_bin)(safe, *bin_)
        return jnp.where(inside, y + offset, x), jnp.where(inside, log_det, 0)

    def _bin(self, params: Array, x: Array, of_height: bool) -> tuple[Array, ...]:
        """(x_k, w, y_k, h, d_k, d_k+1) of the bin that holds each entry."""
        bins = self.num_bins
        lefts, widths = self._knots(params[..., :bins])
        bottoms, heights = self._knots(params[..., bins : 2 * bins])
        slopes = self._knot_slopes(heights / widths, params[..., 2 * bins :])
        starts = bottoms if of_height else lefts
        above = x[..., None] >= starts[..., 1:]
        # One bin of K is chosen by masks: a gather's gradient, a scatter, is slow on CPUs.
        first, last = jnp.ones_like(above[..., :1]), jnp.zeros_like(above[..., :1])
        chosen = jnp.concatenate([first, above], -1) & ~jnp.concatenate([above, last], -1)

        def choose(values: Array) -> Array:
            return jnp.sum(jnp.where(chosen, values, 0), axis=-1)

        values = (lefts, widths, bottoms, heights, slopes[..., :-1], slopes[..., 1:])
        return tuple(choose(value) for value in values)

    def _knots(self, raw: Array) -> tuple[Array, Array]:
        """The left ends and the sizes of the bins, which fill [-bound, bound] exactly."""
        share = self.min_bin / self.num_bins + (1 - self.min_bin) * jax.nn.softmax(raw, axis=-1)
        inner = self.bound * (2 * jnp.cumsum(share, axis=-1)[..., :-1] - 1)
        # The ends are set, since a sum of shares rounds; and sizes are differences of the knots as
        # they were rounded, so that no point falls between two bins.
        end = jnp.full_like(raw[..., :1], self.bound)
        knots = jnp.concatenate([-end, inner, end], axis=-1)
        return knots[..., :-1], knots[..., 1:] - knots[..., :-1]

    def _knot_slopes(self, bin_slopes: Array, raw: Array) -> Array:
        """Slopes at all K + 1 knots, tied to those of the bins beside them."""
        # A harmonic mean is at most twice the smaller slope: a flat bin beside a steep one bounds
        # the slope of their knot. A geometric mean would bound no derivative inside the flat bin.
        log_factor = LOG_SLOPE_BOUND * jnp.tanh(raw / LOG_SLOPE_BOUND)
        one = jnp.ones_like(bin_slopes[..., :1])
        if self.tails == "linear":
            left, right = bin_slopes[..., :-1], bin_slopes[..., 1:]
        else:
            left, right = jnp.roll(bin_slopes, 1, axis=-1), bin_slopes
        slopes = 2 * left * right / (left + right) * jnp.exp(log_factor)
        if self.tails == "linear":
            return jnp.concatenate([one, slopes, one], axis=-1)
        ends = jnp.where(is_circular(self.tails)[..., None], slopes[..., :1], one)
        return jnp.concatenate([ends, slopes[..., 1:], ends], axis=-1)


def _whole_turns(x: Array, bound: float) -> tuple[Array, Array]:
    """`x` brought into [-bound, bound], and the whole turns that were taken off it."""
    period = 2 * bound
    turns = jax.lax.stop_gradient(jnp.floor((x + bound) / period))
    # The period in two parts, so that the product of the first with a few thousand turns is
    # exact, and the difference of two large numbers does not lose what is small.
    exponent = math.frexp(period)[1] - 11
    high = math.ldexp(round(math.ldexp(period, -exponent)), exponent)
    reduced = (x - turns * high) - turns * (period - high)
    # So far out that a float32 holds no angle any more, the difference leaves the interval.
    inside = jax.lax.stop_gradient(jnp.clip(reduced, -bound, bound) - reduced)
    return reduced + inside, period * turns


def checked_tails(tails: Tails) -> Tails:
    """`tails`, as one word or a tuple of words."""
    words: Tails = tails if isinstance(tails, str) else tuple(tails)
    each = (words,) if isinstance(words, str) else words
    known = len(each) > 0 and all(one in TAILS for one in each)
    require(known, "tails", f"must be one of {TAILS}, or a tuple of them", repr(tails))
    return words


def is_circular(tails: Tails) -> np.ndarray:
    """Whether the spline is periodic, for each entry where `tails` has a word for each."""
    return np.array(tails) == "circular"


def num_spline_params(num_bins: int, tails: Tails) -> int:
    """Widths, heights, and one slope for each free knot."""
    return 3 * num_bins - 1 if tails == "linear" else 3 * num_bins


def _evaluate(t: Array, h: Array, s: Array, d0: Array, d1: Array) -> tuple[Array, Array]:
    """Height above the bin's bottom, and log of the derivative by z, at t in [0, 1]."""
    mixed = t * (1 - t)
    denominator = s + (d0 + d1 - 2 * s) * mixed
    height = h * (s * t * t + d0 * mixed) / denominator
    numerator = d1 * t * t + 2 * s * mixed + d0 * (1 - t) ** 2
    return height, 2 * jnp.log(s / denominator) + jnp.log(numerator)


def _forward_in_bin(
    z: Array, left: Array, w: Array, bottom: Array, h: Array, d0: Array, d1: Array
) -> tuple[Array, Array]:
    height, log_det = _evaluate((z - left) / w, h, h / w, d0, d1)
    return bottom + height, log_det


def _inverse_in_bin(
    x: Array, left: Array, w: Array, bottom: Array, h: Array, d0: Array, d1: Array
) -> tuple[Array, Array]:
    # The height formula times its denominator is a t^2 + b t + c = 0. The root is taken in the form
    # that stays finite where a = 0, as in a straight bin.
    s, rise = h / w, x - bottom
    excess = rise * (d0 + d1 - 2 * s)
    a, b, c = h * (s - d0) + excess, h * d0 - excess, -s * rise
    discriminant = jnp.maximum(b * b - 4 * a * c, np.finfo(np.float32).tiny)
    t = -2 * c / (b + jnp.sqrt(discriminant))
    height, log_slope = _evaluate(t, h, s, d0, d1)
    # The square root halves the digits where the discriminant is small; a Newton step restores
    # them. dheight / dt = w exp(log_slope).
    t = t - (height - rise) * jnp.exp(-log_slope) / w
    return left + w * t, -_evaluate(t, h, s, d0, d1)[1]
