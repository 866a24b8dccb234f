"""Causal self-attention with a cache of keys and values, and encodings of position.

Sources: Vaswani et al., "Attention Is All You Need", 2017, sections 3.2 and 3.5,
https://arxiv.org/abs/1706.03762; Su et al., "RoFormer: Enhanced Transformer with Rotary Position
Embedding", 2021, section 3.2, https://arxiv.org/abs/2104.09864.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import canonicalize_dtype

from dgmjax.bijectors.carry import by_platform
from dgmjax.errors import require, require_sizes
from dgmjax.nn.autoregressive.causal import Chain, Pointwise, Residual, dropout_layers
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, PyTree

QUERIES, MOST_BLOCKS = 64, 16
"""Sites of a block of queries, and the most blocks: more take long to compile."""
Rotations = tuple[Array | np.ndarray, Array | np.ndarray]
"""Cosines and sines `[T, 1, D/2]` of the angles by which pairs turn."""


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


class Start(nn.Module):
    """h_0 + v with a learned vector v at the first site, as a causal layer: `[..., T, C]`.

    The first site of a network has read nothing, and may be zero. There the slope of a
    normalisation is 1 / sqrt(epsilon), a thousand, in every block anew, and gradients overflow.
    """

    features: int

    def setup(self):
        init = nn.initializers.normal(1.0 / math.sqrt(self.features))
        self.vector = self.param("vector", init, (self.features,))

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        return h.at[..., 0, :].add(self.vector.astype(h.dtype))

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        return ()

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        return carry, h + jnp.where(index == 0, self.vector.astype(h.dtype), 0.0)


def rotary(x: Array, sites: Array | np.ndarray, base: float = 10_000.0) -> Array:
    """Turns pairs of entries of x_t by angles that grow with t: `[..., T, heads, D]`.

    The pair (x_i, x_{i + D/2}) turns by t base^(-2i/D), for i < D/2, so that the inner product of
    a rotated q_t and a rotated k_s depends on the vectors and on t - s only (Su et al., 2021,
    Eq. 14 to 16, with the pairs half of the vector apart).

    Args:
      x: queries or keys; D is even.
      sites: `[T]`, the numbers t. Of a NumPy array, sines and cosines are constants of a program;
        of others they are computed in it, for each head and example anew.
      base: the slowest pair takes 2 pi base sites or a little less for a turn.

    >>> rotary(jnp.array([[[1.0, 0.0]]]), jnp.array([jnp.pi / 2])).round(3).tolist()
    [[[-0.0, 1.0]]]
    """
    return _turned(x, *_rotations(sites, x.shape[-1] // 2, base))


def _rotations(sites: Array | np.ndarray, half: int, base: float = 10_000.0) -> Rotations:
    """Those of the angles of these sites, NumPy's for a NumPy array."""
    xp = np if isinstance(sites, np.ndarray) else jnp
    angles = sites[:, None, None] * base ** (-np.arange(half) / half)
    return xp.cos(angles), xp.sin(angles)


def _turned(x: Array, cos: Array | np.ndarray, sin: Array | np.ndarray) -> Array:
    """The complex numbers first + i second, times cos + i sin."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


def causal_attention(query: Array, key: Array, value: Array) -> Array:
    """sum_{s <= t} softmax_s(q_t . k_s / sqrt(D)) v_s, of arrays `[N, T, heads, D]`.

    On CPUs queries go in blocks of 64 sites, each of which sees the keys up to its own last: half
    of the scores are never made, and those of a block stay in the cache. A gradient of 256 sites
    takes 0.36 of the time. Scores and their softmax are float32 at least.

    >>> values = jnp.arange(6.0).reshape(1, 3, 2, 1)
    >>> causal_attention(jnp.zeros((1, 3, 2, 1)), values, values)[0, :, 0, 0].tolist()
    [0.0, 1.0, 2.0]
    """
    length = query.shape[1]
    whole = partial(_attention_in_blocks, size=max(length, 1))
    if length <= QUERIES:
        return whole(query, key, value)
    in_blocks = partial(_attention_in_blocks, size=max(QUERIES, -(-length // MOST_BLOCKS)))
    return by_platform(in_blocks, whole, query, key, value)


def _attention_in_blocks(query: Array, key: Array, value: Array, size: int) -> Array:
    length = query.shape[1]
    query, key, value = (part.swapaxes(1, 2) for part in (query, key, value))
    parts = []
    for start in range(0, max(length, 1), size):  # one block of an empty sequence
        end = min(start + size, length)
        seen = np.arange(start, end)[:, None] >= np.arange(end)
        parts.append(attend(query[:, :, start:end], key[:, :, :end], value[:, :, :end], seen))
    return jnp.concatenate(parts, 2).swapaxes(1, 2)


def attend(query: Array, key: Array, value: Array, seen: Array | np.ndarray | None = None) -> Array:
    """sum_s softmax_s(q_t . k_s / sqrt(D)) v_s over the seen s, of arrays `[N, heads, T, D]`.

    In this layout the products of heads are products of matrices as they lie, where
    `jax.nn.dot_product_attention`, with sites before heads, copies its operands on a CPU; and the
    softmax is float32 at least, not at most.
    """
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("nhqd,nhkd->nhqk", query, key, preferred_element_type=wide)
    scores = scores / math.sqrt(query.shape[-1])
    if seen is not None:
        scores = jnp.where(seen, scores, -jnp.inf)
    weights = jax.nn.softmax(scores, -1).astype(value.dtype)
    return jnp.einsum("nhqk,nhkd->nhqd", weights, value)


class CausalAttention(nn.Module):
    """Multi-head attention in which site t looks at the sites s <= t: `[..., T, C]`.

    softmax(q_t . k_s / sqrt(C / heads))_{s <= t} v_s for each head, then a linear map. `step`
    keeps the keys and values of `length` sites: its cost grows with t, as that of a whole pass
    grows with T.
    Queries and keys are turned by `rotary`, so that each head can look a number of sites back;
    without it, h must encode positions itself (`Positions`).

    Attributes:
      features: C, a multiple of `heads`, and of twice that with `rotary`.
      heads: number of heads.
      length: largest T.
      rotary: whether queries and keys are turned by where they are.
      dtype: of the computation; that of the parameters if None.
    """

    features: int
    heads: int
    length: int
    rotary: bool = True
    dtype: jnp.dtype | None = None

    def setup(self):
        require_sizes(heads=self.heads, length=self.length)
        fold = 2 if self.rotary else 1
        rule = f"must be a multiple of {'twice ' if self.rotary else ''}`heads`, {self.heads}"
        require(self.features % (fold * self.heads) == 0, "features", rule, self.features)
        self.read = Dense(3 * self.features)
        self.write = Dense(self.features)

    @property
    def _dtype(self) -> Any:
        """Of queries, keys and values."""
        return canonicalize_dtype(self.read.variables["params"]["kernel"], dtype=self.dtype)

    def _rotations(self, length: int) -> Rotations:
        """Those of the first sites; not read where nothing turns."""
        return _rotations(np.arange(length), self.features // self.heads // 2)

    def _projections(self, h: Array, rotations: Rotations) -> tuple[Array, Array, Array]:
        """Queries, keys and values `[N, T, heads, C / heads]` of sites with these rotations."""
        parts = self.read(h).astype(self._dtype)
        parts = parts.reshape(*h.shape[:-1], 3, self.heads, self.features // self.heads)
        query, key, value = (parts[..., i, :, :] for i in range(3))
        if self.rotary:
            query, key = _turned(query, *rotations), _turned(key, *rotations)
        return query, key, value

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        _check_length(h, self.length)
        flat = h.reshape(math.prod(h.shape[:-2]), *h.shape[-2:])
        out = causal_attention(*self._projections(flat, self._rotations(flat.shape[1])))
        return self.write(out.reshape(*flat.shape[:-1], self.features)).reshape(h.shape)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        # Heads before sites: a product over sites then reads the cache as it lies. With sites first
        # a CPU copies all of it at every step, which took four times as long.
        shape = (math.prod(batch_shape), self.heads, self.length, self.features // self.heads)
        return {name: jnp.zeros(shape, self._dtype) for name in ("keys", "values")}

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        flat = h.reshape(-1, h.shape[-1])[:, None]
        cos, sin = (jnp.asarray(table)[index] for table in self._rotations(self.length))
        parts = self._projections(flat, (cos, sin))
        query, key, value = (part.swapaxes(1, 2) for part in parts)
        # Keys are kept as turned: their angle is that of their own site, whoever looks at them
        # later.
        update = jax.lax.dynamic_update_slice_in_dim
        keys = update(carry["keys"], key, index, axis=2)
        values = update(carry["values"], value, index, axis=2)
        # Later places hold zeros, which a softmax would not ignore.
        out = attend(query, keys, values, jnp.arange(self.length) <= index)
        out = self.write(out.reshape(len(flat), self.features))
        return {"keys": keys, "values": values}, out.reshape(h.shape)


def transformer_block(
    features: int,
    heads: int,
    length: int,
    widening: int = 4,
    dropout: float = 0.0,
    rotary: bool = True,
) -> Chain:
    """h + attention(norm(h)), then h + MLP(norm(h)): normalisation comes first in both.

    With `dropout`, what each adds is thinned in training.

    Source: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020,
    Figure 1b, https://arxiv.org/abs/2002.04745.
    """
    noise = dropout_layers(dropout)
    attention = (Pointwise(nn.LayerNorm()), CausalAttention(features, heads, length, rotary))
    wide, narrow = Dense(widening * features), Dense(features)
    mlp = (Pointwise(nn.LayerNorm()), Pointwise(wide), Pointwise(nn.gelu), Pointwise(narrow))
    return Chain((Residual(Chain((*attention, *noise))), Residual(Chain((*mlp, *noise)))))


def _check_length(h: Array, length: int) -> None:
    fits = h.ndim >= 2 and h.shape[-2] <= length
    require(fits, "h", f"must be sequences [..., T, C] with T <= {length}", f"shape {h.shape}")
