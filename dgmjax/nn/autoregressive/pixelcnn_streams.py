"""PixelCNN streams: one stack of features reads the rows above, the other also its own row.

The first has no blind spot, the second reads the first. Gated PixelCNN and PixelCNN++ are two
kinds of block. The rows' stream is evaluated a row at a time, when the row begins; the sites'
stream a site at a time.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from dgmjax.bijectors.carry import cond
from dgmjax.errors import require
from dgmjax.nn.autoregressive.causal import Pointwise
from dgmjax.nn.autoregressive.gated import gate
from dgmjax.nn.autoregressive.masked_conv import RasterConv, convolve
from dgmjax.nn.conditioning import AddContext
from dgmjax.nn.dropout import Dropout
from dgmjax.types import Array, PyTree

Run = Callable[[Hashable, Array], Array]


class RowConv(nn.Module):
    """Convolution that reads the rows i - rows + 1 .. i and the columns j - left .. j + right.

    `rows_of(v[N, R, W, C], past[N, rows - 1, W, C])` returns the output of the R rows and the
    next `past`: the whole image at once, and one row after another, are the same call. It computes
    in `dtype`, and where that is None, in that of the parameters.
    """

    features: int
    rows: int
    columns: tuple[int, int]
    dtype: jnp.dtype | None = None

    @nn.compact
    def _params(self, channels: int) -> list[Any]:
        shape = (self.rows, sum(self.columns) + 1, channels, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return promote_dtype(kernel, bias, dtype=self.dtype)

    def __call__(self, v: Array, past: Array) -> tuple[Array, Array]:
        kernel, bias = self._params(v.shape[-1])
        seen = jnp.concatenate([past, v.astype(kernel.dtype)], 1)
        out = convolve(seen, kernel, (0, 0), self.columns) + bias
        return out, seen[:, seen.shape[1] - self.rows + 1 :]

    def no_past(self, num: int, width: int, channels: int) -> Array:
        """The rows above the image: zeros."""
        dtype = self._params(channels)[0].dtype
        return jnp.zeros((num, self.rows - 1, width, channels), dtype)


class StreamBlock(Protocol):
    """One block of both streams; v are features of rows, h of sites (or maps of sites)."""

    def no_past(self, num: int, width: int, channels: int) -> PyTree:
        """The state of `rows` above the image, for `channels` features per pixel."""

    def row_terms(self, context: Array | None) -> PyTree:
        """The terms of a context `[N, C]` in `rows`."""

    def rows(
        self, v: Array, skip: Array | None, past: PyTree, terms: PyTree
    ) -> tuple[Array, Array, PyTree]:
        """(v, its features for the sites, past) for R rows; `skip` is the v of a shortcut."""

    def parts(self) -> dict[Hashable, Any]:
        """The causal layers of the sites' stream by name."""

    def sites_of(self, run: Run, h: Array, from_rows: Array, skip: Array | None) -> Array:
        """h, given how to run a part."""


class TwoStreams(nn.Module):
    """A strict causal layer over images that runs the blocks of both streams.

    v_0[i] = row_first(rows < i),  h_0[i, j] = site_first(pixels before (i, j));
    (v, r) = block.rows(v),  h = block.sites_of(h, r) for every block; the output is h.

    With `sites` (H, W, G) each channel of a pixel is a site, as in `nn.RasterConv`; v then holds
    the features of all groups.

    Attributes:
      row_first: of the rows above.
      site_first: a strict layer.
      blocks: see `StreamBlock`.
      shortcuts: the blocks of the second half read the outputs of those of the first, the
        nearest first.
    """

    sites: tuple[int, ...]
    row_first: RowConv
    site_first: RasterConv
    blocks: tuple[Any, ...]
    shortcuts: bool = False

    @property
    def _groups(self) -> int:
        return self.sites[2] if len(self.sites) == 3 else 1

    def _shortcut(self, block: int) -> int | None:
        """The block whose output this one reads."""
        half = len(self.blocks) // 2
        return len(self.blocks) - 1 - block if self.shortcuts and block >= half else None

    def _rows(self, e: Array, pasts: list, terms: list) -> tuple[list[Array], list]:
        """Features of each block for the sites of R rows; `e[N, R, W, C]` are the rows above."""
        first, *rest = pasts
        v, first = self.row_first(e, first)
        outputs: list[Array] = []
        read, new = [], [first]
        for i, block in enumerate(self.blocks):
            source = self._shortcut(i)
            skip = None if source is None else outputs[source]
            v, r, past = block.rows(v, skip, rest[i], terms[i])
            outputs.append(v)
            read.append(r)
            new.append(past)
        return read, new

    def _sites(self, runs: list[Run], h: Array, read: list[Array]) -> Array:
        outputs: list[Array] = []
        for i, block in enumerate(self.blocks):
            source = self._shortcut(i)
            skip = None if source is None else outputs[source]
            h = block.sites_of(runs[i], h, read[i], skip)
            outputs.append(h)
        return h

    def _no_pasts(self, num: int, channels: int) -> list:
        width = self.sites[1]
        first = self.row_first.no_past(num, width, channels)
        wide = self.row_first.features
        return [first, *(block.no_past(num, width, wide) for block in self.blocks)]

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        require(
            not self.shortcuts or len(self.blocks) % 2 == 0,
            "blocks",
            "must be even in number with `shortcuts`",
            len(self.blocks),
        )
        batch, height, width = h.shape[: -1 - len(self.sites)], *self.sites[:2]
        num = math.prod(batch)
        h = h.reshape(num, *self.sites, h.shape[-1])
        context = _flat(context, batch)
        e = h.reshape(num, height, width, self._groups * h.shape[-1])
        # Moved down by one: the rows' stream at row i has read the rows before it. What follows may
        # then read its own row of features.
        above = jnp.pad(e[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
        terms = [block.row_terms(context) for block in self.blocks]
        read, _ = self._rows(above, self._no_pasts(num, e.shape[-1]), terms)
        read = [r.reshape(num, *self.sites, r.shape[-1] // self._groups) for r in read]
        runs = [_parallel(block.parts(), context) for block in self.blocks]
        h = self._sites(runs, self.site_first(h, context), read)
        return h.reshape(*batch, *self.sites, h.shape[-1])

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        num, width = math.prod(batch_shape), self.sites[1]
        context = _flat(context, batch_shape)
        channels: int = self.row_first.get_variable("params", "kernel").shape[2]
        pasts = self._no_pasts(num, channels)
        terms = [block.row_terms(context) for block in self.blocks]
        row = jnp.zeros((num, 1, width, channels), pasts[0].dtype)
        # Shapes only: the first step computes the numbers.
        read = jax.eval_shape(lambda: self._rows(row, pasts, terms)[0])
        return {
            "row": row,
            "pasts": pasts,
            "terms": terms,
            "read": [jnp.zeros(r.shape, r.dtype) for r in read],
            "first": self.site_first.init_carry((num,), context),
            "blocks": [
                {name: part.init_carry((num,), context) for name, part in block.parts().items()}
                for block in self.blocks
            ],
        }

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        width, groups = self.sites[1], self._groups
        batch = h.shape[:-1]
        h = h.reshape(-1, h.shape[-1]).astype(carry["row"].dtype)
        before = jnp.maximum(index - 1, 0)
        start = (0, 0, before // groups % width, before % groups * h.shape[-1])
        row = jax.lax.dynamic_update_slice(carry["row"], h[:, None, None], start)
        begins = index % (width * groups) == 0
        new = lambda row, pasts, read: self._rows(row, pasts, carry["terms"])
        keep = lambda row, pasts, read: (read, pasts)
        # At the first site of a row, `row` holds the whole row before it, whose last site was
        # written just now.
        read, pasts = cond(begins, new, keep, row, carry["pasts"], carry["read"])
        first, h = self.site_first.step(carry["first"], h, index)
        column, group = index // groups % width, index % groups
        at_site = []
        for r in read:
            size = r.shape[-1] // groups
            begin = (0, 0, column, group * size)
            part = jax.lax.dynamic_slice(r, begin, (len(h), 1, 1, size))
            at_site.append(part.reshape(len(h), size))
        blocks = [dict(parts) for parts in carry["blocks"]]
        runs = [_stepping(b.parts(), state, index) for b, state in zip(self.blocks, blocks)]
        h = self._sites(runs, h, at_site)
        carry = {**carry, "row": row, "pasts": pasts, "read": read, "first": first}
        return {**carry, "blocks": blocks}, h.reshape(*batch, h.shape[-1])


def _parallel(parts: dict[Hashable, Any], context: Array | None) -> Run:
    return lambda name, h: parts[name](h, context)


def _stepping(parts: dict[Hashable, Any], state: dict, index: Array) -> Run:
    """Runs a part at one site, and leaves its new carry in `state`."""

    def run(name: Hashable, h: Array) -> Array:
        state[name], out = parts[name].step(state[name], h, index)
        return out

    return run


def _flat(context: Array | None, batch: tuple[int, ...]) -> Array | None:
    """`[N, C]`, one row per example."""
    if context is None:
        return None
    return jnp.broadcast_to(context, (*batch, context.shape[-1])).reshape(-1, context.shape[-1])


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
