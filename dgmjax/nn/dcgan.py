"""Convolutional generator and critic of DCGAN, for images of any size 2^n m."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.squeeze import Squeeze
from dgmjax.errors import require, require_sizes
from dgmjax.nn.convolution import TapConv
from dgmjax.nn.dense import Dense
from dgmjax.nn.equalised import minibatch_deviation
from dgmjax.nn.normalised import (
    Normalisation,
    Normalise,
    Weights,
    leaky_relu,
    weighted,
    with_classes,
)
from dgmjax.types import Array

SMALLEST = 4
STARTS: dict[bool, Any] = {True: nn.initializers.normal(0.02), False: nn.initializers.he_normal()}
"""Of kernels, by whether maps are normalised. The published deviation of 0.02 counts on that: else
it would shrink signals and slopes several times at each layer, and training would start late."""


class DCGANGenerator(nn.Module):
    """`z[..., D]` -> images `[..., H, W, C]` in (-1, 1): a dense layer, then doublings.

    The first map has 7x7 pixels for images of 28x28 and 4x4 for 32x32. A doubling is a transposed
    convolution of 4x4 taps with stride 2, written as one of 2x2 taps whose channels become pixels.

    Kernels start at a deviation of 0.02 where maps are normalised, and where they are not at that
    of He, Zhang, Ren & Sun, "Delving Deep into Rectifiers", 2015, Eq. 10,
    https://arxiv.org/abs/1502.01852.

    Attributes:
      output: (H, W, C).
      channels: of the last hidden map; each earlier one has twice as many.
      normalisation: of hidden maps.
      weights: of all layers.
      hidden: units of a dense layer between z and the first map, as in InfoGAN (1024): parts of z
        then change the image together, not by sums; none if 0.

    Source: Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", 2016, section 3, https://arxiv.org/abs/1511.06434.
    """

    output: tuple[int, ...]
    channels: int = 64
    normalisation: Normalisation = "batch"
    weights: Weights = "plain"
    hidden: int = 0
    values: ClassVar[str] = "signed"

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None) -> Array:
        require_sizes(output=tuple(self.output), channels=self.channels)
        require(self.hidden >= 0, "hidden", "must not be negative", self.hidden)
        start = STARTS[self.normalisation != "none"]
        height, width, steps = start_of(self.output)
        widest = self.channels * 2 ** (steps - 1)
        h = with_classes(z, context)
        if self.hidden:
            h = weighted(Dense(self.hidden, kernel_init=start), self.weights)(h)
            h = nn.relu(Normalise(self.normalisation)(h))
        h = weighted(Dense(height * width * widest, kernel_init=start), self.weights)(h)
        h = h.reshape(-1, height, width, widest)
        for step in range(steps):
            h = nn.relu(Normalise(self.normalisation)(h))
            last = step == steps - 1
            features = self.output[2] if last else self.channels * 2 ** (steps - 2 - step)
            layer = TapConv(4 * features, (2, 2), padding=((1, 1), (1, 1)), kernel_init=start)
            h = Squeeze(2).forward(weighted(layer, self.weights)(h))[..., 1:-1, 1:-1, :]
        return jnp.tanh(h).reshape(*z.shape[:-1], *self.output)


class DCGANFeatures(nn.Module):
    """Images `[..., H, W, C]` -> features `[..., F]`, the mirror image of `DCGANGenerator`.

    A halving is a convolution of 4x4 taps with stride 2, written as one of 2x2 taps over blocks of
    2x2 pixels. `Critic` puts a value on the features.

    Attributes:
      channels: of the first map; each later one has twice as many.
      normalisation: of all maps but the first.
      weights: of all layers.
      deviation: the last map has the minibatch standard deviation as a further channel.
      hidden: units of a dense layer after the last map; none if 0.
    """

    channels: int = 64
    normalisation: Normalisation = "none"
    weights: Weights = "plain"
    deviation: bool = False
    hidden: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(channels=self.channels)
        require(self.hidden >= 0, "hidden", "must not be negative", self.hidden)
        require(x.ndim >= 3, "x", "must be images [..., H, W, C]", f"shape {x.shape}")
        start = STARTS[self.normalisation != "none"]
        *_, steps = start_of(x.shape[-3:])
        h = x.reshape(-1, *x.shape[-3:])
        for step in range(steps):
            h = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
            features = self.channels * 2**step
            layer = TapConv(features, (2, 2), padding="VALID", kernel_init=start)
            h = weighted(layer, self.weights)(Squeeze(2).inverse(h))
            h = leaky_relu(Normalise(self.normalisation)(h) if step else h)
        h = minibatch_deviation(h) if self.deviation else h
        h = h.reshape(*x.shape[:-3], math.prod(h.shape[1:]))
        if self.hidden:
            h = weighted(Dense(self.hidden, kernel_init=start), self.weights)(h)
            h = leaky_relu(Normalise(self.normalisation)(h))
        return h


def start_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height and width of the smallest map of images (H, W, C), and the number of doublings.

    >>> start_of((28, 28, 1)), start_of((32, 32, 3))
    ((7, 7, 2), (4, 4, 3))
    """
    require(len(shape) == 3, "output", "must be (height, width, channels)", shape)
    height, width, steps = shape[0], shape[1], 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * SMALLEST:
        height, width, steps = height // 2, width // 2, steps + 1
    rule = f"must have a height and width that halve down to {SMALLEST} or more pixels"
    require(steps >= 1, "output", rule, shape, "Pad or crop the images, to 28x28 or 32x32.")
    return height, width, steps
