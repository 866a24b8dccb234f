"""Gated activations, and WaveNet's stack of gated dilated convolutions."""

from collections.abc import Callable, Hashable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.nn.autoregressive.causal import Compound, Pointwise
from dgmjax.nn.autoregressive.causal_conv import CausalConv
from dgmjax.nn.conditioning import AddContext
from dgmjax.types import Array


def gate(a: Array) -> Array:
    """tanh(a_1) sigmoid(a_2) of the two halves of the last axis.

    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, Eq. 2,
    https://arxiv.org/abs/1606.05328.
    """
    first, second = jnp.split(a, 2, axis=-1)
    return jnp.tanh(first) * jax.nn.sigmoid(second)


class WaveNetStack(Compound):
    """The sum of the skip outputs of gated, dilated, residual causal convolutions.

    z_l = gate(W_l * h_l + V_l c),  h_{l+1} = h_l + R_l z_l,  output sum_l S_l z_l

    Attributes:
      channels: of h (what comes in) and z.
      skip_channels: of the output.
      dilations: one per layer.
      kernel_size: taps of each convolution.
      context_features, local_features, hop: see `nn.AddContext`.

    Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, Eq. 2 and 3
    (global and local conditioning) and Figure 4, https://arxiv.org/abs/1609.03499.
    """

    channels: int
    skip_channels: int
    dilations: tuple[int, ...]
    kernel_size: int = 2
    context_features: int = 0
    local_features: int = 0
    hop: int = 1

    def setup(self):
        require(len(self.dilations) >= 1, "dilations", "must name at least one", self.dilations)
        both = 2 * self.channels
        last = len(self.dilations) - 1
        context = (self.context_features, self.local_features, 1, self.hop)
        self.convs = [CausalConv(both, self.kernel_size, d) for d in self.dilations]
        self.contexts = [AddContext(both, *context) for _ in self.dilations]
        # R_l and S_l in one product; h after the last layer is not used.
        self.outs = [
            Pointwise(nn.Dense(self.skip_channels + (self.channels if i < last else 0)))
            for i in range(last + 1)
        ]

    @property
    def receptive_field(self) -> int:
        """Inputs that an output reads."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations)

    def parts(self) -> dict[Hashable, Any]:
        parts: dict[Hashable, Any] = {}
        for i, (conv, context, out) in enumerate(zip(self.convs, self.contexts, self.outs)):
            parts |= {f"conv_{i}": conv, f"context_{i}": context, f"out_{i}": out}
        return parts

    def combine(self, run: Callable[[Hashable, Array], Array], h: Array) -> Array:
        # The output sums the skips of all layers, so that every layer is one step from the loss.
        total: Array | float = 0.0
        for i in range(len(self.dilations)):
            a = run(f"context_{i}", run(f"conv_{i}", h))
            out = run(f"out_{i}", gate(a))
            total = total + out[..., : self.skip_channels]
            if i < len(self.dilations) - 1:
                h = h + out[..., self.skip_channels :]
        return jnp.asarray(total)
