"""Natural gradient steps within a trust region."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, PyTree


class Moved(NamedTuple):
    """Result of a `TrustRegion` step.

    Attributes:
      params: the old ones where no step was good.
      divergence: of the step taken, in nats.
      share: of the longest step that was taken, 0 for none.
    """

    params: PyTree
    divergence: Array
    share: Array


@dataclass(frozen=True)
class TrustRegion:
    """Steps along F^-1 g with KL(old || new) of at most `radius`.

    g is the gradient of the gain and F the Hessian of the divergence at the old parameters, the
    Fisher matrix; F^-1 g is found by conjugate gradients, from products F v alone. The first step
    is sqrt(2 radius / (x^T F x)) x; halves of it are tried until the divergence keeps to the radius
    and the gain rises.

    Attributes:
      radius: delta, in nats.
      damping: added to the diagonal of F.
      iterations: of conjugate gradients.
      halvings: of the step, at most.

    Source: Schulman, Levine, Moritz, Jordan & Abbeel, "Trust Region Policy Optimization", 2015,
    appendix C, https://arxiv.org/abs/1502.05477.
    """

    radius: float = 0.01
    damping: float = 0.1
    iterations: int = 10
    halvings: int = 10

    def __post_init__(self):
        require(self.radius > 0, "radius", "must be positive", self.radius)
        require(self.damping >= 0, "damping", "must be at least 0", self.damping)
        require_sizes(iterations=self.iterations, halvings=self.halvings)

    def __call__(
        self,
        gain: Callable[[PyTree], Array],
        divergence: Callable[[PyTree], Array],
        params: PyTree,
    ) -> Moved:
        """Parameters of a higher gain.

        Args:
          gain: `params -> scalar`, to maximise.
          divergence: `params -> scalar`, 0 and stationary at `params`.
        """
        flat, unflat = ravel_pytree(params)
        of_flat = lambda function: lambda x: function(unflat(x))
        before, gradient = jax.value_and_grad(of_flat(gain))(flat)
        slope = jax.grad(of_flat(divergence))

        def fisher(v: Array) -> Array:
            return jax.jvp(slope, (flat,), (v,))[1] + self.damping * v

        direction, _ = cg(fisher, gradient, maxiter=self.iterations)
        curvature = direction @ fisher(direction)
        longest = jnp.sqrt(2.0 * self.radius / jnp.maximum(curvature, 1e-20)) * direction

        def body(carry: tuple[Array, Array], share: Array) -> tuple[tuple[Array, Array], None]:
            taken, distance = carry
            there = flat + share * longest
            far = of_flat(divergence)(there)
            good = (far <= self.radius) & (of_flat(gain)(there) > before) & (taken == 0.0)
            return (jnp.where(good, share, taken), jnp.where(good, far, distance)), None

        shares = 0.5 ** jnp.arange(self.halvings, dtype=flat.dtype)
        none = (jnp.zeros((), flat.dtype), jnp.zeros((), flat.dtype))
        (share, distance), _ = jax.lax.scan(body, none, shares)
        # Comparisons with NaN are false: a gradient that is not finite moves nothing.
        moved = jnp.where(share > 0, flat + share * longest, flat)
        return Moved(unflat(moved), distance, share)
