"""Two-dimensional convolutions that read what comes before a pixel in raster order.

There are no masks: only the live taps exist and are computed, as a block of rows above and a piece
of the pixel's own row (a masked 7x7 kernel has 25 live taps of 49).

Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
section 3.4 and Figure 2, https://arxiv.org/abs/1601.06759.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from dgmjax.bijectors.carry import cond
from dgmjax.errors import require
from dgmjax.nn.convolution import convolution
from dgmjax.types import Array, PyTree


class RasterConv(nn.Module):
    """y[i, j] = b + sum over rows above and columns near j, and over h[i, j - left .. j].

    `h[*batch, H, W, C] -> [*batch, H, W, features]`. With three axes in `sites`, (H, W, G), each
    channel of a pixel is a site of its own, `h[*batch, H, W, G, C]`: pixels before are read in
    all their G groups, the pixel itself in the groups up to g (R, then G, then B).

    Attributes:
      features: outputs of a site.
      sites: (H, W) or (H, W, G).
      above: (rows, left, right), the block above: `rows` rows, columns j - left .. j + right.
      left: pixels to the left in the own row.
      centre: read the site itself; without it the layer is strict (type A).
      use_bias: add b.
      dtype: of the computation; that of the parameters if None.
    """

    features: int
    sites: tuple[int, ...]
    above: tuple[int, int, int]
    left: int
    centre: bool = True
    use_bias: bool = True
    dtype: jnp.dtype | None = None

    @property
    def _groups(self) -> int:
        return self.sites[2] if len(self.sites) == 3 else 1

    @nn.compact
    def _params(self, channels: int) -> dict[str, Array]:
        """The kernel's pieces: `above`, `left`, one `centre_g` a group, and `bias` (or 0)."""
        groups, (rows, left, right) = self._groups, self.above
        wide, out = groups * channels, groups * self.features
        # Group g reads the pixel's own channels of the groups before it, and with the centre its
        # own.
        seen = [(g + self.centre) * channels for g in range(groups)]
        taps = rows * (left + 1 + right) + self.left
        fan_in = max(taps * wide + sum(seen) / groups, 1)
        init = nn.initializers.normal(fan_in**-0.5)
        shapes = {
            "above": (rows, left + 1 + right, wide, out),
            "left": (1, self.left, wide, out),
            **{f"centre_{g}": (seen[g], self.features) for g in range(groups)},
        }
        shapes = {name: shape for name, shape in shapes.items() if math.prod(shape)}
        params: dict[str, Any] = {k: self.param(k, init, shape) for k, shape in shapes.items()}
        zeros = nn.initializers.zeros
        params["bias"] = self.param("bias", zeros, (out,)) if self.use_bias else 0.0
        return dict(zip(params, promote_dtype(*params.values(), dtype=self.dtype)))

    def _check(self, h: Array) -> None:
        require(
            len(self.sites) in (2, 3) and min(self.sites) >= 1,
            "sites",
            "must be (height, width) or (height, width, groups)",
            self.sites,
        )
        require(
            min(*self.above, self.left) >= 0, "above", "and `left` must not be negative", self.above
        )
        rank = len(self.sites)
        require(
            h.ndim > rank and tuple(h.shape[-1 - rank : -1]) == self.sites,
            "h",
            f"must have the shape [..., {', '.join(map(str, self.sites))}, C]",
            f"shape {h.shape}",
        )

    def _row_kernel(self, params: dict[str, Array]) -> Array | None:
        """The piece of the own row, `[1, taps, G C, G features]`, with the centre if G = 1."""
        kernels = [params["left"]] if "left" in params else []
        if self._groups == 1 and self.centre:
            kernels.append(params["centre_0"][None, None])
        return jnp.concatenate(kernels, 1) if kernels else None

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        self._check(h)
        height, width = self.sites[:2]
        rows, left, right = self.above
        params = self._params(h.shape[-1])
        out = params["bias"]
        maps = h.reshape(-1, height, width, self._groups * h.shape[-1]).astype(out.dtype)
        if "above" in params and height > 1:
            # Row i gets what ends with row i - 1: convolved without the last row, and moved down by
            # one.
            new = convolve(maps[:, :-1], params["above"], (rows - 1, 0), (left, right))
            out = out + jnp.pad(new, ((0, 0), (1, 0), (0, 0), (0, 0)))
        row = self._row_kernel(params)
        if row is not None:
            out = out + self._row(maps, row)
        out = jnp.broadcast_to(out, (maps.shape[0], height, width, self._groups * self.features))
        if self._groups > 1:
            out = out + self._centre(maps, params)
        return out.reshape(*h.shape[:-1], self.features)

    def _row(self, maps: Array, kernel: Array) -> Array:
        """The convolution along the rows, `[N, H, W, C] -> [N, H, W, features]`."""
        # Likewise along the row: without the last pixel, and moved right by one.
        if kernel.shape[1] == self.left:  # without the centre
            if maps.shape[2] == 1:
                return jnp.zeros((*maps.shape[:-1], kernel.shape[-1]), maps.dtype)
            out = convolve(maps[:, :, :-1], kernel, (0, 0), (self.left - 1, 0))
            return jnp.pad(out, ((0, 0), (0, 0), (1, 0), (0, 0)))
        if self.left:
            return convolve(maps, kernel, (0, 0), (self.left, 0))
        out = maps.reshape(-1, maps.shape[-1]) @ kernel[0, 0]  # faster than a 1x1 convolution
        return out.reshape(*maps.shape[:-1], kernel.shape[-1])

    def _centre(self, pixels: Array, params: dict[str, Array]) -> Array:
        """The part of the output from the own pixel, `[..., G C] -> [..., G features]`."""
        parts = []
        for g in range(self._groups):
            kernel = params.get(f"centre_{g}")
            if kernel is None:
                parts.append(jnp.zeros((*pixels.shape[:-1], self.features), pixels.dtype))
            else:
                parts.append(pixels[..., : len(kernel)] @ kernel)
        return jnp.concatenate(parts, -1)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        """The rows above, the own row, the contribution of the rows above to it, and its kernel.

        Linear in the receptive field: the last rows only. The kernel stands in the carry so that
        a scan arranges it once.
        """
        channels = self._channels()
        num, width = math.prod(batch_shape), self.sites[1]
        rows, left, right = self.above
        wide, params = self._groups * channels, self._params(channels)
        bias = params["bias"]
        return {
            "above": jnp.zeros((num, rows, left + width + right, wide), bias.dtype),
            "row": jnp.zeros((num, self.left + width, wide), bias.dtype),
            "sums": jnp.broadcast_to(bias, (num, width, self._groups * self.features)),
            "kernel": self._step_kernel(params, channels),
        }

    def _channels(self) -> int:
        """Input channels of a site, from the parameters."""
        params = self.variables["params"]
        for name in ("above", "left"):
            if name in params:
                return params[name].shape[2] // self._groups
        last = self._groups - 1
        return len(params[f"centre_{last}"]) // (last + self.centre)

    def _step_kernel(self, params: dict[str, Array], channels: int) -> Array:
        """Of each group, what it reads of the own row, `[G, taps G C, features]`."""
        groups, wide = self._groups, self._groups * channels
        nothing = jnp.zeros((0, self.features), params["bias"].dtype)
        kernels = []
        for g in range(groups):
            mine = slice(g * self.features, (g + 1) * self.features)
            parts = []
            if self.left:
                parts.append(params["left"][0, :, :, mine].reshape(-1, self.features))
            if self.centre or groups > 1:
                own = params.get(f"centre_{g}", nothing)
                parts.append(jnp.pad(own, ((0, wide - len(own)), (0, 0))))
            kernels.append(jnp.concatenate(parts) if parts else nothing)
        return jnp.stack(kernels)

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        width, groups = self.sites[1], self._groups
        rows, left, right = self.above
        batch, channels = h.shape[:-1], h.shape[-1]
        row, kernel = carry["row"], carry["kernel"]
        h = h.reshape(-1, channels).astype(row.dtype)
        place = jnp.maximum(index - (not self.centre), 0)  # the site whose features h are

        # The row is never cleared: nothing to the right of the site is read before it is written
        # anew, and channels of the pixel itself that are still the old row's meet zeros of the
        # kernel.
        def written(row: Array) -> Array:
            start = (0, self.left + place // groups % width, place % groups * channels)
            return jax.lax.dynamic_update_slice(row, h[:, None], start)

        def next_row(above: Array, row: Array, sums: Array) -> tuple[Array, Array]:
            # Once a row, not once a site: the block above is convolved for all columns of the next
            # row.
            finished = jnp.pad(row[:, self.left :], ((0, 0), (left, right), (0, 0)))
            above = jnp.concatenate([above[:, 1:], finished[:, None]], 1)
            params = self._params(channels)
            new = convolve(above, params["above"], (0, 0), (0, 0))[:, 0]
            return above, new + params["bias"]

        # A strict layer is given the end of the last row when it asks for the next.
        row = row if self.centre else written(row)
        above, sums = carry["above"], carry["sums"]
        if rows:
            keep = lambda above, row, sums: (above, sums)
            starts = index % (width * groups) == 0
            above, sums = cond(starts, next_row, keep, above, row, sums)
        row = written(row) if self.centre else row
        column, group = index // groups % width, index % groups
        taps = kernel.shape[1] // row.shape[-1]
        # `row` begins with `left` zeros, so that the window of a site begins at its own column.
        window = jax.lax.dynamic_slice_in_dim(row, column, taps, 1)
        window = window.reshape(len(row), kernel.shape[1])
        start = (0, column, group * self.features)
        total = jax.lax.dynamic_slice(sums, start, (len(row), 1, self.features))[:, 0]
        total = total + window @ (kernel[0] if groups == 1 else kernel[group])
        carry = {**carry, "above": above, "row": row, "sums": sums}
        return carry, total.reshape(*batch, self.features)


def masked_convolution(
    features: int, sites: tuple[int, ...], kernel_size: int = 3, kind: str = "B"
) -> RasterConv:
    """The masked k x k convolution of PixelCNN, of type "A" (strict) or "B".

    >>> masked_convolution(8, (28, 28), 7, "A").above
    (3, 3, 3)
    """
    odd = kernel_size % 2 == 1 and kernel_size >= 1
    require(odd, "kernel_size", "must be odd and positive", kernel_size)
    require(kind in ("A", "B"), "kind", "must be 'A' or 'B'", repr(kind))
    require(
        kernel_size > 1 or kind == "B" or len(sites) == 3,
        "kernel_size",
        "must be at least 3 for type A",
        kernel_size,
    )
    half = kernel_size // 2
    above = (half, half, half) if half else (0, 0, 0)
    return RasterConv(features, tuple(sites), above, half, centre=kind == "B")


def convolve(maps: Array, kernel: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """A convolution over `[N, H, W, C]`, padded by less than the kernel on every side.

    With more, the gradient's padding is negative, and XLA's convolution on a CPU (jax 0.10.2)
    then reads memory that is not its own: shift the output instead.
    """
    return convolution(maps, kernel, padding=(rows, columns))
