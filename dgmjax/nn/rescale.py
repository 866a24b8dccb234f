"""Convolutional networks that make feature maps smaller or larger by a power of two."""

import math

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.squeeze import Squeeze
from dgmjax.errors import require, require_sizes
from dgmjax.nn.conv_resnet import ConvResNet
from dgmjax.nn.convolution import Conv
from dgmjax.nn.dense import check_width
from dgmjax.types import Activation, Array


class Downscale(nn.Module):
    """`x[..., H, W, C]` -> `[..., H / factor, W / factor, channels]`, then residual blocks.

    Each halving moves 2x2 pixels into channels and convolves (a strided convolution whose
    gradient is fast).

    Attributes:
      channels: of the output and all between.
      factor: a power of two that divides H and W; 1 keeps the size.
      blocks: residual blocks at the smaller size, see `ConvResNet`.
    """

    channels: int
    factor: int = 2
    blocks: int = 1
    activation: Activation = nn.relu
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(channels=self.channels)
        height, width = check_factor("factor", self.factor, x.shape)
        if self.factor > 1:
            check_width(self, ("Conv_0",), 4 * x.shape[-1], x)
        for _ in range(halvings(self.factor)):
            x = Conv(self.channels, (3, 3), dtype=self.dtype)(Squeeze(2).inverse(x))
            x = self.activation(x)
        shape = (height, width, self.channels)
        return ConvResNet(
            shape, self.channels, self.blocks, activation=self.activation, dtype=self.dtype
        )(x)


class Upscale(nn.Module):
    """`x[..., H, W, C]` -> `[..., factor H, factor W, features]`, after residual blocks.

    Each doubling repeats the pixels and convolves; it halves the channels, down to 8.

    Attributes:
      features: of the output.
      channels: of the residual blocks.
      factor: a power of two; 1 keeps the size.
      blocks: residual blocks at the smaller size, see `ConvResNet`.
    """

    features: int
    channels: int = 64
    factor: int = 2
    blocks: int = 1
    activation: Activation = nn.relu
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        check_factor("factor", self.factor)
        shape = (*x.shape[-3:-1], self.channels)
        h = ConvResNet(
            shape, self.channels, self.blocks, activation=self.activation, dtype=self.dtype
        )(x)
        for i in range(halvings(self.factor)):
            # Four times the pixels at half of the channels: each doubling costs about the same.
            channels = max(self.channels // 2 ** (i + 1), 8)
            h = Conv(channels, (3, 3), dtype=self.dtype)(enlarged(self.activation(h), 2))
        return Conv(self.features, (3, 3), dtype=self.dtype)(self.activation(h))


def enlarged(x: Array, factor: int) -> Array:
    """Each pixel of `x[..., H, W, C]` repeated in `factor` rows and columns."""
    return jnp.repeat(jnp.repeat(x, factor, axis=-3), factor, axis=-2) if factor > 1 else x


def squeeze(patch: int) -> Squeeze:
    """The bijector whose inverse makes channels of squares of pixels, named as networks name it."""
    require_sizes(patch=patch)
    return Squeeze(patch)


def flattened(h: Array, ndims: int) -> Array:
    """The axes of `h` after the first `ndims` as one."""
    return h.reshape(*h.shape[:ndims], math.prod(h.shape[ndims:]))


def halvings(factor: int) -> int:
    """log2 of a power of two."""
    return factor.bit_length() - 1


def check_factor(
    argument: str, factor: int, shape: tuple[int, ...] | None = None
) -> tuple[int, int]:
    """Height and width of an image of `shape` divided by `factor`, a power of two.

    Raises:
      DgmjaxError: another factor, no image, or a size that the factor does not divide.
    """
    power = factor >= 1 and factor & (factor - 1) == 0
    require(power, argument, "must be a power of two, at least 1", factor)
    if shape is None:
        return 0, 0
    require(len(shape) >= 3, "x", "must be images [..., H, W, C]", f"shape {shape}")
    height, width = shape[-3:-1]
    divides = height % factor == 0 and width % factor == 0
    require(divides, argument, f"must divide the height and width, {(height, width)}", factor)
    return height // factor, width // factor
