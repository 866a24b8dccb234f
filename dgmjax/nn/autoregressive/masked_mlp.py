"""Masked multi-layer perceptron whose D incremental steps together cost about one pass.

Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution
Estimation", 2015, Eq. 8 to 13, https://arxiv.org/abs/1502.03509.
"""

import itertools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require, require_sizes
from dgmjax.nn.autoregressive.masked_mlp_steps import IncrementalSteps
from dgmjax.nn.autoregressive.permuted import permuted
from dgmjax.nn.autoregressive.sorted_mask_product import staircase_product
from dgmjax.types import Activation, Array


def hidden_degrees(features: int, units: int) -> np.ndarray:
    """Degrees 1 .. features - 1 of hidden units, sorted and spread evenly.

    A unit of degree m sees the inputs 0 .. m - 1, and the parameters of site i see the units of
    degree <= i.

    >>> hidden_degrees(4, 6).tolist()
    [1, 1, 2, 2, 3, 3]
    """
    return 1 + (np.arange(units) * max(features - 1, 1)) // units


class MaskedMLP(IncrementalSteps):
    """Autoregressive network over vectors: `x[..., D]` -> `params[..., D, num_params]`.

    h_1 = act((W_1 * M_1) x + b_1 + U c),  h_l = act((W_l * M_l) h_{l-1} + b_l),
    params_i = b_i + (V * M_V)_i h_L + (A * M_A)_i x + (Uc)_i

    with M[j, k] = 1 where the degree of k may see the degree of j: a site sees the sites before it.
    A hidden layer of fewer than D - 1 units has none for some degrees, and sites of these do not
    see the last sites before them; with `direct` they do, linearly.
    Samples are drawn site by site by `init_carry` and `step` (`IncrementalSteps`), at the cost of
    about one pass.

    Without hidden layers h_L is x: D logistic regressions in one strictly triangular matrix V
    (FVSBN; Frey, Hinton & Dayan, 1996, https://www.cs.toronto.edu/~hinton/absps/wsperf.htm).

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
            "Without hidden layers the output is already direct.",
        )
        sizes = (self.features, *self.hidden)
        # The fan-in of a kernel counts masked inputs too: sums of units that see little start below
        # unit variance, and never above it.
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
        """The terms that the context adds to the first hidden layer and to the output."""
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
        # Inputs have the degrees 1 .. D, outputs 0 .. D - 1: "at most" in every layer is then
        # "before" from end to end.
        sites = np.repeat(np.arange(self.features), self.num_params)
        out = out + self._masked(h, self.out_kernel, degrees[-1], sites) + self._cast(self.out_bias)
        if self.direct:
            out = out + self._masked(x, self.direct_kernel, degrees[0], sites)
        return out.reshape(*out.shape[:-1], self.features, self.num_params)

    def _masked(self, h: Array, kernel: Array, below: np.ndarray, above: np.ndarray) -> Array:
        """h times the kernel where degrees `below` are at most those `above`; both are sorted."""
        # Sorted degrees make each column of the mask ones, then zeros: a count describes it.
        return staircase_product(h, self._cast(kernel), np.searchsorted(below, above, "right"))

    def _adds_residual(self, layer: int) -> bool:
        return self.residual and layer > 0 and self.hidden[layer] == self.hidden[layer - 1]

    def start_at_marginals(self, family: Any, x: Array) -> None:
        """Sets the output bias to the marginals of `x[N, D]`; while initialising."""
        self.put_variable("params", "out_bias", family.marginal(x).ravel())

    @property
    def permuted_sizes(self) -> tuple[int, ...]:
        """Sizes of what `reindexed` permutes: the sites, and every hidden layer."""
        return (self.features, *self.hidden)

    def reindexed(self, params: Any, permutations: list[Array]) -> dict:
        """Parameters with which the network in natural order computes that of one mask.

        `permutations[0]` orders the sites, `permutations[l]` the units of hidden layer l.
        """
        # A unit's degree is its place: permuting the units of a layer is drawing another
        # connectivity. Columns of one kernel and rows of the next follow the same permutation.
        order, last = permutations[0], permutations[-1]
        new = dict(params)
        for i, (rows, columns) in enumerate(itertools.pairwise(permutations)):
            new[f"kernel_{i}"] = permuted(permuted(params[f"kernel_{i}"], rows), columns, 1)
            new[f"bias_{i}"] = permuted(params[f"bias_{i}"], columns)

        # Outputs are in groups of `num_params` for each site, which move as a whole.
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
