"""Context of a signal from its low resolution."""

import math

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array


class LowResolutionContext(nn.Module):
    """Features for every site of x from the low resolution y, as the local context of `AddContext`.

    Two convolutions over the sites of y; each of them stands for factor^n sites of x, which get
    features of their own, in raster order `[..., T features]`.

    Attributes:
      features: of a site of x.
      hidden: of the first convolution.
      factor: sites of x for one of y along each axis; 1 where `hop` repeats them.
      scale: y is divided by it.
      levels: y is one of as many codes, read through a learned table in place of the division; None
        for numbers.
      ndims: axes of y: 1 for sound `[..., T]`, 2 for images `[..., H, W, C]`.
      width: of both convolutions, odd.
    """

    features: int
    hidden: int = 32
    factor: int = 1
    scale: float = 1.0
    levels: int | None = None
    ndims: int = 2
    width: int = 3

    @nn.compact
    def __call__(self, y: Array) -> Array:
        require_sizes(features=self.features, hidden=self.hidden, factor=self.factor)
        require(self.ndims in (1, 2), "ndims", "must be 1 or 2", self.ndims)
        odd = self.width >= 1 and self.width % 2 == 1
        require(odd, "width", "must be odd and positive", self.width)
        if self.levels is None:
            h = jnp.asarray(y, jnp.float32) / self.scale
            h = h[..., None] if self.ndims == 1 else h
        else:
            table = nn.Embed(self.levels, self.hidden)(jnp.asarray(y, jnp.int32))
            h = (
                table
                if self.ndims == 1
                else table.reshape(*y.shape[:-1], y.shape[-1] * self.hidden)
            )
        batch, sites = h.shape[: -1 - self.ndims], h.shape[-1 - self.ndims : -1]
        rows = math.prod(batch)
        h = h.reshape(rows, *h.shape[len(batch) :])
        window = (self.width,) * self.ndims
        h = nn.relu(nn.Conv(self.hidden, window)(h))
        h = nn.Conv(self.factor**self.ndims * self.features, window)(h)
        if self.factor > 1 and self.ndims == 2:
            height, width = sites
            h = h.reshape(rows, height, width, self.factor, self.factor, self.features)
            h = jnp.swapaxes(h, 2, 3)
        return h.reshape(*batch, math.prod(h.shape[1:]))
