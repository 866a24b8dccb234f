"""Generative adversarial network: a sampler, and a discriminator that judges its samples."""

import flax.linen as nn
import jax

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require_sizes
from dgmjax.types import Array, Key


class GAN(nn.Module):
    """x = generator(z), z ~ N(0, I), and a discriminator that returns one logit per example.

    Attributes:
      latent: length of z.
      generator: `z[..., latent]` -> `x[..., *event]`.
      discriminator: `x[..., *event]` -> `[..., 1]`, the logit of "x is data".

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, Eq. 1,
    https://arxiv.org/abs/1406.2661.
    """

    latent: int
    generator: nn.Module
    discriminator: nn.Module

    def setup(self):
        require_sizes(latent=self.latent)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Samples of shape `sample_shape + event_shape`."""
        return as_float(self.generator(jax.random.normal(key, (*sample_shape, self.latent))))

    def logit(self, x: Array) -> Array:
        """The discriminator's logit of "x is data", of shape `[...]`."""
        return as_float(self.discriminator(x))[..., 0]
