"""Embeddings: features of the values of a site, as an autoregressive network reads them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.families import compressed, num_levels
from dgmjax.types import Array


class Real(nn.Module):
    """Values as they are, shifted and scaled: [(x - shift) / scale, 1], no parameters.

    The constant feature tells a layer where the padding begins. `channels=None` reads scalars
    `[...]`, an integer vectors `[..., channels]`. With `companding` mu the values are `compressed`.

    Source: the code of Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with
    Discretized Logistic Mixture Likelihood and Other Modifications", 2017,
    https://arxiv.org/abs/1701.05517.

    >>> Real(shift=127.5, scale=127.5).apply({}, jnp.array([255.0])).tolist()
    [[1.0, 1.0]]
    """

    shift: float = 0.0
    scale: float = 1.0
    channels: int | None = None
    companding: float = 0.0

    def __call__(self, x: Array) -> Array:
        x = compressed((as_float(x) - self.shift) / self.scale, self.companding)
        x = x[..., None] if self.channels is None else x
        return jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)


class OneHot(nn.Module):
    """One-hot vectors of the integers 0 .. levels - 1; no parameters."""

    levels: int

    def __call__(self, x: Array) -> Array:
        return jax.nn.one_hot(x.astype(jnp.int32), self.levels)


class Table(nn.Module):
    """A learned vector for each of the integers 0 .. levels - 1."""

    levels: int
    features: int

    def setup(self):
        self.table = nn.Embed(self.levels, self.features)

    def __call__(self, x: Array) -> Array:
        return self.table(x.astype(jnp.int32))


def centred(levels: int, channels: int | None = None) -> Real:
    """`Real` that maps the integers 0 .. levels - 1 to [-1, 1]."""
    half = (levels - 1) / 2
    return Real(half, half, channels)


def scaled(family: Any) -> Real:
    """`Real` that maps the values of a site of `family` to [-1, 1] where it bounds them."""
    channels = family.site_shape[0] if family.event_ndims else None
    levels = num_levels(family)
    if levels is None:
        return Real(channels=channels)
    half = (levels - 1) / 2
    return Real(half, half, channels, getattr(family, "companding", 0.0))


def network_input(x: Array, family: Any) -> Array:
    """x as encoders read it: more than two levels mapped to [-1, 1], other values as they are.

    Raw images of 256 levels would start a network at values of hundreds.

    >>> from dgmjax.distributions.families import Bernoulli, Categorical
    >>> network_input(jnp.array([0, 255], jnp.uint8), Categorical(256)).tolist()
    [-1.0, 1.0]
    >>> network_input(jnp.array([0, 1], jnp.uint8), Bernoulli()).tolist()
    [0, 1]
    """
    levels = num_levels(family)
    return x if levels is None or levels <= 2 else 2.0 * as_float(x) / (levels - 1) - 1.0
