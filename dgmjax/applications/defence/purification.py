"""PixelDefend: an image is moved to a more probable one close by."""

import numbers

import jax
import jax.numpy as jnp

from dgmjax.distributions.autoregressive import Autoregressive
from dgmjax.distributions.families import num_levels
from dgmjax.errors import DataError, require
from dgmjax.shapes import require_event
from dgmjax.types import Array


def purify(density: Autoregressive, x: Array, radius: int) -> Array:
    """The greedily most probable image within `radius` levels of x: what PixelDefend classifies.

    Site after site, x'_t = argmax p(x_t | x'_<t) over max(0, x_t - r) .. min(levels - 1, x_t + r),
    with the cached steps of the sampler: one pass of D steps for a whole batch. The result need not
    be the most probable of the ball, nor more probable than x.

    Args:
      density: of integers 0 .. levels - 1, such as `models.PixelCNN(...)()`, in any ordering and
        by any of its methods.
      x: `[*batch, *event]`, integers of those levels.
      radius: r, in levels; 16 of 256 in the paper, twice what the attack may move.

    Source: Song, Kim, Nowozin, Ermon & Kushman, "PixelDefend: Leveraging Generative Models to
    Understand and Defend against Adversarial Examples", 2018, Algorithm 1,
    https://arxiv.org/abs/1710.10766.
    """
    family, event = density.family, density.event_shape
    levels = num_levels(family) or 0  # 0 of real numbers and of unbounded counts
    rule = "must be over integer levels, one number a site"
    require(levels > 0 and family.event_ndims == 0, "density", rule, family)
    rule = f"must be a whole number in 0 .. {levels - 1}"
    require(isinstance(radius, numbers.Integral) and 0 <= radius < levels, "radius", rule, radius)
    x = jnp.asarray(x)
    batch = require_event(x, event, error=DataError)
    if not isinstance(x, jax.core.Tracer) and x.size:
        whole = bool(((x == jnp.round(x)) & (x >= 0) & (x < levels)).all())
        given = f"{x.dtype} in {float(x.min()):.3g} .. {float(x.max()):.3g}"
        rule = f"must hold integers 0 .. {levels - 1}"
        require(whole, "x", rule, given, "Undo its transform.", DataError)
    sites = x.reshape(*batch, density.num_sites).astype(jnp.float32)
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)

    def choose(site: Array, params: Array) -> Array:
        here = jnp.take(sites, site, -1)[..., None] + offsets
        allowed = (here >= 0) & (here < levels)
        given = family(params[..., None, :])
        scores = given.log_prob(jnp.clip(here, 0, levels - 1))
        best = jnp.argmax(jnp.where(allowed, scores, -jnp.inf), -1)
        return jnp.take_along_axis(here, best[..., None], -1)[..., 0]

    return density.fill(choose, batch).astype(x.dtype)
