"""PixelCNN streams: one stack of features reads the rows above, the other also its own row.

The first has no blind spot, the second reads the first. Gated PixelCNN and PixelCNN++ are two
kinds of block, and blocks at half the resolution a third. The rows' stream is evaluated a row at a
time, when the row begins; the sites' stream a site at a time.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from dgmjax.bijectors.carry import cond
from dgmjax.errors import require
from dgmjax.nn.autoregressive.masked_conv import RasterConv, convolve
from dgmjax.types import Array, PyTree

Run = Callable[[Hashable, Any], Array]


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
        """The state of `rows` above the image, zeros, for `channels` features per pixel.

        The state that `rows` returns may hold more.
        """

    def row_terms(self, context: Array | None) -> PyTree:
        """The terms of a context `[N, C]` in `rows`."""

    def rows(
        self, v: Array, skip: Array | None, past: PyTree, terms: PyTree
    ) -> tuple[Array, PyTree, PyTree]:
        """(v, its features for the sites, past) for R rows; `skip` is the v of a shortcut.

        The whole image is passed at once, or one row.
        """

    def parts(self) -> dict[Hashable, Any]:
        """The causal layers of the sites' stream by name."""

    def sites_of(self, run: Run, h: Array, from_rows: PyTree, skip: Array | None) -> Array:
        """h, given how to run a part."""


def mirrored(early: int, late: int, between: int = 0) -> tuple[int | None, ...]:
    """Shortcuts of `early` blocks, `between` without any, and `late`: the nearest first.

    The outputs that they name are counted from 1, and 0 is what the first block reads.

    >>> mirrored(2, 3, between=1)
    (None, None, None, 2, 1, 0)
    """
    return (None,) * (early + between) + tuple(early - k for k in range(late))


def sources_of(blocks: Sequence[Any], shortcuts: Sequence[int | None]) -> Sequence[int | None]:
    """The shortcut of each block; none where there are no shortcuts."""
    rule = f"must have an entry for each of the {len(blocks)} blocks, or be empty"
    require(len(shortcuts) in (0, len(blocks)), "shortcuts", rule, shortcuts)
    return shortcuts or (None,) * len(blocks)


def rows_of_blocks(
    blocks: Sequence[Any], shortcuts: Sequence[int | None], v: Array, pasts: list, terms: list
) -> tuple[Array, list[PyTree], list]:
    """v after all blocks, what each passes to the sites, and their states."""
    outputs, read, new, sources = [v], [], [], sources_of(blocks, shortcuts)
    for block, source, past, term in zip(blocks, sources, pasts, terms):
        v, r, past = block.rows(v, None if source is None else outputs[source], past, term)
        outputs.append(v)
        read.append(r)
        new.append(past)
    return v, read, new


def sites_of_blocks(
    blocks: Sequence[Any],
    shortcuts: Sequence[int | None],
    runs: list[Run],
    h: Array,
    read: list[PyTree],
) -> Array:
    """h after all blocks, given how to run the parts of each."""
    outputs, sources = [h], sources_of(blocks, shortcuts)
    for block, source, run, r in zip(blocks, sources, runs, read):
        h = block.sites_of(run, h, r, None if source is None else outputs[source])
        outputs.append(h)
    return h


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
      shortcuts: for each block the earlier output that it reads too, see `mirrored`; none if empty.
    """

    sites: tuple[int, ...]
    row_first: RowConv
    site_first: RasterConv
    blocks: tuple[Any, ...]
    shortcuts: tuple[int | None, ...] = ()

    @property
    def _groups(self) -> int:
        return self.sites[2] if len(self.sites) == 3 else 1

    def _rows(self, e: Array, pasts: list, terms: list) -> tuple[list[PyTree], list]:
        """Features of each block for the sites of R rows; `e[N, R, W, C]` are the rows above."""
        v, first = self.row_first(e, pasts[0])
        _, read, rest = rows_of_blocks(self.blocks, self.shortcuts, v, pasts[1:], terms)
        return read, [first, *rest]

    def _no_pasts(self, num: int, channels: int) -> list:
        width = self.sites[1]
        first = self.row_first.no_past(num, width, channels)
        wide = self.row_first.features
        return [first, *(block.no_past(num, width, wide) for block in self.blocks)]

    def __call__(self, h: Array, context: Array | None = None) -> Array:
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
        split = lambda r: r.reshape(*r.shape[:3], *self.sites[2:], r.shape[-1] // self._groups)
        read = jax.tree.map(split, read)
        runs = [parallel(block.parts(), context) for block in self.blocks]
        h = sites_of_blocks(self.blocks, self.shortcuts, runs, self.site_first(h, context), read)
        return h.reshape(*batch, *self.sites, h.shape[-1])

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        num, width = math.prod(batch_shape), self.sites[1]
        context = _flat(context, batch_shape)
        channels: int = self.row_first.get_variable("params", "kernel").shape[2]
        pasts = self._no_pasts(num, channels)
        terms = [block.row_terms(context) for block in self.blocks]
        row = jnp.zeros((num, 1, width, channels), pasts[0].dtype)
        # Shapes only: the first step computes the numbers. A block may hold more after a row than
        # it does above the image, where all is zero.
        shapes = jax.eval_shape(lambda: self._rows(row, pasts, terms))
        read, pasts = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return {
            "row": row,
            "pasts": pasts,
            "terms": terms,
            "read": read,
            "first": self.site_first.init_carry((num,), context),
            "blocks": carries(self.blocks, num, context),
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

        def at_site(r: Array) -> Array:  # of a map of this width, or a coarser one
            size = r.shape[-1] // groups
            begin = (0, 0, column // (width // r.shape[2]), group * size)
            return jax.lax.dynamic_slice(r, begin, (len(h), 1, 1, size)).reshape(len(h), size)

        blocks = [dict(parts) for parts in carry["blocks"]]
        runs = [stepping(b.parts(), state, index) for b, state in zip(self.blocks, blocks)]
        h = sites_of_blocks(self.blocks, self.shortcuts, runs, h, jax.tree.map(at_site, read))
        carry = {**carry, "row": row, "pasts": pasts, "read": read, "first": first}
        return {**carry, "blocks": blocks}, h.reshape(*batch, h.shape[-1])


def parallel(parts: dict[Hashable, Any], context: Array | None) -> Run:
    """Runs a part at all sites."""
    return lambda name, h: parts[name](h, context)


def stepping(parts: dict[Hashable, Any], state: dict, index: Array) -> Run:
    """Runs a part at one site, and leaves its new carry in `state`."""

    def run(name: Hashable, h: Any) -> Array:
        state[name], out = parts[name].step(state[name], h, index)
        return out

    return run


def carries(blocks: Sequence[Any], num: int, context: Array | None) -> list[dict]:
    """What the parts of each block hold before the first site."""
    return [
        {name: part.init_carry((num,), context) for name, part in block.parts().items()}
        for block in blocks
    ]


def _flat(context: Array | None, batch: tuple[int, ...]) -> Array | None:
    """`[N, C]`, one row per example."""
    if context is None:
        return None
    return jnp.broadcast_to(context, (*batch, context.shape[-1])).reshape(-1, context.shape[-1])
