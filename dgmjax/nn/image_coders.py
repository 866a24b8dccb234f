"""Networks between images and vectors, and parameters that all sites share."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.dense import Dense, check_width, start_bias
from dgmjax.nn.rescale import Downscale, Upscale, check_factor, halvings
from dgmjax.types import Activation, Array


class ImageEncoder(nn.Module):
    """`x[..., H, W, C]` -> `[..., *output]`: smaller maps of features, then one dense layer.

    Attributes:
      output: shape of the output event, e.g. `(latent, 2)`.
      channels, factor, blocks: of `nn.Downscale`; the map that the dense layer reads is
        H / factor by W / factor.
      activation: of every layer.
      activate_output: features, not parameters: a posterior module reads them.
    """

    output: tuple[int, ...]
    channels: int = 32
    factor: int = 4
    blocks: int = 1
    activation: Activation = nn.relu
    activate_output: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(channels=self.channels, output=tuple(self.output))
        height, width = check_factor("factor", self.factor, x.shape)
        check_width(self, ("Dense_0",), height * width * self.channels, x)
        h = Downscale(self.channels, self.factor, self.blocks, self.activation)(x)
        h = self.activation(h).reshape(-1, math.prod(h.shape[-3:]))
        h = Dense(math.prod(self.output))(h)
        h = self.activation(h) if self.activate_output else h
        return h.reshape(*x.shape[:-3], *self.output)


class ImageDecoder(nn.Module):
    """`z[..., *latent]` -> `[..., *output]`, the mirror image of `ImageEncoder`.

    Attributes:
      output: (H, W, ...): what follows H and W becomes channels.
      channels, factor, blocks: of `nn.Upscale`; it starts from H / factor by W / factor.
      event_ndims: rank of z.
    """

    output: tuple[int, ...]
    channels: int = 32
    factor: int = 4
    blocks: int = 1
    activation: Activation = nn.relu
    event_ndims: int = 1

    @nn.compact
    def __call__(self, z: Array) -> Array:
        require(
            len(self.output) >= 2, "output", "must begin with a height and a width", self.output
        )
        require_sizes(channels=self.channels, output=tuple(self.output))
        height, width = check_factor("factor", self.factor, (*self.output[:2], 1))
        batch = z.shape[: z.ndim - self.event_ndims]
        size = math.prod(z.shape[len(batch) :])  # -1 has no value where the batch is empty
        h = Dense(height * width * self.channels)(z.reshape(math.prod(batch), size))
        h = self.activation(h).reshape(math.prod(batch), height, width, self.channels)
        features = math.prod(self.output[2:])
        h = Upscale(features, self.channels, self.factor, self.blocks, self.activation)(h)
        return h.reshape(*batch, *self.output)

    def start_at_marginals(self, family: Any, x: Array) -> None:
        """Sets the output bias to the marginals of `x[N, H, W, ...]`, one for all pixels."""
        bias = family.marginal(x.reshape(-1, *x.shape[3:]))
        # `Upscale` has a convolution for each doubling, numbered from 0, and then the one of the
        # output.
        start_bias(self, ("Upscale_0", f"Conv_{halvings(self.factor)}"), bias, x)


class SharedParameters(nn.Module):
    """The last `shared` parameters of a site are learned once for all sites and all inputs.

    A decoder of one mean per site with one scale for the whole data set is
    `SharedParameters(MLP(hidden, (D, 1)), shared=1)` for the family `Normal()`; with `sites`
    each site has its own, still the same for all inputs.

    Attributes:
      network: `z -> [..., *sites, n]`.
      shared: how many parameters to append.
      sites: `(*sites,)` for parameters of their own for each site; () for one for all.
      start: what they begin with. A scale that begins wide hides what a decoder says, and the
        posterior of a VAE collapses before the scale has narrowed.
    """

    network: nn.Module
    shared: int = 1
    sites: tuple[int, ...] = ()
    start: float = 0.0

    @nn.compact
    def __call__(self, z: Array) -> Array:
        require(self.shared >= 1, "shared", "must be at least 1", self.shared)
        own = as_float(self.network(z))
        common = self.param(
            "shared", nn.initializers.constant(self.start), (*self.sites, self.shared)
        )
        common = jnp.broadcast_to(common, (*own.shape[:-1], self.shared))
        return jnp.concatenate([own, common], -1)
