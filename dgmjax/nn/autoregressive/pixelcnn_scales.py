"""Blocks of PixelCNN streams at half the resolution, between a strided and a transposed layer."""

from collections.abc import Hashable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import cond
from dgmjax.errors import require
from dgmjax.nn.autoregressive.causal import Pointwise
from dgmjax.nn.autoregressive.masked_conv import RasterConv
from dgmjax.nn.autoregressive.pixelcnn_streams import (
    RowConv,
    Run,
    carries,
    parallel,
    rows_of_blocks,
    sites_of_blocks,
    stepping,
)
from dgmjax.types import Array, PyTree


class HalvedStreams(nn.Module):
    """A block of `nn.TwoStreams` whose own blocks see every second row and column.

    V[I, J] = blocks of (K * v)[2 I, 2 J],  v'[2 I + a, 2 J + b] = W_ab V[I, J .. J + 1],
    H[I, J] = blocks of (k * h)[2 I, 2 J],  h'[2 I + a, 2 J + b] = w_ab H[I, J],  a, b in {0, 1},

    with K over 2 rows and 3 columns, k over the 2x2 pixels that end with the own one, and the
    transposed layers written as four maps each. A coarse site is a fine one that comes first among
    the four that read it, so that the order of pixels is kept. Instances nest.

    Attributes:
      features: of h, and of v for each group of channels.
      sites: those of the fine image, of even height and width.
      blocks: at half the resolution.
      shortcuts: between them, see `nn.TwoStreams`.

    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized
    Logistic Mixture Likelihood and Other Modifications", 2017, section 2.3 and Figure 2,
    https://arxiv.org/abs/1701.05517.
    """

    features: int
    sites: tuple[int, ...]
    blocks: tuple[Any, ...]
    shortcuts: tuple[int | None, ...] = ()

    def setup(self):
        wide = self.features * self._groups
        self.row_down = RowConv(wide, 2, (1, 1))
        self.row_up = RowConv(4 * wide, 1, (0, 1))
        self.down = RasterConv(self.features, self.sites, (1, 1, 0), 1)
        self.up = Pointwise(nn.Dense(4 * self.features))

    @property
    def _groups(self) -> int:
        return self.sites[2] if len(self.sites) == 3 else 1

    def no_past(self, num: int, width: int, channels: int) -> PyTree:
        even = self.sites[0] % 2 == 0 == width % 2
        require(even, "sites", "must have an even height and width", self.sites)
        wide = self.row_down.features
        return {
            "row": jnp.zeros((), jnp.int32),
            "down": self.row_down.no_past(num, width, channels),
            "blocks": [block.no_past(num, width // 2, wide) for block in self.blocks],
            "held": None,
        }

    def row_terms(self, context: Array | None) -> PyTree:
        return [block.row_terms(context) for block in self.blocks]

    def rows(
        self, v: Array, skip: Array | None, past: PyTree, terms: PyTree
    ) -> tuple[Array, PyTree, PyTree]:
        def coarse(down: Array, pasts: list) -> tuple[PyTree, list]:
            w, read, pasts = rows_of_blocks(self.blocks, self.shortcuts, down, pasts, terms)
            none = self.row_up.no_past(w.shape[0], w.shape[2], w.shape[-1])
            up, _ = self.row_up(w, none)
            return (_spread(up), read), pasts

        down, seen = self.row_down(v, past["down"])
        pasts, row = past["blocks"], past["row"]
        if v.shape[1] > 1:  # the whole image
            # Every second row and column of a plain convolution: four times the work of a strided
            # one, in one layer of many.
            (up, read), _ = coarse(down[:, ::2, ::2], pasts)
            return up, read, past
        # Of two rows the first computes those of both, which are held for the second.
        begin = lambda down, pasts, held: coarse(down[:, :, ::2], pasts)
        keep = lambda down, pasts, held: (held, pasts)
        if past["held"] is None:
            held, pasts = begin(down, pasts, None)
        else:
            held, pasts = cond(row % 2 == 0, begin, keep, down, pasts, past["held"])
        up, read = held
        state = {"row": row + 1, "down": seen, "blocks": pasts, "held": held}
        return jax.lax.dynamic_slice_in_dim(up, row % 2, 1, 1), read, state

    def parts(self) -> dict[Hashable, Any]:
        return {"all": self}

    def sites_of(self, run: Run, h: Array, from_rows: PyTree, skip: Array | None) -> Array:
        return run("all", (h, from_rows))

    def __call__(self, inputs: tuple[Array, PyTree], context: Array | None = None) -> Array:
        """h' of h and what the rows pass to the coarse sites, at all sites."""
        h, read = inputs
        runs = [parallel(block.parts(), context) for block in self.blocks]
        down = self.down(h)[:, ::2, ::2]
        out = sites_of_blocks(self.blocks, self.shortcuts, runs, down, read)
        return _spread(self.up(out))

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        """Of the layers, and h' of the two rows that the coarse row gives, by coarse site."""
        (num,) = batch_shape
        down = self.down.init_carry(batch_shape, context)
        sites = self.sites[1] // 2 * self._groups
        return {
            "down": down,
            "blocks": carries(self.blocks, num, context),
            "up": jnp.zeros((num, sites, 4 * self.features), down["sums"].dtype),
        }

    def step(
        self, carry: PyTree, inputs: tuple[Array, PyTree], index: Array
    ) -> tuple[PyTree, Array]:
        h, read = inputs
        width, groups = self.sites[1], self._groups
        row, column = index // (width * groups), index // groups % width
        place = column // 2 * groups + index % groups
        at = row // 2 * (width // 2 * groups) + place
        seen, down = self.down.step(carry["down"], h, index)

        def begin(down: Array, read: PyTree, blocks: list, up: Array) -> tuple[list, Array]:
            blocks = [dict(parts) for parts in blocks]
            runs = [stepping(b.parts(), state, at) for b, state in zip(self.blocks, blocks)]
            out = self.up(sites_of_blocks(self.blocks, self.shortcuts, runs, down, read))
            return blocks, jax.lax.dynamic_update_slice(up, out[:, None], (0, place, 0))

        keep = lambda down, read, blocks, up: (blocks, up)
        begins = (row % 2 == 0) & (column % 2 == 0)
        blocks, up = cond(begins, begin, keep, down, read, carry["blocks"], carry["up"])
        quarter = (row % 2 * 2 + column % 2) * self.features
        h = jax.lax.dynamic_slice(up, (0, place, quarter), (up.shape[0], 1, self.features))[:, 0]
        return {"down": seen, "blocks": blocks, "up": up}, h


def _spread(maps: Array) -> Array:
    """`[N, H, W, *G, 4 F] -> [N, 2 H, 2 W, *G, F]`: four maps become the sites of a square."""
    num, height, width, *groups, size = maps.shape
    maps = maps.reshape(num, height, width, *groups, 2, 2, size // 4)
    maps = jnp.moveaxis(maps, (-3, -2), (2, 4))
    return maps.reshape(num, 2 * height, 2 * width, *groups, size // 4)
