"""Networks of image translation: a generator over images, and a critic of patches."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.squeeze import Squeeze
from dgmjax.errors import require, require_sizes
from dgmjax.nn.convolution import TapConv
from dgmjax.nn.normalised import Normalisation, Normalise, Weights, leaky_relu, weighted
from dgmjax.types import Array

EDGE = 0.9
"""Entries of an image are drawn in to this before their inverse hyperbolic tangent is taken. Nearer
to 1 the background, at -1, would hardly have a slope."""


class Translator(nn.Module):
    """`x[..., H, W, C]` in [-1, 1] -> tanh(network(x)), or tanh(artanh(0.9 x) + network(x)).

    Attributes:
      network: images to images of the same shape: `nn.UNet`.
      residual: the second form. With a network that starts at zero it starts as 0.9 times the
        identity: what is common to both kinds of images need not be learnt.
    """

    network: nn.Module
    residual: bool = False
    values: ClassVar[str] = "signed"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        change = self.network(x)
        rule = f"must return images of the shape that it reads, {x.shape}"
        require(change.shape == x.shape, "network", rule, change.shape)
        return jnp.tanh(jnp.arctanh(EDGE * x) + change if self.residual else change)


class PatchCritic(nn.Module):
    """Images `[..., H, W, C]` -> `[..., P]`: a value for each of P overlapping patches.

    A halving is a convolution of 4x4 taps with stride 2, as of `DCGANFeatures`; then follow one of
    3x3 taps, and one of 1x1 with one output. With one halving a patch has 8x8 pixels, with two
    18x18, with three 38x38.

    Attributes:
      channels: of the first map; each later one has twice as many.
      halvings: P is H W / 4^halvings.
      normalisation: of all maps but the first.
      weights: of all layers.

    Source: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
    Networks", 2017, section 3.2, https://arxiv.org/abs/1611.07004.
    """

    channels: int = 64
    halvings: int = 2
    normalisation: Normalisation = "none"
    weights: Weights = "plain"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(channels=self.channels, halvings=self.halvings)
        size, factor = x.shape[-3:-1], 2**self.halvings
        fits = x.ndim >= 3 and all(n % factor == 0 for n in size)
        rule = f"must be images [..., H, W, C] whose height and width {factor} divides"
        require(fits, "x", rule, f"shape {x.shape}")
        h = x.reshape(-1, *x.shape[-3:])
        for step in range(self.halvings):
            h = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
            layer = TapConv(self.channels * 2**step, (2, 2), padding="VALID")
            h = weighted(layer, self.weights)(Squeeze(2).inverse(h))
            h = leaky_relu(Normalise(self.normalisation)(h) if step else h)
        h = weighted(TapConv(h.shape[-1], (3, 3)), self.weights)(h)
        h = weighted(TapConv(1, (1, 1)), self.weights)(leaky_relu(Normalise(self.normalisation)(h)))
        return h.reshape(*x.shape[:-3], -1)
