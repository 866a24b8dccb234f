"""Neural autoregressive distribution estimator: one shared hidden layer for all conditionals.

Source: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator", 2011, Eq. 9 to 12,
https://proceedings.mlr.press/v15/larochelle11a.html.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import scan
from dgmjax.errors import require
from dgmjax.nn.autoregressive.permuted import permuted
from dgmjax.types import Activation, Array


class NADENetwork(nn.Module):
    """Autoregressive network over vectors: `x[..., D]` -> `params[..., D, num_params]`.

    a_t = c + U context + sum_{s<t} x_s W_s,   params_t = b_t + V_t act(rho_t a_t) + (U' context)_t

    The sums differ by one term from site to site, so that all D conditionals cost O(D H) and not
    O(D^2 H). Both ways to run it are a scan over the sites; the gradient keeps the sums at about
    sqrt(D) of them and computes the rest again.

    Attributes:
      features: D, the length of the event.
      hidden: H, hidden units.
      num_params: parameters of each site.
      activation: of the hidden units.
      rescale: learn the factors rho_t (RNADE; Uria, Murray & Larochelle, 2013, Eq. 9,
        https://arxiv.org/abs/1306.0186); else 1.
      context_features: length of the context vector, 0 for none.
    """

    features: int
    hidden: int
    num_params: int
    activation: Activation = nn.sigmoid
    rescale: bool = False
    context_features: int = 0

    def setup(self):
        require(self.features >= 1, "features", "must be at least 1", self.features)
        require(self.hidden >= 1, "hidden", "must be at least 1", self.hidden)
        sites, units, params = self.features, self.hidden, self.num_params
        init, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        # D separate output layers of fan-in H: the axis of sites must not count as inputs.
        by_site = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2, batch_axis=0)
        self.kernel = self.param("kernel", init, (sites, units))
        self.bias = self.param("bias", zeros, (units,))
        self.out_kernel = self.param("out_kernel", by_site, (sites, params, units))
        self.out_bias = self.param("out_bias", zeros, (sites, params))
        ones = nn.initializers.ones
        self.scale = self.param("scale", ones, (sites,)) if self.rescale else jnp.ones(sites)
        if self.context_features:
            shape = (self.context_features, units)
            self.context_kernel = self.param("context_kernel", init, shape)
            shape = (self.context_features, sites * params)
            self.context_out = self.param("context_out", init, shape)

    def _start(self, batch_shape: tuple[int, ...], context: Array | None) -> tuple[Array, Array]:
        """a_0 `[*batch, H]`, and what all sites' parameters begin with `[*batch or (), D, P]`."""
        given = 0 if context is None else context.shape[-1]
        require(
            given == self.context_features,
            "context",
            f"must have {self.context_features} features (`context_features`)",
            "none" if context is None else f"shape {context.shape}",
        )
        total, out = self.bias, self.out_bias
        if context is not None:
            batch_shape = jnp.broadcast_shapes(batch_shape, context.shape[:-1])
            total = total + context @ self.context_kernel
            added = context @ self.context_out
            out = out + added.reshape(*added.shape[:-1], *out.shape)
        return jnp.broadcast_to(total, (*batch_shape, self.hidden)), out

    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require(
            x.ndim >= 1 and x.shape[-1] == self.features,
            "x",
            f"must end in {self.features} features",
            f"shape {x.shape}",
        )
        start, out = self._start(x.shape[:-1], context)
        batch = start.shape[:-1]
        x = jnp.broadcast_to(x, (*batch, self.features)).astype(start.dtype)
        return out + self._hidden_sums(start.reshape(-1, self.hidden), x).reshape(
            *batch, self.features, self.num_params
        )

    def _hidden_sums(self, start: Array, x: Array) -> Array:
        """V_t act(rho_t a_t) of all sites, `[N, D, P]`, from a_0 `[N, H]`."""
        # Rows of sqrt(D) sites, each computed again in the backward pass: it keeps the sums between
        # the rows, and those inside of one row at a time, about 2 sqrt(D) of them instead of D.
        size = max(1, round(math.sqrt(self.features)))
        rows = -(-self.features // size)  # rows of sites, the last one filled up with zeros

        def by_row(array: Array) -> Array:
            padding = [(0, rows * size - self.features)] + [(0, 0)] * (array.ndim - 1)
            return jnp.pad(array, padding).reshape(rows, size, *array.shape[1:])

        def site(total: Array, parts: tuple[Array, ...]) -> tuple[Array, Array]:
            value, kernel, out_kernel, scale = parts
            params = self.activation(scale * total) @ out_kernel.T
            return total + value[:, None] * kernel, params

        row = jax.checkpoint(lambda total, parts: scan(site, total, parts))
        values = x.reshape(-1, self.features).T
        parts = tuple(map(by_row, (values, self.kernel, self.out_kernel, self.scale)))
        _, params = scan(row, start, parts)
        return jnp.moveaxis(params.reshape(rows * size, *params.shape[2:])[: self.features], 0, 1)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> Any:
        """The hidden sums a_0, and the terms of the context in the parameters."""
        return self._start(batch_shape, context)

    def step(self, carry: Any, previous: Array, index: Array) -> tuple[Any, Array]:
        total, out = carry
        seen = jnp.where(index > 0, previous.astype(total.dtype), 0.0)
        # Site `index` reads the site before it; site 0 reads none, and adds zero times some row.
        total = total + seen[..., None] * self.kernel[jnp.maximum(index - 1, 0)]
        hidden = self.activation(self.scale[index] * total)
        return (total, out), hidden @ self.out_kernel[index].T + jnp.take(out, index, -2)

    def start_at_marginals(self, family: Any, x: Array) -> None:
        """Sets the output bias to the marginals of `x[N, D]`; while initialising."""
        self.put_variable("params", "out_bias", family.marginal(x))

    @property
    def permuted_sizes(self) -> tuple[int, ...]:
        """Sizes of what `reindexed` permutes: the sites."""
        return (self.features,)

    def reindexed(self, params: Any, permutations: list[Array]) -> dict:
        """The parameters as the network reads the sites in the order `permutations[0]`.

        rho_t belongs to place t in the order, since it compensates for the number of terms.
        """
        order = permutations[0]
        new = dict(params)
        for name in ("kernel", "out_kernel", "out_bias"):
            new[name] = permuted(params[name], order)
        if self.context_features:
            out = params["context_out"].reshape(self.context_features, self.features, -1)
            new["context_out"] = permuted(out, order, 1).reshape(params["context_out"].shape)
        return new
