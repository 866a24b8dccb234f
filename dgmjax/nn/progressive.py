"""Progressive pair: a generator and features of a critic that begin with small images and grow.

How far they have grown is an argument, a number g in [0, L - 1] for L levels: at a whole number
images have the size of that level, and in between the finer level fades in. Only the levels in use
are computed. Images always have the full size, with larger pixels at coarser levels.

Source: Karras, Aila, Laine & Lehtinen, "Progressive Growing of GANs for Improved Quality,
Stability, and Variation", 2018, section 2 and appendix A, https://arxiv.org/abs/1710.10196.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.convolution import Conv, TapConv
from dgmjax.nn.dcgan import start_of
from dgmjax.nn.dense import Dense
from dgmjax.nn.equalised import Equalised, minibatch_deviation, pixel_norm
from dgmjax.nn.normalised import leaky_relu
from dgmjax.nn.rescale import enlarged
from dgmjax.types import Array


def num_levels(shape: tuple[int, ...]) -> int:
    """Sizes that images (H, W, C) have while they grow: 7, 14 and 28 are three.

    >>> num_levels((28, 28, 1)), num_levels((8, 8, 1))
    (3, 2)
    """
    return start_of(shape)[2] + 1


def coarsened(x: Array, growth: Array | float, levels: int) -> Array:
    """Images `[..., H, W, C]` as a generator grown that far makes them: with larger pixels.

    >>> x = jnp.array([0.0, 0.0, 0.0, 4.0]).reshape(2, 2, 1)
    >>> [coarsened(x, g, 2)[1, 1, 0].item() for g in (0.0, 0.5, 1.0)]
    [1.0, 2.5, 4.0]
    """
    total = jnp.zeros_like(x)
    for level in range(levels):
        factor = 2 ** (levels - 1 - level)
        weight = jnp.clip(1.0 - jnp.abs(growth - level), 0.0, 1.0)
        total = total + weight * enlarged(averaged(x, factor), factor)
    return total


def averaged(x: Array, factor: int) -> Array:
    """Means of squares of pixels of `x[..., H, W, C]`."""
    height, width = x.shape[-3] // factor, x.shape[-2] // factor
    return x.reshape(*x.shape[:-3], height, factor, width, factor, x.shape[-1]).mean((-4, -2))


LEVEL: ContextVar[int | None] = ContextVar("level of growing networks", default=None)


@contextlib.contextmanager
def at_level(level: int) -> Iterator[None]:
    """Inside, growing networks compute this level, which must be the one that their growth is at.

    Otherwise they choose it as they run. The gradient of such a choice makes room for what the
    finest level keeps for its backward pass: it took eight times as long as that of images of 7x7
    pixels alone.
    """
    token = LEVEL.set(level)
    try:
        yield
    finally:
        LEVEL.reset(token)


class _Growing(nn.Module):
    """What both networks share: the level in use, and its share of the image."""

    def at(self, growth: Array | float, branch: Callable[..., Array], levels: int, x: Array):
        """`branch(level, share, x)` of the level in use; of all, while parameters are made."""
        growth = jnp.clip(jnp.asarray(growth, jnp.float32), 0.0, levels - 1.0)
        known = LEVEL.get()
        level = jnp.ceil(growth).astype(jnp.int32) if known is None else known
        share = growth - level + 1.0
        # The share is float32, which the branch of the coarsest level does not read: where layers
        # compute in bfloat16, branches would differ in type.
        of = [
            lambda share, x, level=level: as_float(branch(level, share, x))
            for level in range(levels)
        ]
        if self.is_initializing():
            return [one(share, x) for one in of][-1]
        return jax.lax.switch(level, of, share, x) if known is None else of[known](share, x)


class ProgressiveGenerator(_Growing):
    """`z[..., D]` -> images `[..., H, W, C]` in (-1, 1): a dense layer, then doublings.

    A doubling repeats pixels and convolves twice; all maps are normalised over their channels at
    each pixel, weights are equalised. Each level has a 1x1 convolution to images of its size.

    Attributes:
      output: (H, W, C).
      channels: of the last hidden map; each earlier one has twice as many.
      most: channels that no map exceeds.
    """

    output: tuple[int, ...]
    channels: int = 32
    most: int = 64
    values: ClassVar[str] = "signed"

    def setup(self):
        require_sizes(output=tuple(self.output), channels=self.channels, most=self.most)
        self.levels = num_levels(self.output)
        height, width, _ = start_of(self.output)
        widths = widths_of(self.channels, self.most, self.levels)
        self.first = Equalised(Dense(height * width * widths[0]))
        self.blocks = [
            [Equalised(Conv(w, (3, 3))) for _ in range(2 if level else 1)]
            for level, w in enumerate(widths)
        ]
        self.to_image = [Equalised(Conv(self.output[2], (1, 1))) for _ in widths]

    def __call__(self, z: Array, growth: Array | float | None = None) -> Array:
        growth = self.levels - 1 if growth is None else growth
        x = self.at(growth, self._images, self.levels, z.reshape(-1, z.shape[-1]))
        return x.reshape(*z.shape[:-1], *self.output)

    def _images(self, level: int, share: Array, z: Array) -> Array:
        height, width, _ = start_of(self.output)
        h = leaky_relu(self.first(pixel_norm(z)))
        h = h.reshape(len(z), height, width, -1)
        coarser = None
        for at in range(level + 1):
            if at:
                coarser = h
                h = enlarged(h, 2)
            for layer in self.blocks[at]:
                h = pixel_norm(leaky_relu(layer(h)))
        image = jnp.tanh(self.to_image[level](h))
        if coarser is not None:
            before = enlarged(jnp.tanh(self.to_image[level - 1](coarser)), 2)
            image = share * image + (1.0 - share) * before
        return enlarged(image, 2 ** (self.levels - 1 - level))


class ProgressiveFeatures(_Growing):
    """Images `[..., H, W, C]` -> features `[..., F]`, the mirror image of `ProgressiveGenerator`.

    The last map has the minibatch standard deviation as a further channel, so that values depend on
    the batch. `models.ProgressiveGAN` puts a value on the features.

    Attributes:
      shape: (H, W, C) of the images.
      channels: of the finest map; each coarser one has twice as many.
      most: channels that no map exceeds.
      deviation: whether there is that further channel.
    """

    shape: tuple[int, ...]
    channels: int = 32
    most: int = 64
    deviation: bool = True

    def setup(self):
        require_sizes(shape=tuple(self.shape), channels=self.channels, most=self.most)
        self.levels = num_levels(self.shape)
        widths = widths_of(self.channels, self.most, self.levels)
        self.from_image = [Equalised(TapConv(w, (1, 1))) for w in widths]
        # Two convolutions at each level but the coarsest, the second to the width of the next.
        self.blocks = [
            [judging(w), judging(widths[max(level - 1, 0)])] if level else [judging(w)]
            for level, w in enumerate(widths)
        ]
        self.last = Equalised(Dense(widths[0]))

    def __call__(self, x: Array, growth: Array | float | None = None) -> Array:
        fits = tuple(x.shape[-3:]) == tuple(self.shape)
        require(fits, "x", f"must be images [..., *{tuple(self.shape)}]", f"shape {x.shape}")
        growth = self.levels - 1 if growth is None else growth
        features = self.at(growth, self._features, self.levels, x.reshape(-1, *self.shape))
        return features.reshape(*x.shape[:-3], features.shape[-1])

    def _features(self, level: int, share: Array, x: Array) -> Array:
        x = averaged(x, 2 ** (self.levels - 1 - level))
        h = leaky_relu(self.from_image[level](x))
        for at in reversed(range(1, level + 1)):
            for layer in self.blocks[at]:
                h = leaky_relu(layer(h))
            h = averaged(h, 2)
            if at == level:
                before = leaky_relu(self.from_image[level - 1](averaged(x, 2)))
                h = share * h + (1.0 - share) * before
        h = minibatch_deviation(h) if self.deviation else h
        h = leaky_relu(self.blocks[0][0](h))
        return leaky_relu(self.last(h.reshape(len(h), math.prod(h.shape[1:]))))


def widths_of(channels: int, most: int, levels: int) -> list[int]:
    """Channels of every level, the coarsest first.

    >>> widths_of(16, 48, 3)
    [48, 32, 16]
    """
    return [min(channels * 2**halving, most) for halving in reversed(range(levels))]


def judging(features: int) -> nn.Module:
    """A critic's 3x3 taps of equalised weights."""
    return Equalised(TapConv(features, (3, 3)))
