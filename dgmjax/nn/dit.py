"""Transformer over patches of images or over the sites of a sequence, at a time."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.autoregressive.attention import Positions
from dgmjax.nn.dense import Dense
from dgmjax.nn.dropout import Dropout
from dgmjax.nn.rescale import flattened, squeeze
from dgmjax.nn.self_attention import SelfAttention
from dgmjax.nn.time_embedding import TimeEmbedding, one_batch
from dgmjax.types import Array


class DiT(nn.Module):
    """`x[..., *event]`, `t[...]` -> `[..., *event]`: attention among patches, without direction.

    Events are images `(H, W, C)`, cut into patches, or sequences `(T,)` of any length, whose
    positions are then rotary. Time and class scale and shift what each layer reads, and gate what
    it adds; gates and the output start at zero.

    Attributes:
      features: of a patch or site, a multiple of twice `heads`.
      layers: blocks of attention and MLP.
      heads: of the attention.
      patch: pixels of a side of a patch; 1 for sequences.
      event_ndims: 3 for images, 1 for sequences.
      num_outputs: P, numbers for each entry of x: `[..., *event, P]`; None for `[..., *event]`.
      num_classes, label_dropout: of `nn.TimeEmbedding`; the context is then the class.
      embed: module from values to features `[..., F]` of each entry of x, such as `nn.Table` for
        whole numbers; None where x is real.
      dropout: rate of what each layer adds, in training.

    Source: Peebles & Xie, "Scalable Diffusion Models with Transformers", 2023, section 3.2
    (adaLN-Zero), https://arxiv.org/abs/2212.09748.
    """

    features: int = 128
    layers: int = 4
    heads: int = 4
    patch: int = 1
    event_ndims: int = 3
    num_outputs: int | None = None
    num_classes: int = 0
    label_dropout: float = 0.1
    embed: nn.Module | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, t: Array, context: Array | None = None) -> Array:
        sizes = {"features": self.features, "layers": self.layers, "heads": self.heads}
        require_sizes(**sizes, patch=self.patch, num_outputs=self.num_outputs or 1)
        known = self.event_ndims in (1, 3)
        require(known, "event_ndims", "must be 3 for images or 1 for sequences", self.event_ndims)
        remedy = "It scales and shifts every layer; `nn.UNet` does without."
        require(t is not None, "t", "must be given", t, remedy)
        event = x.shape[max(x.ndim - self.event_ndims, 0) :]
        x, t, label, batch = one_batch(x, t, context, self.event_ndims)
        values = x[..., None] if self.embed is None else self.embed(x)
        images = self.event_ndims == 3
        require(images or self.patch == 1, "patch", "must be 1 for sequences", self.patch)
        cut = squeeze(self.patch)
        h = cut.inverse(flattened(values, 3)) if images else values
        grid = h.shape[1:-1]
        h = Dense(self.features)(h.reshape(len(h), math.prod(grid), h.shape[-1]))
        if images:
            h = Positions((h.shape[1],), self.features)(h)
        time = nn.silu(TimeEmbedding(self.features, self.num_classes, self.label_dropout)(t, label))
        for _ in range(self.layers):
            h = AdaptiveBlock(self.heads, not images, self.dropout)(h, time)
        scale, shift = modulation(2, self.features, time)
        h = (1.0 + scale) * plain_norm(h) + shift
        # An image has channels; the entry of a sequence is a number.
        numbers = (event[-1] if images else 1) * (self.num_outputs or 1)
        h = Dense(self.patch**2 * numbers, kernel_init=nn.initializers.zeros)(h)
        h = cut.forward(h.reshape(len(h), *grid, h.shape[-1])) if images else h
        each = () if self.num_outputs is None else (self.num_outputs,)
        return h.reshape(*batch, *event, *each)


class AdaptiveBlock(nn.Module):
    """h + g attention(m(h)), then h + g' MLP(m'(h)), with m(h) = (1 + a) norm(h) + b.

    a, b and the gates g are linear in the time and start at zero.
    """

    heads: int
    rotary: bool = False
    dropout: float = 0.0
    widening: int = 4

    @nn.compact
    def __call__(self, h: Array, time: Array) -> Array:
        features = h.shape[-1]
        a, b, gate, a_mlp, b_mlp, gate_mlp = modulation(6, features, time)
        noise = Dropout(self.dropout)
        added = SelfAttention(self.heads, self.rotary)((1.0 + a) * plain_norm(h) + b)
        h = h + gate * noise(added)
        wide = nn.gelu(Dense(self.widening * features)((1.0 + a_mlp) * plain_norm(h) + b_mlp))
        return h + gate_mlp * noise(Dense(features)(wide))


def modulation(parts: int, features: int, time: Array) -> list[Array]:
    """As many arrays `[B, 1, features]`, linear in the time and zero at first."""
    change = Dense(parts * features, kernel_init=nn.initializers.zeros)(time)
    return jnp.split(change[:, None], parts, -1)


def plain_norm(h: Array) -> Array:
    """(h - mean) / sqrt(variance + 1e-6) over the last axis, without parameters.

    Moments are float32 at least: squares of float16 overflow.
    """
    wide = as_float(h)
    centred = wide - wide.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return (centred * scale).astype(h.dtype)
