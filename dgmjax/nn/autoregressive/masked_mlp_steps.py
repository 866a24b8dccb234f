"""Incremental steps of a masked MLP: D steps that together read every weight about once.

Hidden units are sorted by degree, so the units that become computable at step i are one contiguous
group: `step` evaluates this group only. A product for few units reads its matrix as slowly as one
for many. Small groups are therefore computed in blocks: the first step of a block adds up, in one
product for each layer, the contributions of everything known before the block to all its units

    begun = b + (W * M)[block, known] h[known],

and every step adds the contributions from within the block, (W * M)[group, block] h[block].
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.carry import by_platform, cond
from dgmjax.nn.autoregressive.sorted_mask_product import prefix_product
from dgmjax.types import Array

COLUMNS = 24
"""Units of a block of steps: smaller products take as long as one of this size."""


class SortedUnits:
    """Units in the order in which the incremental steps compute them.

    Slices of a fixed size that would reach beyond the last unit begin earlier; the units before
    their own are masked, or written back unchanged.

    Attributes:
      starts, ends: of the units that step i computes.
      origins: the first unit of the block that step i belongs to.
      most: size of the slice of a step.
      even: whether every step computes the same number.
      width: size of the slice of a block.
    """

    def __init__(self, counts: np.ndarray, block: int, width: int | None = None):
        ends = np.cumsum(counts)
        starts = ends - counts
        origins = np.repeat(starts[::block], block)[: starts.size]
        self.most = int(counts.max())
        self.even = bool((counts == self.most).all())
        reach = int((starts - origins).max()) + self.most
        self.width = min(reach, int(ends[-1])) if width is None else width
        self.overruns = bool((origins + self.width > ends[-1]).any())
        self.starts, self.ends, self.origins = map(jnp.asarray, (starts, ends, origins))
        self.step_slices = jnp.asarray(np.minimum(starts, ends[-1] - self.most))
        self.block_slices = jnp.asarray(np.minimum(origins, ends[-1] - self.width))

    def within(self, values: Array, index: Array) -> Array:
        """`[width, N]`: the rows of `values[units, N]` in the block of a step; zeros elsewhere."""
        start = self.block_slices[index]
        found = _read(values, start, self.width)
        if not self.overruns:
            return found
        own = start + jnp.arange(self.width) >= self.origins[index]
        return jnp.where(own[:, None], found, 0)

    def written(self, values: Array, new: Array, index: Array) -> Array:
        """`values[units, N]` with the units of a step from its slice `new[most, N]`."""
        start = self.step_slices[index]
        if not self.even:
            units = start + jnp.arange(self.most)
            own = (units >= self.starts[index]) & (units < self.ends[index])
            new = jnp.where(own[:, None], new, _read(values, start, self.most))
        return jax.lax.dynamic_update_slice_in_dim(values, new, start, 0)


def _read(values: Array, start: Array, size: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(values, start, size, 0)


class IncrementalSteps(nn.Module):
    """The steps of `MaskedMLP`, which has the parameters, their degrees and the formula."""

    @property
    def _block(self) -> int:
        """Steps of a block, whose first product then serves a good number of units at once.

        Accelerators would wait longer for the branch than for the product, so that each step is
        its own block there (see `step`).
        """
        units = max((self.num_params * self.features, *self.hidden))
        return min(self.features, -(-COLUMNS * self.features // units))

    def _layers(self, block: int) -> list[SortedUnits]:
        """The input, the hidden layers and the parameters, as `step` fills them.

        Before step i the inputs 0 .. i - 1 are known, and after it the hidden units of degree i;
        none has the degree 0. Of the inputs a block sees all but its own last.
        """
        sites = np.ones(self.features, int)
        counts = [
            np.bincount(degrees, minlength=self.features + 1)[: self.features]
            for degrees in self._degrees()[1:]
        ]
        hidden = [SortedUnits(count, block) for count in counts]
        return [
            SortedUnits(sites, block, block - 1),
            *hidden,
            SortedUnits(self.num_params * sites, block),
        ]

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> Any:
        """The terms of the context, and activations still at zero.

        The batch is the last axis of both, so that a step reads and writes whole rows.
        """
        layers = self._layers(self._block)
        added, out = self._context_terms(context)
        batch = jnp.broadcast_shapes(batch_shape, jnp.shape(out)[:-1])
        dtype, num = self.dtype or self.out_bias.dtype, math.prod(batch)

        def constant(bias: Array, added: Array | float) -> Array:
            """`[units, N]` where a context adds to the bias, else `[units, 1]`."""
            total = (self._cast(bias) + added).astype(dtype)
            if total.ndim > 1:
                total = jnp.broadcast_to(total, (*batch, total.shape[-1]))
            return total.reshape(-1, total.shape[-1]).T

        terms: list[Array | float] = [0.0] * (1 + len(self.hidden))
        terms[0], terms[-1] = added, out
        biases = [*self.biases, self.out_bias]
        sizes = (self.features, *self.hidden)
        return {
            "constants": [constant(*pair) for pair in zip(biases, terms)],
            "known": [jnp.zeros((size, num), dtype) for size in sizes],
            "begun": [jnp.zeros((layer.width, num), dtype) for layer in layers[1:]],
        }

    def step(self, carry: Any, previous: Array, index: Array) -> tuple[Any, Array]:
        """Parameters of site `index`; sites come one after another, from 0.

        The first step of a block adds up, in one product for each layer, the contributions of
        everything known before it to the units of the whole block; each step adds those from
        within.
        """
        in_blocks = partial(self._step, self._block, prefix_product)
        if self._block == 1:
            return in_blocks(carry, previous, index)
        alone = partial(self._step, 1, lambda columns, h, _: columns.T @ h)
        return by_platform(in_blocks, alone, carry, previous, index)

    def _step(
        self, block: int, product: Callable, carry: Any, previous: Array, index: Array
    ) -> tuple[Any, Array]:
        known, layers = list(carry["known"]), self._layers(block)
        # At index 0 nothing was seen: the write goes to place 0 and is overwritten at index 1.
        seen = jnp.where(index > 0, previous.astype(known[0].dtype), 0.0).reshape(1, -1)
        known[0] = layers[0].written(known[0], seen, jnp.maximum(index - 1, 0))
        begin = lambda: self._begun(layers, product, carry["constants"], known, index)
        if block == 1:
            begun, kept = begin(), carry["begun"]  # which may be of blocks of another size
        else:
            begun = kept = cond(index % block == 0, begin, lambda: carry["begun"])

        # No kernel needs its mask here. What is known when a block begins has lower degrees than
        # all units of the block, and within a block the units of later steps are still zero.
        def within(kernel: Array, i: int, above: SortedUnits) -> Array:
            """The contributions to the units of this step from layer i in their block."""
            start = (layers[i].block_slices[index], above.step_slices[index])
            rows = jax.lax.dynamic_slice(kernel, start, (layers[i].width, above.most))
            return self._cast(rows).T @ layers[i].within(known[i], index)

        for i, kernel in enumerate([*self.kernels, self.out_kernel]):
            layer = layers[i + 1]
            start = layer.step_slices[index]
            total = _read(begun[i], start - layer.block_slices[index], layer.most)
            total = total + within(kernel, i, layer)
            if i < len(self.hidden):
                units = self.activation(total)
                if self._adds_residual(i):
                    # Layers of equal size have equal degrees: the input of a unit stands at its own
                    # place.
                    units = units + _read(known[i], start, layer.most)
                known[i + 1] = layer.written(known[i + 1], units, index)
        if self.direct:
            total = total + within(self.direct_kernel, 0, layers[-1])
        return {**carry, "known": known, "begun": kept}, total.T.reshape(
            *previous.shape, self.num_params
        )

    def _begun(
        self,
        layers: list[SortedUnits],
        product: Callable,
        constants: list[Array],
        known: list[Array],
        index: Array,
    ) -> list[Array]:
        """The contributions to the block that begins at `index` from everything known before it."""

        def of_block(kernel: Array, i: int, above: SortedUnits) -> Array:
            start = above.block_slices[index]
            columns = jax.lax.dynamic_slice_in_dim(kernel, start, above.width, 1)
            return product(self._cast(columns), known[i], layers[i].starts[index])

        begun = []
        for i, (kernel, constant) in enumerate(zip([*self.kernels, self.out_kernel], constants)):
            layer = layers[i + 1]
            constant = _read(constant, layer.block_slices[index], layer.width)
            begun.append(of_block(kernel, i, layer) + constant)
        if self.direct:
            begun[-1] = begun[-1] + of_block(self.direct_kernel, 0, layers[-1])
        return begun
