"""Residual convolutional network over images, for conditioners of image flows."""

import math

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.nn.convolution import Conv
from dgmjax.nn.dense import Dense
from dgmjax.types import Activation, Array


class ConvResNet(nn.Module):
    """`x[..., H, W, C]` -> `[..., *output]`: a convolution, residual blocks, a convolution.

    h_0 = W_in * x + U c,  h_b = h_{b-1} + V_b act(W_b * act(h_{b-1})),  W_out * act(h_B)

    V_b is a 1x1 convolution, and starts at zero: the blocks start as the identity, which
    replaces normalisation. Without shortcuts h_b = W_b * act(h_{b-1}).

    Attributes:
      output: shape of the output event, `(H, W, ...)`: what follows H and W becomes channels.
      channels: of the hidden layers.
      blocks: residual blocks.
      inner: kernel size of W_b.
      residual: blocks have shortcuts.
      context: a vector is added at every position; an image `[..., H, W, F]` by a convolution.
      zero_output: start with an output of zero (a flow layer then starts as the identity).
      event_ndims: 3, the rank of an image.
      dtype: of the computation; parameters stay float32.
    """

    output: tuple[int, ...]
    channels: int = 64
    blocks: int = 2
    inner: int = 3
    residual: bool = True
    activation: Activation = nn.relu
    event_ndims: int = 3
    zero_output: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require(
            self.event_ndims == 3 and x.ndim >= 3,
            "x",
            "must be images [..., H, W, C] for a convolutional network",
            f"shape {x.shape}",
            "Use nn.MLP for vectors.",
        )
        require(
            len(self.output) >= 2 and self.output[:2] == x.shape[-3:-1],
            "output",
            f"must begin with the height and width of x, {x.shape[-3:-1]}",
            self.output,
        )
        require_sizes(channels=self.channels)
        require(self.blocks >= 0, "blocks", "must be at least 0", self.blocks)
        h = Conv(self.channels, (3, 3), dtype=self.dtype)(x)
        if context is not None:
            h = h + self._context(context, x.ndim)
        for _ in range(self.blocks):
            inner = self._inner()(self.activation(h))
            if self.residual:
                # Each block adds nothing at first: the signal keeps its scale at any depth without
                # normalisation.
                zeros = nn.initializers.zeros
                added = Dense(self.channels, kernel_init=zeros, dtype=self.dtype)
                h = h + added(self.activation(inner))
            else:
                h = inner
        init = nn.initializers.zeros if self.zero_output else nn.initializers.lecun_normal()
        features = math.prod(self.output[2:])
        h = Conv(features, (3, 3), kernel_init=init, dtype=self.dtype)(self.activation(h))
        return h.reshape(*x.shape[:-3], *self.output)

    def _inner(self) -> nn.Module:
        if self.inner == 1:  # a matrix product is faster than a 1x1 convolution
            return Dense(self.channels, dtype=self.dtype)
        return Conv(self.channels, (self.inner, self.inner), dtype=self.dtype)

    def _context(self, context: Array, ndim: int) -> Array:
        if context.ndim == ndim:
            return Conv(self.channels, (3, 3), dtype=self.dtype)(context)
        return Dense(self.channels, dtype=self.dtype)(context)[..., None, None, :]
