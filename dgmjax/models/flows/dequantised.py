"""Dequantisation: the probability of integers under a continuous density."""

import math

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.domains import Sigmoid
from dgmjax.errors import require
from dgmjax.models.flows.flow import Flow
from dgmjax.models.flows.image_recipes import Shape, checkerboard_couplings
from dgmjax.models.flows.layers import Fixed
from dgmjax.nn.conv_resnet import ConvResNet
from dgmjax.types import Array, Key


class Dequantised(nn.Module):
    """P(k) = levels^-D int_[0,1)^D p((k + u) / levels) du for integers k in 0 .. levels - 1.

    The noise u is a latent variable with the exact joint `log_joint(k, u)` and the posterior
    q(u | k), so the bounds of every latent-variable model are bounds here:
    `objectives.iwae(num_samples=1)` is variational dequantisation,
    log P(k) >= E_q[log p((k + u) / levels) - D log levels - log q(u | k)], and more samples
    tighten it. Nats of the integers: `bits_per_dim` of it is the published unit.

    Attributes:
      density: density model of x in [0, 1) of the event's shape, such as a flow whose last layer
        is `Fixed(Sigmoid, (0.05,), event_ndims=3)`.
      levels: number of integers a dimension takes.
      event_ndims: rank of k.
      noise: conditional density model of u in (0, 1), uniform where None (Theis, van den Oord &
        Bethge, "A note on the evaluation of generative models", 2016).
      encoder: network of `2 k / (levels - 1) - 1`, whose output is the noise's context.

    Source: Ho, Chen, Srinivas, Duan & Abbeel, "Flow++", 2019, section 3.1, Eq. 5-7.
    """

    density: nn.Module
    levels: int = 256
    event_ndims: int = 3
    noise: nn.Module | None = None
    encoder: nn.Module | None = None

    def setup(self):
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)
        require(
            (self.noise is None) == (self.encoder is None),
            "encoder",
            "must be given with `noise`, and only then",
            type(self.encoder).__name__,
        )

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(u | k) for integers `x[..., *event]`."""
        k = jnp.asarray(x, jnp.float32)
        if self.noise is None or self.encoder is None:
            return distrax.Independent(
                distrax.Uniform(jnp.zeros_like(k), jnp.ones_like(k)), self.event_ndims
            )
        return self.noise(self.encoder(2.0 * k / (self.levels - 1) - 1.0))

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p((k + u) / levels) - D log levels for integers `x` and noise `z`."""
        continuous = (jnp.asarray(x, jnp.float32) + z) / self.levels
        dims = math.prod(continuous.shape[continuous.ndim - self.event_ndims :])
        return self.density.log_prob(continuous) - dims * math.log(self.levels)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Integers k, as floats: exact samples of P."""
        x = self.density.sample(key, sample_shape)
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
