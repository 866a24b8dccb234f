"""Row LSTM and Diagonal BiLSTM: recurrent causal layers over images.

Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
sections 3.1 and 3.2, https://arxiv.org/abs/1601.06759.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import cond, scan
from dgmjax.errors import require
from dgmjax.nn.autoregressive.masked_conv import RasterConv
from dgmjax.nn.dense import Dense
from dgmjax.nn.recurrent import lstm_bias, lstm_update
from dgmjax.types import Array, PyTree


class RowLSTM(nn.Module):
    """An LSTM from row to row: `[..., H, W, C]` to `[..., H, W, F]`, one row at a time.

    gates_{i,j} = b + sum_{d<=0} K_d x_{i,j+d} + sum_d R_d h_{i-1,j+d},  |d| <= kernel_size // 2;
    the cell of site (i, j) follows from that of (i - 1, j). The input-to-state convolution is
    masked (type B) and computed for the whole image at once. The receptive field is the triangle
    above a site.

    Attributes:
      features: F.
      sites: (H, W).
      kernel_size: of both convolutions along the row, odd.
    """

    features: int
    sites: tuple[int, ...]
    kernel_size: int = 3

    def setup(self):
        _check_sites(self.features, self.sites)
        odd = self.kernel_size % 2 == 1 and self.kernel_size >= 1
        require(odd, "kernel_size", "must be odd and positive", self.kernel_size)
        self.half = self.kernel_size // 2
        wide = 4 * self.features
        self.inputs = RasterConv(wide, self.sites, (0, 0, 0), self.half, use_bias=False)
        self.bias = self.param("bias", lstm_bias, (wide,))
        init, shape = nn.initializers.lecun_normal(), (self.kernel_size * self.features, wide)
        self.kernel = self.param("kernel", init, shape)

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        height, width = self.sites
        gates = self.inputs(h) + self.bias
        gates = jnp.moveaxis(gates.reshape(-1, height, width, gates.shape[-1]), 1, 0)
        padding = ((0, 0), (self.half, self.half), (0, 0))

        def row(state: tuple[Array, Array], gates: Array) -> tuple[tuple[Array, Array], Array]:
            above = jnp.pad(state[0], padding)
            taps = [above[:, d : d + width] for d in range(self.kernel_size)]
            state = lstm_update(gates + jnp.concatenate(taps, -1) @ self.kernel, state[1])
            return state, state[0]

        zeros = jnp.zeros((*gates.shape[1:3], self.features))
        _, out = scan(row, (zeros, zeros), gates)
        return jnp.moveaxis(out, 0, 1).reshape(*h.shape[:-1], self.features)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        """Two rows of hidden units with margins, and one of cells."""
        num, width = math.prod(batch_shape), self.sites[1]
        units = jnp.zeros((num, width + 2 * self.half, self.features))
        return {
            "inputs": self.inputs.init_carry(batch_shape, context),
            "above": units,
            "row": units,
            "cells": jnp.zeros((num, width, self.features)),
        }

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        slices, update = jax.lax.dynamic_slice_in_dim, jax.lax.dynamic_update_slice_in_dim
        inputs, gates = self.inputs.step(carry["inputs"], h, index)
        column = index % self.sites[1]
        # A row of cells suffices: that of (i - 1, j) is read at the moment when (i, j) replaces it.
        # Hidden units need two, since neighbours to the right are read as well.
        above = jnp.where(column == 0, carry["row"], carry["above"])
        window = slices(above, column, self.kernel_size, 1)
        window = window.reshape(len(above), len(self.kernel)) @ self.kernel
        total = gates.reshape(window.shape) + self.bias + window
        new, cell = lstm_update(total, slices(carry["cells"], column, 1, 1)[:, 0])
        carry = {
            "inputs": inputs,
            "above": above,
            "row": update(carry["row"], new[:, None], column + self.half, 1),
            "cells": update(carry["cells"], cell[:, None], column, 1),
        }
        return carry, new.reshape(*h.shape[:-1], self.features)


class DiagonalBiLSTM(nn.Module):
    """Two LSTMs that sweep the image by diagonals: `[..., H, W, C]` to `[..., H, W, F]`.

    The left one reads h_{i-1,j} and h_{i,j-1}, and its cell comes from (i, j - 1):
    gates_{i,j} = b + K x_{i,j} + R (h_{i-1,j}, h_{i,j-1}). The right one is its mirror image; it
    reads the whole row, so its output goes to the row below. Their sum sees the features of every
    site before (i, j), and of the site itself; which pixels these hold is up to the layers before
    (see `models.DiagonalBiLSTM`). The sites of a diagonal are computed at once, in a map that is
    skewed: row i moves right by i.

    Attributes:
      features: F.
      sites: (H, W).
    """

    features: int
    sites: tuple[int, ...]

    def setup(self):
        _check_sites(self.features, self.sites)
        wide, init = 4 * self.features, nn.initializers.lecun_normal()
        self.left, self.right = (Dense(wide, bias_init=lstm_bias) for _ in range(2))
        shape = (2 * self.features, wide)
        self.left_kernel = self.param("left_kernel", init, shape)
        self.right_kernel = self.param("right_kernel", init, shape)

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        maps = h.reshape(-1, *self.sites, h.shape[-1])
        out = _diagonal_sweep(self.left(maps), self.left_kernel)
        right = _diagonal_sweep(self.right(maps[:, :, ::-1]), self.right_kernel)[:, :, ::-1]
        # The right sweep has seen the whole of a row, so it may reach the row below only.
        out = out + jnp.pad(right[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
        return out.reshape(*h.shape[:-1], self.features)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        """Rows of hidden units: left of the row above and of this one, right of the row above."""
        num, width, zeros = math.prod(batch_shape), self.sites[1], jnp.zeros
        row, one = zeros((num, width, self.features)), zeros((num, self.features))
        channels = self.left.variables["params"]["kernel"].shape[0]
        rows = {"above": row, "row": row, "right": row}
        return {**rows, "state": (one, one), "inputs": zeros((num, width, channels))}

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        flat, column = h.reshape(-1, h.shape[-1]), index % self.sites[1]
        at = lambda row: jax.lax.dynamic_index_in_dim(row, column, 1, keepdims=False)
        update = jax.lax.dynamic_update_slice_in_dim
        first = column == 0
        above = jnp.where(first, carry["row"], carry["above"])
        before, cell = (jnp.where(first, 0.0, state) for state in carry["state"])
        gates = self.left(flat) + jnp.concatenate([at(above), before], -1) @ self.left_kernel
        state = lstm_update(gates, cell)
        keep = lambda inputs, right: right
        finished = first & (index > 0)  # the row above is known now, and with it the right sweep
        right = cond(finished, self._right_row, keep, carry["inputs"], carry["right"])
        carry = {
            "above": above,
            "row": update(carry["row"], state[0][:, None], column, 1),
            "state": state,
            "right": right,
            "inputs": update(carry["inputs"], flat[:, None].astype(above.dtype), column, 1),
        }
        return carry, (state[0] + at(right)).reshape(*h.shape[:-1], self.features)

    def _right_row(self, inputs: Array, above: Array) -> Array:
        """One row of the right sweep `[N, W, F]`, from its inputs and the row above."""
        gates = jnp.moveaxis(self.right(inputs), 1, 0)

        def site(state: tuple[Array, Array], parts: tuple[Array, Array]):
            gates, above = parts
            total = gates + jnp.concatenate([above, state[0]], -1) @ self.right_kernel
            state = lstm_update(total, state[1])
            return state, state[0]

        zeros = jnp.zeros_like(above[:, 0])
        parts = (gates, jnp.moveaxis(above, 1, 0))
        return jnp.moveaxis(scan(site, (zeros, zeros), parts, reverse=True)[1], 0, 1)


def _diagonal_sweep(gates: Array, kernel: Array) -> Array:
    """The left LSTM over all diagonals, `[N, H, W, 4 F]` to `[N, H, W, F]`."""
    _, height, width, _ = gates.shape
    # Site (i, j) stands in column i + j, and both of its predecessors, (i - 1, j) and (i, j - 1),
    # in the column before: row i - 1 and row i of the last state.
    diagonals = jnp.arange(height + width - 1)
    inside = diagonals[:, None] - jnp.arange(height)[None, :] >= 0

    def diagonal(state: tuple[Array, Array], parts: tuple[Array, Array]):
        gates, inside = parts
        above = jnp.pad(state[0][:, :-1], ((0, 0), (1, 0), (0, 0)))
        total = gates + jnp.concatenate([above, state[0]], -1) @ kernel
        # Before the first column of a row its state stays zero.
        new, cell = (inside[:, None] * part for part in lstm_update(total, state[1]))
        return (new, cell), new

    zeros = jnp.zeros((*gates.shape[:2], gates.shape[-1] // 4))
    _, out = scan(diagonal, (zeros, zeros), (jnp.moveaxis(_skew(gates), 2, 0), inside))
    return _unskew(jnp.moveaxis(out, 0, 2), width)


def _skew(maps: Array) -> Array:
    """Row i moved right by i: `[N, H, W, C]` to `[N, H, H + W - 1, C]`, zeros around."""
    num, height, width, channels = maps.shape
    wide = jnp.pad(maps, ((0, 0), (0, 0), (0, height), (0, 0)))
    # Rows of W + H numbers read as rows of W + H - 1: number i (W + H) + j is i (W + H - 1) + (i +
    # j), so that row i has moved right by i, without a gather.
    flat = wide.reshape(num, height * (width + height), channels)
    length = width + height - 1
    return flat[:, : height * length].reshape(num, height, length, channels)


def _unskew(skewed: Array, width: int) -> Array:
    num, height, length, channels = skewed.shape
    flat = skewed.reshape(num, height * length, channels)
    flat = jnp.pad(flat, ((0, 0), (0, height), (0, 0)))
    return flat.reshape(num, height, length + 1, channels)[:, :, :width]


def _check_sites(features: int, sites: tuple[int, ...]) -> None:
    require(features >= 1, "features", "must be at least 1", features)
    fits = len(sites) == 2 and min(sites) >= 1
    require(fits, "sites", "must be (height, width)", sites)
