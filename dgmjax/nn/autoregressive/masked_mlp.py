"""Masked multi-layer perceptron whose D incremental steps together cost about one pass.

"MADE: Masked Autoencoder for Distribution Estimation" (Germain, Gregor, Murray & Larochelle,
2015), equations 8-13.
"""

import itertools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.carry import cond
from dgmjax.errors import require, require_sizes
from dgmjax.nn.autoregressive.permuted import permuted
from dgmjax.nn.autoregressive.sorted_mask_product import prefix_product, staircase_product
from dgmjax.types import Activation, Array

COLUMNS = 24
"""Units of a block of steps: a product of fewer reads its matrix as slowly as one of so many."""


def hidden_degrees(features: int, units: int) -> np.ndarray:
    """Degrees 1 .. features - 1 of hidden units, sorted and spread evenly.

    A unit of degree m sees the inputs 0 .. m - 1, and the parameters of site i see the units of
    degree <= i.

    >>> hidden_degrees(4, 6).tolist()
    [1, 1, 2, 2, 3, 3]
    """
    return 1 + (np.arange(units) * max(features - 1, 1)) // units


class _Layer:
    """Units in the order in which the incremental steps compute them.

    Slices of a fixed size that would reach beyond the last unit begin earlier; what they take in
    of units before their own is masked, or written back as it was.

    Attributes:
      starts, ends: of the units that step i computes.
      origins: the first unit of the block that step i belongs to.
      most: size of the slice of a step.
      even: whether every step computes as many.
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
        """`[width, N]`, what the block of a step has of `values[units, N]`; zeros elsewhere."""
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


class MaskedMLP(nn.Module):
    """Autoregressive network over vectors: `x[..., D]` -> `params[..., D, num_params]`.

    h_1 = act((W_1 * M_1) x + b_1 + U c),  h_l = act((W_l * M_l) h_{l-1} + b_l),
    params_i = b_i + (V * M_V)_i h_L + (A * M_A)_i x + (Uc)_i

    with M[j, k] = 1 where the degree of k may see the degree of j. Hidden units are sorted by
    degree, so the units that become computable at step i are one contiguous group, and `step`
    evaluates that group only: the D steps read every weight about once. Where such a group is
    small, blocks of steps share one product over all that was known before the block, and a step
    reads only what is new since then.

    Without hidden layers h_L is x: D logistic regressions in one strictly triangular matrix V
    (FVSBN; Frey, Hinton & Dayan, 1996).

    Attributes:
      features: D, the length of the event.
      hidden: units of each hidden layer; () for none.
      num_params: parameters of each site.
      activation: of the hidden layers.
      direct: add the masked direct connection A from input to output.
      residual: add each hidden layer's input to its output where their sizes are equal.
      context_features: length of the context vector, 0 for none.
      zero_output: start with parameters of zero.
      dtype: of the computation; parameters stay float32.
    """

    features: int
    hidden: tuple[int, ...]
    num_params: int
    activation: Activation = nn.relu
    direct: bool = False
    residual: bool = False
    context_features: int = 0
    zero_output: bool = False
    dtype: jnp.dtype | None = None

    def setup(self):
        require_sizes(features=self.features, hidden=tuple(self.hidden))
        require(
            bool(self.hidden) or not self.direct,
            "hidden",
            "must name at least one layer beside direct connections",
            self.hidden,
            "Without hidden layers the output is direct already.",
        )
        sizes = (self.features, *self.hidden)
        outputs = self.features * self.num_params
        init, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        out_init = zeros if self.zero_output else init
        self.kernels = [
            self.param(f"kernel_{i}", init, (sizes[i], sizes[i + 1]))
            for i in range(len(self.hidden))
        ]
        self.biases = [
            self.param(f"bias_{i}", zeros, (units,)) for i, units in enumerate(self.hidden)
        ]
        self.out_kernel = self.param("out_kernel", out_init, (sizes[-1], outputs))
        self.out_bias = self.param("out_bias", zeros, (outputs,))
        if self.direct:
            self.direct_kernel = self.param("direct_kernel", zeros, (self.features, outputs))
        if self.context_features:
            if self.hidden:
                shape = (self.context_features, self.hidden[0])
                self.context_kernel = self.param("context_kernel", init, shape)
            shape = (self.context_features, outputs)
            self.context_out = self.param("context_out", out_init, shape)

    def _degrees(self) -> list[np.ndarray]:
        return [
            np.arange(1, self.features + 1),
            *(hidden_degrees(self.features, units) for units in self.hidden),
        ]

    def _cast(self, array: Array) -> Array:
        return array if self.dtype is None else array.astype(self.dtype)

    def _context_terms(self, context: Array | None) -> tuple[Array | float, Array | float]:
        """What the context adds to the first hidden layer and to the output."""
        given = 0 if context is None else context.shape[-1]
        require(
            given == self.context_features,
            "context",
            f"must have {self.context_features} features (`context_features`)",
            "none" if context is None else f"shape {context.shape}",
        )
        if context is None:
            return 0.0, 0.0
        context = self._cast(context)
        added = context @ self._cast(self.context_kernel) if self.hidden else 0.0
        return added, context @ self._cast(self.context_out)

    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require(
            x.ndim >= 1 and x.shape[-1] == self.features,
            "x",
            f"must end in {self.features} features",
            f"shape {x.shape}",
        )
        degrees = self._degrees()
        x = self._cast(x)
        added, out = self._context_terms(context)
        h = x
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases)):
            total = self._masked(h, kernel, degrees[i], degrees[i + 1]) + self._cast(bias)
            new = self.activation(total + (added if i == 0 else 0.0))
            h = new + h if self._adds_residual(i) else new
        sites = np.repeat(np.arange(self.features), self.num_params)
        out = out + self._masked(h, self.out_kernel, degrees[-1], sites) + self._cast(self.out_bias)
        if self.direct:
            out = out + self._masked(x, self.direct_kernel, degrees[0], sites)
        return out.reshape(*out.shape[:-1], self.features, self.num_params)

    def _masked(self, h: Array, kernel: Array, below: np.ndarray, above: np.ndarray) -> Array:
        """h times the kernel where degrees `below` are at most those `above`; both are sorted."""
        return staircase_product(h, self._cast(kernel), np.searchsorted(below, above, "right"))

    def _adds_residual(self, layer: int) -> bool:
        return self.residual and layer > 0 and self.hidden[layer] == self.hidden[layer - 1]

    @property
    def _block(self) -> int:
        """Steps of a block, whose first product then serves a good number of units at once.

        Accelerators would wait longer for the branch than for the product, so that each step is
        its own block there.
        """
        if jax.default_backend() != "cpu":
            return 1
        units = max((self.num_params * self.features, *self.hidden))
        return min(self.features, -(-COLUMNS * self.features // units))

    def _layers(self) -> list[_Layer]:
        """The input, the hidden layers and the parameters, as `step` fills them.

        Before step i the inputs 0 .. i - 1 are known, and after it the hidden units of degree i;
        none has the degree 0. Of the inputs a block sees all but its own last.
        """
        sites, block = np.ones(self.features, int), self._block
        counts = [
            np.bincount(degrees, minlength=self.features + 1)[: self.features]
            for degrees in self._degrees()[1:]
        ]
        hidden = [_Layer(count, block) for count in counts]
        return [_Layer(sites, block, block - 1), *hidden, _Layer(self.num_params * sites, block)]

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> Any:
        """What the context adds, and activations still at zero.

        The batch is the last axis of both, so that a step reads and writes whole rows.
        """
        layers = self._layers()
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

        The first step of a block adds up, in one product for each layer, what the units of the
        whole block see of all that was known before it; each step adds what it sees within.
        """
        known, layers = list(carry["known"]), self._layers()
        # At index 0 nothing was seen: the write goes to place 0 and is overwritten at index 1.
        seen = jnp.where(index > 0, previous.astype(known[0].dtype), 0.0).reshape(1, -1)
        known[0] = layers[0].written(known[0], seen, jnp.maximum(index - 1, 0))
        begin = lambda: self._begun(carry["constants"], known, index)
        begun = (
            begin()
            if self._block == 1
            else cond(index % self._block == 0, begin, lambda: carry["begun"])
        )

        def within(kernel: Array, i: int, above: _Layer) -> Array:
            """What the units of this step see of the units of layer i in their block."""
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
                    units = units + _read(known[i], start, layer.most)
                known[i + 1] = layer.written(known[i + 1], units, index)
        if self.direct:
            total = total + within(self.direct_kernel, 0, layers[-1])
        return {**carry, "known": known, "begun": begun}, total.T.reshape(
            *previous.shape, self.num_params
        )

    def _begun(self, constants: list[Array], known: list[Array], index: Array) -> list[Array]:
        """What the units of the block that begins at `index` see of everything known before it."""
        layers = self._layers()

        def of_block(kernel: Array, i: int, above: _Layer) -> Array:
            start = above.block_slices[index]
            columns = jax.lax.dynamic_slice_in_dim(kernel, start, above.width, 1)
            return prefix_product(self._cast(columns), known[i], layers[i].starts[index])

        begun = []
        for i, (kernel, constant) in enumerate(zip([*self.kernels, self.out_kernel], constants)):
            layer = layers[i + 1]
            constant = _read(constant, layer.block_slices[index], layer.width)
            begun.append(of_block(kernel, i, layer) + constant)
        if self.direct:
            begun[-1] = begun[-1] + of_block(self.direct_kernel, 0, layers[-1])
        return begun

    def start_at_marginals(self, family: Any, x: Array) -> None:
        """Sets the output bias to the marginals of `x[N, D]`; while initialising."""
        self.put_variable("params", "out_bias", family.marginal(x).ravel())

    @property
    def permuted_sizes(self) -> tuple[int, ...]:
        """Sizes of what `reindexed` permutes: the sites, and every hidden layer."""
        return (self.features, *self.hidden)

    def reindexed(self, params: Any, permutations: list[Array]) -> dict:
        """The parameters as the network in natural order reads those of one mask.

        `permutations[0]` orders the sites, `permutations[l]` the units of hidden layer l.
        """
        order, last = permutations[0], permutations[-1]
        new = dict(params)
        for i, (rows, columns) in enumerate(itertools.pairwise(permutations)):
            new[f"kernel_{i}"] = permuted(permuted(params[f"kernel_{i}"], rows), columns, 1)
            new[f"bias_{i}"] = permuted(params[f"bias_{i}"], columns)

        def sites(array: Array) -> Array:
            by_site = array.reshape(*array.shape[:-1], self.features, -1)
            return permuted(by_site, order, by_site.ndim - 2).reshape(array.shape)

        new["out_kernel"] = sites(permuted(params["out_kernel"], last))
        new["out_bias"] = sites(params["out_bias"])
        if "direct_kernel" in params:
            new["direct_kernel"] = sites(permuted(params["direct_kernel"], order))
        if "context_kernel" in params:
            new["context_kernel"] = permuted(params["context_kernel"], permutations[1], 1)
        if "context_out" in params:
            new["context_out"] = sites(params["context_out"])
        return new
