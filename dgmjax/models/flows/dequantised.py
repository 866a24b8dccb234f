"""Dequantisation: the probability of integers under a continuous density."""

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.affine import ElementwiseAffine
from dgmjax.bijectors.block import Block
from dgmjax.bijectors.domains import Sigmoid
from dgmjax.contracts import reads_mask
from dgmjax.distributions.transformed import Transformed
from dgmjax.errors import require
from dgmjax.models.flows.flow import Flow
from dgmjax.models.flows.image_recipes import Shape, checkerboard_couplings
from dgmjax.models.flows.layers import Fixed
from dgmjax.nn.conv_resnet import ConvResNet
from dgmjax.types import Array, Batch, Key


class Dequantised(nn.Module):
    """P(k) = int_B(k_1) .. int_B(k_D) p(x) dx for integers k in 0 .. levels - 1.

    B(j) = [j / levels, (j + 1) / levels), but B(0) starts at -infinity and B(levels - 1) ends at
    +infinity: whatever support p has, P sums to 1, and rounding samples of p down and clipping
    them gives exactly P.

    With x = (k + u) / levels the noise u is a latent variable with the exact joint
    `log_joint(k, u)` and the posterior q(u | k), so the bounds of every latent-variable model are
    bounds here: `objectives.iwae(num_samples=1)` is variational dequantisation,
    log P(k) >= E_q[log p((k + u) / levels) - D log levels - log q(u | k)], and more samples
    tighten it: to log P(k) where q reaches all of B(k). With the `support` (0, 1) q covers
    [0, 1)^D. Beyond it, a density such as `Sigmoid(0.05)`'s has mass that is counted in P of
    the first and last levels and not in their bounds, which are then too low, and never too
    high. Nats of the integers: `bits_per_dim` of it is the published unit.

    Attributes:
      density: density model of x of the event's shape, on [0, 1) or a little more, such as a flow
        whose last layer is `Fixed(Sigmoid, (0.05,), event_ndims=3)`.
      levels: number of values of each integer.
      event_ndims: rank of k.
      noise: conditional density model of u in (0, 1), uniform if None (Theis, van den Oord &
        Bethge, "A Note on the Evaluation of Generative Models", 2016,
        https://arxiv.org/abs/1511.01844).
      encoder: network of `2 k / (levels - 1) - 1`, whose output is the noise's context.
      support: ends of the support of p, to which q of the first and last levels is stretched:
        (-margin / (1 - 2 margin), 1 + margin / (1 - 2 margin)) for `Sigmoid(margin)`.

    Source: Ho, Chen, Srinivas, Duan & Abbeel, "Flow++: Improving Flow-Based Generative Models with
    Variational Dequantization and Architecture Design", 2019, section 3.1, Eq. 5 to 7,
    https://arxiv.org/abs/1902.00275.
    """

    density: nn.Module
    levels: int = 256
    event_ndims: int = 3
    noise: nn.Module | None = None
    encoder: nn.Module | None = None
    support: tuple[float, float] = (0.0, 1.0)

    def setup(self):
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)
        require(
            (self.noise is None) == (self.encoder is None),
            "encoder",
            "must be given with `noise`, and only then",
            type(self.encoder).__name__,
        )
        low, high = self.support
        require(
            -math.inf < low <= 0 and 1 <= high < math.inf,
            "support",
            "must be finite and hold [0, 1]",
            self.support,
        )

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(u | k) for integers `x[..., *event]`."""
        k = jnp.asarray(x, jnp.float32)
        noise = self._noise(k)
        if self.support == (0.0, 1.0):
            return noise
        # u = levels x - k. The cell of the first level begins at the lower end of the support, that
        # of the last ends at the upper; all others are [0, 1).
        low = jnp.where(k == 0, self.levels * self.support[0], 0.0)
        high = 1.0 + jnp.where(k == self.levels - 1, self.levels * (self.support[1] - 1.0), 0.0)
        stretch = ElementwiseAffine(low, jnp.log(high - low))
        return Transformed(noise, Block(stretch, self.event_ndims))

    def _noise(self, k: Array) -> distrax.Distribution:
        if self.noise is None or self.encoder is None:
            return distrax.Independent(
                distrax.Uniform(jnp.zeros_like(k), jnp.ones_like(k)), self.event_ndims
            )
        return self.noise(self.encoder(2.0 * k / (self.levels - 1) - 1.0))

    def given(self, batch: Batch) -> Any:
        """The model of a batch, whose padding the density does not look at."""
        if "mask" not in batch or not reads_mask(self.density):
            return self
        # Bounds ask for a joint density and a posterior only; there is no prior to give.
        log_joint = partial(self.log_joint, mask=batch["mask"])
        return SimpleNamespace(
            posterior=self.posterior, log_joint=log_joint, is_initializing=self.is_initializing
        )

    def log_joint(self, x: Array, z: Array, **options: Any) -> Array:
        """log p((k + u) / levels) - D log levels for integers `x` and noise `z`.

        Args:
          **options: of the density's `log_prob`, such as the `mask` of a flow.
        """
        continuous = (jnp.asarray(x, jnp.float32) + z) / self.levels
        # x = (k + u) / levels, so du = levels dx in each of D dimensions: p(u) = p(x) / levels^D.
        dims = math.prod(continuous.shape[continuous.ndim - self.event_ndims :])
        return self.density.log_prob(continuous, **options) - dims * math.log(self.levels)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = (), **options: Any) -> Array:
        """Integers k, as floats: exact samples of P.

        Args:
          **options: of the density's `sample`, such as the temperature of a flow.
        """
        x = self.density.sample(key, sample_shape, **options)
        return jnp.clip(jnp.floor(self.levels * x), 0, self.levels - 1)


def VariationalDequantisation(
    density: nn.Module,
    event_shape: Shape,
    levels: int = 256,
    *,
    layers: int = 4,
    channels: int = 32,
    blocks: int = 2,
) -> Dequantised:
    """Images, with a flow of checkerboard couplings conditional on the image as the noise."""
    couplings = checkerboard_couplings(event_shape, layers, channels, blocks, context_ndims=3)
    noise = Flow(tuple(event_shape), (*couplings, Fixed(Sigmoid, (), event_ndims=3)))
    encoder = ConvResNet((*event_shape[:2], channels), channels, blocks)
    return Dequantised(density, levels, 3, noise, encoder)
