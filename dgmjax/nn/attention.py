"""Causal self-attention with a cache of keys and values, and learned positions.

"Attention Is All You Need" (Vaswani et al., 2017), sections 3.2 and 3.5.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.nn.causal import Chain, Pointwise, Residual, dropout_layers
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, PyTree


class Positions(nn.Module):
    """h_t + P_t with a learned vector P_t for each site t, as a causal layer: `[..., *sites, C]`.

    Attributes:
      sites: (T,), for sequences of at most T, or (H, W), ... for images.
      features: C.
    """

    sites: tuple[int, ...]
    features: int

    def setup(self):
        shape = (*self.sites, self.features)
        self.table = self.param("table", nn.initializers.normal(0.02), shape)

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        if len(self.sites) == 1:
            _check_length(h, self.sites[0])
            return h + self.table[: h.shape[-2]]
        ends = (*self.sites, self.features)
        fits = h.shape[max(h.ndim - len(ends), 0) :] == ends
        require(fits, "h", f"must end in {ends}", f"shape {h.shape}")
        return h + self.table

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        return ()

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        return carry, h + self.table.reshape(-1, self.features)[index]


class CausalAttention(nn.Module):
    """Multi-head attention in which site t looks at the sites s <= t: `[..., T, C]`.

    softmax(q_t . k_s / sqrt(C / heads))_{s <= t} v_s for each head, then a linear map. `step`
    keeps the keys and values of `length` sites: its cost grows with t as a pass's does with T.

    Attributes:
      features: C, a multiple of `heads`.
      heads: number of heads.
      length: largest T.
    """

    features: int
    heads: int
    length: int

    def setup(self):
        require(
            self.heads >= 1 and self.features % self.heads == 0,
            "features",
            f"must be a multiple of heads={self.heads}",
            self.features,
        )
        require(self.length >= 1, "length", "must be at least 1", self.length)
        self.read = Dense(3 * self.features)
        self.write = Dense(self.features)

    def _projections(self, h: Array) -> list[Array]:
        """Queries, keys and values `[..., heads, C / heads]`."""
        parts = jnp.split(self.read(h), 3, axis=-1)
        return [part.reshape(*part.shape[:-1], self.heads, -1) for part in parts]

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        _check_length(h, self.length)
        flat = h.reshape(math.prod(h.shape[:-2]), *h.shape[-2:])
        out = jax.nn.dot_product_attention(*self._projections(flat), is_causal=True)
        return self.write(out.reshape(*flat.shape[:-1], self.features)).reshape(h.shape)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        shape = (math.prod(batch_shape), self.length, self.heads, self.features // self.heads)
        return {"keys": jnp.zeros(shape), "values": jnp.zeros(shape)}

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        flat = h.reshape(-1, h.shape[-1])[:, None]
        query, key, value = self._projections(flat)
        update = jax.lax.dynamic_update_slice_in_dim
        keys = update(carry["keys"], key, index, axis=1)
        values = update(carry["values"], value, index, axis=1)
        seen = (jnp.arange(self.length) <= index)[None, None, None]
        out = jax.nn.dot_product_attention(query, keys, values, mask=seen)
        out = self.write(out.reshape(len(flat), self.features))
        return {"keys": keys, "values": values}, out.reshape(h.shape)


def transformer_block(
    features: int, heads: int, length: int, widening: int = 4, dropout: float = 0.0
) -> Chain:
    """h + attention(norm(h)), then h + MLP(norm(h)): normalisation comes first in both.

    With `dropout`, what each adds is thinned in training.

    "On Layer Normalization in the Transformer Architecture" (Xiong et al., 2020), Figure 1b.
    """
    noise = dropout_layers(dropout)
    attention = (Pointwise(nn.LayerNorm()), CausalAttention(features, heads, length))
    wide, narrow = Dense(widening * features), Dense(features)
    mlp = (Pointwise(nn.LayerNorm()), Pointwise(wide), Pointwise(nn.gelu), Pointwise(narrow))
    return Chain((Residual(Chain((*attention, *noise))), Residual(Chain((*mlp, *noise)))))


def _check_length(h: Array, length: int) -> None:
    fits = h.ndim >= 2 and h.shape[-2] <= length
    require(fits, "h", f"must be sequences [..., T, C] with T <= {length}", f"shape {h.shape}")
