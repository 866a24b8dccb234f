"""Masked multi-layer perceptron whose D incremental steps together cost about one pass.

"MADE: Masked Autoencoder for Distribution Estimation" (Germain, Gregor, Murray & Larochelle,
2015), equations 8-13.
"""

import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require
from dgmjax.nn.staircase import staircase_product
from dgmjax.types import Activation, Array


def hidden_degrees(features: int, units: int) -> np.ndarray:
    """Degrees 1 .. features - 1 of hidden units, sorted and spread evenly.

    A unit of degree m sees the inputs 0 .. m - 1, and the parameters of site i see the units of
    degree <= i.

    >>> hidden_degrees(4, 6).tolist()
    [1, 1, 2, 2, 3, 3]
    """
    return 1 + (np.arange(units) * max(features - 1, 1)) // units


def _margin(starts: np.ndarray, counts: np.ndarray, width: int) -> int:
    """How far a slice of `width` units reaches beyond the last unit, in whole vectors."""
    overrun = int((starts + width).max()) - int(counts.sum())
    return 16 * -(-max(overrun, 0) // 16)


class MaskedMLP(nn.Module):
    """Autoregressive network over vectors: `x[..., D]` -> `params[..., D, num_params]`.

    h_1 = act((W_1 * M_1) x + b_1 + U c),  h_l = act((W_l * M_l) h_{l-1} + b_l),
    params_i = b_i + (V * M_V)_i h_L + (A * M_A)_i x + (Uc)_i

    with M[j, k] = 1 where the degree of k may see the degree of j. Hidden units are sorted by
    degree, so the units that become computable at step i are one contiguous group, and `step`
    evaluates that group only: the D steps read every weight about once.

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
        require(self.features >= 1, "features", "must be at least 1", self.features)
        sound = all(units >= 1 for units in self.hidden)
        require(sound, "hidden", "must be at least 1 unit in every layer", self.hidden)
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

    def _groups(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """Of each hidden layer: where the units of degree i start, how many, and at most how many.

        Index 0 stands for "nothing becomes computable before the first input was seen".
        """
        groups = []
        for degrees in self._degrees()[1:]:
            counts = np.bincount(degrees, minlength=self.features + 1)[: self.features]
            starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
            groups.append((starts, counts, int(counts.max(initial=1))))
        return groups

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> Any:
        """Weights in the order in which `step` reads them, and activations still at zero.

        The weights do not change from step to step; they stand in the carry so that a scan
        transposes them once.
        """
        margins = [_margin(*group) for group in self._groups()]
        added, out = self._context_terms(context)
        batch = jnp.broadcast_shapes(batch_shape, jnp.shape(out)[:-1])

        # Activations have a margin, so that writing the last group does not overrun; weights have
        # it on both sides, so that nobody has to cut it off again.
        def rows(kernel: Array, margin: int, margin_below: int) -> Array:
            return jnp.pad(self._cast(kernel).T, ((0, margin), (0, margin_below)))

        pad = lambda v, margin: jnp.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, margin)])
        weights = {
            "kernels": [rows(k, m, b) for k, m, b in zip(self.kernels, margins, [0, *margins])],
            "biases": [pad(self._cast(b), m) for b, m in zip(self.biases, margins)],
            "out": pad(self._by_site(self.out_kernel), margins[-1] if margins else 0),
            "direct": self._by_site(self.direct_kernel) if self.direct else None,
        }
        dtype = self.dtype or self.out_bias.dtype
        first = None
        if self.hidden:
            first = jnp.broadcast_to(added, (*batch, self.hidden[0])).astype(dtype)
            first = pad(first, margins[0])
        sites = jnp.broadcast_to(out, (*batch, self.features * self.num_params))
        sites = sites.reshape(*batch, self.features, self.num_params) + self._cast(
            self.out_bias.reshape(self.features, self.num_params)
        )
        zeros = [jnp.zeros((*batch, u + m), dtype) for u, m in zip(self.hidden, margins)]
        x = jnp.zeros((*batch, self.features), dtype)
        return {"weights": weights, "context": (first, sites), "x": x, "hidden": zeros}

    def _by_site(self, kernel: Array) -> Array:
        """`[in, D * P]` -> `[D, P, in]`."""
        return self._cast(kernel).reshape(-1, self.features, self.num_params).transpose(1, 2, 0)

    def step(self, carry: Any, previous: Array, index: Array) -> tuple[Any, Array]:
        weights, (first, sites) = carry["weights"], carry["context"]
        dynamic = jax.lax.dynamic_slice_in_dim
        update = jax.lax.dynamic_update_slice_in_dim
        # At index 0 nothing was seen: the write goes to place 0 and is overwritten at index 1.
        seen = jnp.where(index > 0, previous.astype(carry["x"].dtype), 0.0)
        x = update(carry["x"], seen[..., None], jnp.maximum(index - 1, 0), axis=-1)
        hidden: list[Array] = []
        below = x
        for i, (starts, counts, width) in enumerate(self._groups()):
            start = jnp.asarray(starts)[index]
            live = jnp.arange(width) < jnp.asarray(counts)[index]
            kernel = dynamic(weights["kernels"][i], start, width, axis=0)
            total = below @ kernel.T + dynamic(weights["biases"][i], start, width, axis=-1)
            if i == 0:
                total = total + dynamic(first, start, width, axis=-1)
            group = self.activation(total)
            if self._adds_residual(i):
                group = group + dynamic(hidden[i - 1], start, width, axis=-1)
            units = carry["hidden"][i]
            units = update(units, jnp.where(live, group, 0.0), start, axis=-1)
            hidden.append(units)
            below = units
        params = below @ weights["out"][index].T + jnp.take(sites, index, axis=-2)
        if self.direct:
            params = params + x @ weights["direct"][index].T
        return {**carry, "x": x, "hidden": hidden}, params

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
            new[f"kernel_{i}"] = params[f"kernel_{i}"][rows][:, columns]
            new[f"bias_{i}"] = params[f"bias_{i}"][columns]

        def sites(array: Array) -> Array:
            by_site = array.reshape(*array.shape[:-1], self.features, -1)
            return jnp.take(by_site, order, axis=-2).reshape(array.shape)

        new["out_kernel"] = sites(params["out_kernel"][last])
        new["out_bias"] = sites(params["out_bias"])
        if "direct_kernel" in params:
            new["direct_kernel"] = sites(params["direct_kernel"][order])
        if "context_kernel" in params:
            new["context_kernel"] = params["context_kernel"][:, permutations[1]]
        if "context_out" in params:
            new["context_out"] = sites(params["context_out"])
        return new
