"""Self-attention in which every site looks at every site."""

import flax.linen as nn
import numpy as np

from dgmjax.errors import require, require_sizes
from dgmjax.nn.autoregressive.attention import attend, rotary
from dgmjax.nn.dense import Dense
from dgmjax.types import Array


class SelfAttention(nn.Module):
    """Multi-head attention over the sites of `h[B, T, C]`, then a linear map: `[B, T, C]`.

    softmax_s(q_t . k_s / sqrt(C / heads)) v_s for each head. `nn.CausalAttention` is the one that
    looks back only.

    Attributes:
      heads: number of heads, a divisor of C.
      rotary: turn queries and keys by where they are (`nn.rotary`); else h tells positions.
      zero_output: start with an output of zero.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2,
    https://arxiv.org/abs/1706.03762.
    """

    heads: int = 1
    rotary: bool = False
    zero_output: bool = False

    @nn.compact
    def __call__(self, h: Array) -> Array:
        features = h.shape[-1]
        require_sizes(heads=self.heads)
        fold = self.heads * (2 if self.rotary else 1)
        rule = f"must divide the features, {features}" + ", twice" * self.rotary
        require(features % fold == 0, "heads", rule, self.heads)
        parts = Dense(3 * features)(h).reshape(*h.shape[:2], 3, self.heads, features // self.heads)
        query, key, value = (parts[:, :, i] for i in range(3))
        if self.rotary:
            sites = np.arange(h.shape[1])
            query, key = rotary(query, sites), rotary(key, sites)
        out = attend(*(part.swapaxes(1, 2) for part in (query, key, value))).swapaxes(1, 2)
        init = nn.initializers.zeros if self.zero_output else nn.initializers.lecun_normal()
        return Dense(features, kernel_init=init)(out.reshape(h.shape))
