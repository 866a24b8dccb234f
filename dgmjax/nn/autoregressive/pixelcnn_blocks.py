"""Blocks of PixelCNN streams: the layer of gated PixelCNN, and that of PixelCNN++."""

from collections.abc import Hashable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.nn.autoregressive.causal import Pointwise
from dgmjax.nn.autoregressive.gated import gate
from dgmjax.nn.autoregressive.masked_conv import RasterConv
from dgmjax.nn.autoregressive.pixelcnn_streams import RowConv, Run
from dgmjax.nn.conditioning import AddContext
from dgmjax.nn.dropout import Dropout
from dgmjax.types import Array, PyTree


def concat_elu(x: Array) -> Array:
    """elu of x and of -x, along the last axis."""
    return nn.elu(jnp.concatenate([x, -x], -1))


class GatedBlock(nn.Module):
    """A layer of gated PixelCNN.

    a = K * v,  v' = gate(a + V c),  h' = h + W d(gate(k * h + U a + V' c))

    with K over k//2 + 1 rows and k columns, k over the k//2 + 1 pixels up to the own one, and
    d = `nn.Dropout(dropout)`.

    Attributes:
      features: of h, and of v for each group of channels.
      sites: see `nn.TwoStreams`.
      kernel_size: k, odd.
      context_features: length of the context c, 0 for none.
      dropout: rate of d, in training.

    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, Eq. 2
    and 4, Figure 2, https://arxiv.org/abs/1606.05328.
    """

    features: int
    sites: tuple[int, ...]
    kernel_size: int = 3
    context_features: int = 0
    dropout: float = 0.0

    def setup(self):
        self.noise = Dropout(self.dropout)
        odd = self.kernel_size >= 1 and self.kernel_size % 2 == 1
        require(odd, "kernel_size", "must be odd and positive", self.kernel_size)
        half, axes = self.kernel_size // 2, len(self.sites)
        wide = self.features * (self.sites[2] if axes == 3 else 1)
        self.row_conv = RowConv(2 * wide, half + 1, (half, half))
        self.to_sites = Pointwise(nn.Dense(2 * wide))
        self.conv = RasterConv(2 * self.features, self.sites, (0, 0, 0), half)
        self.out = Pointwise(nn.Dense(self.features))
        self.context = AddContext(2 * self.features, self.context_features, 0, axes)
        if self.context_features:
            self.row_context = nn.Dense(2 * wide, use_bias=False)

    def no_past(self, num: int, width: int, channels: int) -> PyTree:
        return self.row_conv.no_past(num, width, channels)

    def row_terms(self, context: Array | None) -> PyTree:
        return self.row_context(context)[:, None, None] if self.context_features else 0.0

    def rows(
        self, v: Array, skip: Array | None, past: PyTree, terms: PyTree
    ) -> tuple[Array, Array, PyTree]:
        a, past = self.row_conv(v, past)
        return gate(a + terms), self.to_sites(a), past

    def parts(self) -> dict[Hashable, Any]:
        return {"conv": self.conv, "context": self.context, "out": self.out}

    def sites_of(self, run: Run, h: Array, from_rows: Array, skip: Array | None) -> Array:
        return h + run("out", self.noise(gate(run("context", run("conv", h) + from_rows))))


class GatedResidualBlock(nn.Module):
    """A gated residual layer of PixelCNN++.

    (a, b) = K_2 * d(e(K_1 * e(x) + W e(s))) + V c,  x' = x + a sigmoid(b),  e = concat_elu

    with d = `nn.Dropout(dropout)`; for x = v with s a shortcut's v, and for x = h with s the v of
    this block and a shortcut's h.
    v is convolved over 2 rows and 3 columns, h over the 2x2 pixels that end with the own one.

    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized
    Logistic Mixture Likelihood and Other Modifications", 2017, sections 2.3 to 2.5,
    https://arxiv.org/abs/1701.05517.
    """

    features: int
    sites: tuple[int, ...]
    context_features: int = 0
    dropout: float = 0.0

    def setup(self):
        self.noise = Dropout(self.dropout)
        p, axes = self.features, len(self.sites)
        wide = p * (self.sites[2] if axes == 3 else 1)
        self.row_convs = [RowConv(wide, 2, (1, 1)), RowConv(2 * wide, 2, (1, 1))]
        self.row_skip = Pointwise(nn.Dense(wide, use_bias=False))
        self.convs = [RasterConv(size, self.sites, (1, 1, 0), 1) for size in (p, 2 * p)]
        self.aside = Pointwise(nn.Dense(p, use_bias=False))
        self.context = AddContext(2 * p, self.context_features, 0, axes)
        if self.context_features:
            self.row_context = nn.Dense(2 * wide, use_bias=False)

    def no_past(self, num: int, width: int, channels: int) -> PyTree:
        return [conv.no_past(num, width, 2 * channels) for conv in self.row_convs]

    def row_terms(self, context: Array | None) -> PyTree:
        return self.row_context(context)[:, None, None] if self.context_features else 0.0

    def rows(
        self, v: Array, skip: Array | None, past: PyTree, terms: PyTree
    ) -> tuple[Array, Array, PyTree]:
        inner, first = self.row_convs[0](concat_elu(v), past[0])
        if skip is not None:
            inner = inner + self.row_skip(concat_elu(skip))
        both, second = self.row_convs[1](self.noise(concat_elu(inner)), past[1])
        v = _gated_sum(v, both + terms)
        return v, v, [first, second]

    def parts(self) -> dict[Hashable, Any]:
        first, second = self.convs
        return {"first": first, "second": second, "aside": self.aside, "context": self.context}

    def sites_of(self, run: Run, h: Array, from_rows: Array, skip: Array | None) -> Array:
        aside = from_rows if skip is None else jnp.concatenate([from_rows, skip], -1)
        inner = run("first", concat_elu(h)) + run("aside", concat_elu(aside))
        return _gated_sum(h, run("context", run("second", self.noise(concat_elu(inner)))))


def _gated_sum(x: Array, both: Array) -> Array:
    a, b = jnp.split(both, 2, -1)
    return x + a * jax.nn.sigmoid(b)
