"""Residual U-Net over images at a time: the denoising network of diffusion and flow matching."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.nn.convolution import Conv
from dgmjax.nn.dense import Dense
from dgmjax.nn.dropout import Dropout
from dgmjax.nn.rescale import enlarged, flattened, squeeze
from dgmjax.nn.self_attention import SelfAttention
from dgmjax.nn.time_embedding import TimeEmbedding, one_batch
from dgmjax.types import Array

GROUPS = 8
"""Of the normalisation, or the largest divisor of the channels in common with it."""


class UNet(nn.Module):
    """`x[..., H, W, C]`, `t[...]` -> `[..., H, W, C]`: down in resolution, and up with shortcuts.

    Without times it is a map of images, such as the generator of pix2pix.

    Each level has `blocks` residual blocks on the way down, and one more on the way up, where a
    block reads the map that one on the way down left. Levels are halved by means of 2x2 pixels and
    doubled by repeating them; of an odd size the last row is repeated first and cut afterwards.
    The output starts at zero.

    Attributes:
      channels: of each level, the finest first.
      blocks: residual blocks of each level.
      patch: side of the squares of pixels that become channels before the finest level, and are
        taken apart after it: a cheaper network at 1 / patch of the resolution.
      attention: levels that also attend over all of their pixels, 0 the finest.
      heads: of the attention.
      num_outputs: P, numbers for each entry of x: `[..., H, W, C, P]`; None for `[..., H, W, C]`.
      num_classes, label_dropout: of `nn.TimeEmbedding`; the context is then the class.
      embed: module from values to features `[..., F]` of each entry of x, such as `nn.OneHot` for
        whole numbers; None where x is real.
      dropout: rate in each block, in training.
      dtype: of convolutions; parameters stay float32.

    Sources: Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image
    Segmentation", 2015, https://arxiv.org/abs/1505.04597; Ho, Jain & Abbeel, "Denoising Diffusion
    Probabilistic Models", 2020, appendix B, https://arxiv.org/abs/2006.11239; scale and shift by
    time: Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, Eq. 1,
    https://arxiv.org/abs/2105.05233.
    """

    channels: tuple[int, ...] = (24, 48, 48)
    blocks: int = 1
    patch: int = 1
    attention: tuple[int, ...] = ()
    heads: int = 1
    num_outputs: int | None = None
    num_classes: int = 0
    label_dropout: float = 0.1
    embed: nn.Module | None = None
    dropout: float = 0.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, t: Array | None = None, context: Array | None = None) -> Array:
        channels = as_sizes("channels", self.channels)
        require(len(channels) > 0, "channels", "must name at least one level", channels)
        require_sizes(blocks=self.blocks, patch=self.patch, num_outputs=self.num_outputs or 1)
        levels = range(len(channels))
        known = all(level in levels for level in self.attention)
        require(known, "attention", f"must be levels in 0 .. {levels[-1]}", self.attention)
        event = x.shape[-3:]
        x, t, label, batch = one_batch(x, t, context, 3)
        if self.embed is not None:
            x = flattened(self.embed(x), 3)
        time = None
        told = t is not None or label is None
        require(told, "context", "must be None where no times are given", "labels")
        if t is not None:
            embedding = TimeEmbedding(4 * channels[0], self.num_classes, self.label_dropout)
            time = nn.silu(embedding(t, label))

        def block(h: Array, level: int) -> Array:
            h = ResidualBlock(channels[level], self.dropout, self.dtype)(h, time)
            return PixelAttention(self.heads)(h) if level in self.attention else h

        h = Conv(channels[0], (3, 3), dtype=self.dtype)(squeeze(self.patch).inverse(x))
        maps = [h]
        for level in levels:
            if level:
                h = halved_up(h)
                maps.append(h)
            for _ in range(self.blocks):
                h = block(h, level)
                maps.append(h)
        h = block(h, levels[-1])
        for level in reversed(levels):
            for _ in range(self.blocks + 1):
                h = block(jnp.concatenate([h, maps.pop()], -1), level)
            if level:
                h = enlarged(h, 2)[:, : maps[-1].shape[1], : maps[-1].shape[2]]
        outputs = self.patch**2 * event[-1] * (self.num_outputs or 1)
        zeros = nn.initializers.zeros
        h = Conv(outputs, (3, 3), kernel_init=zeros, dtype=self.dtype)(nn.silu(normalised(h)))
        each = () if self.num_outputs is None else (self.num_outputs,)
        return squeeze(self.patch).forward(h).reshape(*batch, *event, *each)


class ResidualBlock(nn.Module):
    """S h + V silu((1 + a) norm(W silu(norm(h))) + b) with scale a and shift b linear in the time.

    W, V are 3x3 convolutions, V starts at zero; S is the identity, or 1x1 where channels change.
    Without a time a and b are 0.
    """

    channels: int
    dropout: float = 0.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, h: Array, time: Array | None = None) -> Array:
        inner = Conv(self.channels, (3, 3), dtype=self.dtype)(nn.silu(normalised(h)))
        zeros = nn.initializers.zeros
        inner_normalised = normalised(inner)
        if time is not None:
            change = Dense(2 * self.channels, kernel_init=zeros)(time)[:, None, None]
            scale, shift = jnp.split(change, 2, -1)
            inner_normalised = (1.0 + scale) * inner_normalised + shift
        inner = nn.silu(inner_normalised)
        inner = Dropout(self.dropout)(inner)
        inner = Conv(self.channels, (3, 3), kernel_init=zeros, dtype=self.dtype)(inner)
        if h.shape[-1] != self.channels:
            h = Dense(self.channels, dtype=self.dtype)(h)
        return h + inner


class PixelAttention(nn.Module):
    """h + attention(norm(h)) over the pixels of `h[B, H, W, C]`."""

    heads: int = 1

    @nn.compact
    def __call__(self, h: Array) -> Array:
        num, height, width, features = h.shape
        flat = normalised(h).reshape(num, height * width, features)
        return h + SelfAttention(self.heads, zero_output=True)(flat).reshape(h.shape)


class GroupNorm(nn.Module):
    """`h[B, H, W, C]` normalised over the pixels and channels of each group, then a h + b.

    flax.linen.GroupNorm, whose parameters it has, goes over every entry once for each of its steps;
    here sums of each channel make one scale and shift of it, which is faster on a CPU. Squares are
    those of differences from the first pixel, so that a mean far from 0 costs no digits.

    Source: Wu & He, "Group Normalization", 2018, https://arxiv.org/abs/1803.08494.
    """

    groups: int

    @nn.compact
    def __call__(self, h: Array) -> Array:
        channels = h.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        each = channels // self.groups

        def mean(values: Array) -> Array:
            """Of each group, for each of its channels `[B, C]`."""
            of_channels = values.mean((1, 2))
            of_groups = of_channels.reshape(-1, self.groups, each).mean(-1)
            return jnp.repeat(of_groups, each, -1)

        # Scale and shift cancel: in bfloat16 each would leave an error of the size of the mean.
        wide = h.astype(jnp.promote_types(h.dtype, jnp.float32))
        middle = mean(wide)
        # The variance does not depend on what is subtracted, so that neither does the gradient.
        first = jax.lax.stop_gradient(mean(wide[:, :1, :1]))
        squares = mean((wide - first[:, None, None]) ** 2)
        variance = jnp.maximum(squares - (middle - first) ** 2, 0.0)
        factor = scale * jax.lax.rsqrt(variance + 1e-6)
        shift = bias - middle * factor
        return (factor[:, None, None] * wide + shift[:, None, None]).astype(h.dtype)


def normalised(h: Array) -> Array:
    """`GroupNorm` of 8 groups or fewer, within a compact method."""
    return GroupNorm(math.gcd(GROUPS, h.shape[-1]))(h)


def halved_up(h: Array) -> Array:
    """Means of 2x2 pixels of `h[B, H, W, C]`, the last row and column repeated where odd."""
    height, width = h.shape[1:3]
    if height % 2 or width % 2:
        h = jnp.pad(h, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    num, height, width, features = h.shape
    return h.reshape(num, height // 2, 2, width // 2, 2, features).mean((2, 4))
