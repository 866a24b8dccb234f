"""Learnt schedule: a monotone network from time to the log signal-to-noise ratio."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array


class LogSNR(nn.Module):
    """log signal^2 / noise^2 at `t[...]`, from `first` at t = 0 down to `last` at t = 1.

    first - (first - last) (g(t) - g(0)) / (g(1) - g(0)),  g(t) = w t + v^T sigmoid(a t + b)

    with positive w, v and a. Both ends are parameters, too: the bound moves them, and its variance
    moves what lies between (`objectives.diffusion_bound_variance`), on which the bound of
    continuous time does not depend.

    Attributes:
      first, last: where the ends begin.
      hidden: units of v.
      learn_ends: whether the ends move.

    Source: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, appendix H,
    https://arxiv.org/abs/2107.00630.
    """

    first: float = 13.3
    last: float = -5.0
    hidden: int = 32
    learn_ends: bool = True

    @nn.compact
    def __call__(self, t: Array) -> Array:
        require_sizes(hidden=self.hidden)
        require(self.last < self.first, "last", f"must be below first = {self.first}", self.last)
        ends = self.param("ends", lambda key: jnp.array([self.first, self.last]))
        ends = ends if self.learn_ends else jax.lax.stop_gradient(ends)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        # A softplus keeps slopes positive; the network starts as the straight line almost.
        slope = nn.softplus(self.param("slope", ones, ()))
        heights = nn.softplus(self.param("heights", nn.initializers.constant(-5.0), (self.hidden,)))
        widths = 4.0 * nn.softplus(self.param("widths", ones, (self.hidden,)))
        shift = self.param("shift", zeros, (self.hidden,))
        middle = shift - widths * jnp.linspace(0.0, 1.0, self.hidden)

        def g(t: Array) -> Array:
            steps = nn.sigmoid(widths * t[..., None] + middle)
            return slope * t + (heights * steps).sum(-1)

        start, end = g(jnp.zeros(())), g(jnp.ones(()))
        return ends[0] + (ends[1] - ends[0]) * (g(jnp.asarray(t)) - start) / (end - start)
