"""Residual generator and critic of WGAN-GP and SN-GAN, for images of any size 2^n m."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.nn.convolution import Conv, TapConv
from dgmjax.nn.dcgan import start_of
from dgmjax.nn.dense import Dense
from dgmjax.nn.normalised import Normalisation, Normalise, Weights, weighted, with_classes
from dgmjax.nn.rescale import enlarged
from dgmjax.types import Array


class ResidualGenerator(nn.Module):
    """`z[..., D]` -> images `[..., H, W, C]` in (-1, 1): a dense layer, then blocks that double.

    h -> up(S h) + V relu(norm(W up(relu(norm(h))))), S a 1x1 and V, W 3x3 convolutions.

    Attributes:
      output: (H, W, C).
      channels: of every map.
      normalisation: in front of every activation.
      weights: of all layers.

    Sources: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, appendix C,
    https://arxiv.org/abs/1704.00028; Miyato et al., "Spectral Normalization for Generative
    Adversarial Networks", 2018, table 4, https://arxiv.org/abs/1802.05957.
    """

    output: tuple[int, ...]
    channels: int = 128
    normalisation: Normalisation = "batch"
    weights: Weights = "plain"
    values: ClassVar[str] = "signed"

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None) -> Array:
        require_sizes(output=tuple(self.output), channels=self.channels)
        height, width, steps = start_of(self.output)
        z = with_classes(z, context)
        h = weighted(Dense(height * width * self.channels), self.weights)(z)
        h = h.reshape(-1, height, width, self.channels)
        activated = lambda h: nn.relu(Normalise(self.normalisation)(h))
        for _ in range(steps):
            inner = self._conv(self.channels, 3)(enlarged(activated(h), 2))
            inner = self._conv(self.channels, 3)(activated(inner))
            h = enlarged(self._conv(self.channels, 1)(h), 2) + inner
        h = self._conv(self.output[2], 3)(activated(h))
        return jnp.tanh(h).reshape(*z.shape[:-1], *self.output)

    def _conv(self, features: int, taps: int) -> nn.Module:
        return weighted(Conv(features, (taps, taps)), self.weights)


class ResidualFeatures(nn.Module):
    """Images `[..., H, W, C]` -> features `[..., channels]`: residual blocks, summed over pixels.

    h -> down(S h) + down(V relu(W relu(h))); down takes means of 2x2 pixels in the first two
    blocks, and leaves the others alone. The first block reads the image without an activation.

    Attributes:
      channels: of every map.
      blocks: at least 2.
      normalisation: in front of every activation.
      weights: of all layers.

    Source: Miyato, Kataoka, Koyama & Yoshida, "Spectral Normalization for Generative Adversarial
    Networks", 2018, table 4, https://arxiv.org/abs/1802.05957.
    """

    channels: int = 128
    blocks: int = 4
    normalisation: Normalisation = "none"
    weights: Weights = "plain"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(channels=self.channels)
        require(self.blocks >= 2, "blocks", "must be at least 2", self.blocks)
        even = x.ndim >= 3 and x.shape[-3] % 4 == 0 and x.shape[-2] % 4 == 0
        rule = "must be images [..., H, W, C] whose height and width 4 divides"
        require(even, "x", rule, f"shape {x.shape}")
        activated = lambda h: nn.relu(Normalise(self.normalisation)(h))
        h = x.reshape(-1, *x.shape[-3:])
        for block in range(self.blocks):
            down = halved if block < 2 else lambda h: h
            inner = self._conv(3)(activated(h) if block else h)
            inner = down(self._conv(3)(activated(inner)))
            # Means of pixels and 1x1 convolutions commute: the smaller map is cheaper.
            h = inner + (self._conv(1)(down(h)) if block < 2 else h)
        return activated(h).sum((-3, -2)).reshape(*x.shape[:-3], self.channels)

    def _conv(self, taps: int) -> nn.Module:
        return weighted(TapConv(self.channels, (taps, taps)), self.weights)


def halved(x: Array) -> Array:
    """Means of 2x2 pixels of `x[N, H, W, C]`."""
    num, height, width, channels = x.shape
    return x.reshape(num, height // 2, 2, width // 2, 2, channels).mean((2, 4))
