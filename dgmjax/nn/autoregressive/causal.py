"""Causal layers, and the one autoregressive network that is made of them.

A causal layer is a Linen module over feature maps whose output at site t reads the inputs of
sites <= t only, in raster order. It can run over all sites at once or one site at a time; see
`CausalLayer`. Layers over sequences take any length, layers over images know their height and
width. `CausalNetwork` turns a list of layers into an autoregressive network, so that PixelCNN,
WaveNet, recurrent networks and transformers are lists of layers and not classes of networks.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.nn.dropout import Dropout, require_rate
from dgmjax.nn.embeddings import Real
from dgmjax.types import Array, PyTree


class CausalLayer(Protocol):
    """One layer, two ways to run it. Not checked here: that it is causal (the tests do).

    A *strict* layer reads sites < t only. Its `step` at index t is given the features of site
    t - 1 (zeros at t = 0), since those of site t are not known then.
    """

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        """`h[*batch, *sites, C]` to `[*batch, *sites, C']`, all sites in parallel."""

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        """The state before the first `step`: fixed shapes, and what depends on the context."""

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        """`h[*batch, C]` of site `index` (raster order) to `[*batch, C']`."""


class Pointwise(nn.Module):
    """A function of the features of one site, as a causal layer without memory.

    `function` is a module (`nn.Dense(64)`) or a plain function (`nn.relu`); it sees `[N, C]`.
    """

    function: Any

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        # One batch axis: matrix products over several cost more, above all their gradients.
        out = self.function(h.reshape(-1, h.shape[-1]))
        return out.reshape(*h.shape[:-1], out.shape[-1])

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        return ()

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        return carry, self(h)


def dropout_layers(dropout: float) -> tuple[Pointwise, ...]:
    """A causal layer of `nn.Dropout`, or none where the rate is 0."""
    require_rate("dropout", dropout)
    return (Pointwise(Dropout(dropout)),) if dropout else ()


class Compound(nn.Module):
    """A layer made of layers. A subclass writes its formula once, for both ways to run it.

    It defines `parts()`, the layers by name, and `combine(run, h)`, in which `run(name, h)` is
    the output of that part, each used once.
    """

    def parts(self) -> dict[Hashable, Any]:
        """The layers by name."""
        raise NotImplementedError(f"{type(self).__name__} must define parts().")

    def combine(self, run: Callable[[Hashable, Array], Array], h: Array) -> Array:
        """The output, given how to run a part."""
        raise NotImplementedError(f"{type(self).__name__} must define combine(run, h).")

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        parts = self.parts()
        return self.combine(lambda name, h: parts[name](h, context), h)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        return {name: part.init_carry(batch_shape, context) for name, part in self.parts().items()}

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        parts, new = self.parts(), dict(carry)

        def run(name: Hashable, h: Array) -> Array:
            new[name], out = parts[name].step(carry[name], h, index)
            return out

        out = self.combine(run, h)
        return new, out


class Chain(Compound):
    """Layers one after another, first to last."""

    layers: tuple[nn.Module, ...]

    def parts(self) -> dict[Hashable, Any]:
        return dict(enumerate(self.layers))

    def combine(self, run: Callable[[Hashable, Array], Array], h: Array) -> Array:
        for i in range(len(self.layers)):
            h = run(i, h)
        return h


class Residual(Compound):
    """h + layer(h), for a layer that keeps the number of features."""

    layer: nn.Module

    def parts(self) -> dict[Hashable, Any]:
        return {"layer": self.layer}

    def combine(self, run: Callable[[Hashable, Array], Array], h: Array) -> Array:
        return h + run("layer", h)


class CausalNetwork(nn.Module):
    """Autoregressive network of causal layers: `x[*batch, *event] -> params[*batch, *sites, P]`.

    params_t = b + W layers(first(embed(x)))_t, with one strict part: `first`, or else the shift
    of all sites by one. Everything after it may read site t.

    Attributes:
      layers: causal layers.
      num_params: P, parameters of a site (of its family).
      embed: module from values `[..., *site]` to features `[..., C]`, see `nn.embeddings`.
      first: a strict causal layer (`nn.RasterConv` of type A); None shifts by one site.
      event_shape: shape of x; None for sequences of any length, `[T]` or `[T, channels]`.
      channels: length of a site that is a vector (the last axis of x); None for scalars.
      sites: shape in which the layers see the sites, e.g. (28, 28) for events (28, 28, 1);
        None for one axis.
      context_features, local_features: lengths of the context, see `nn.AddContext`; 0 for none.
      hop: sites that share a local vector.
      site_bias: a bias b for each site (`out_bias[D, P]`; needs `event_shape`) instead of one
        for all (`out_bias[P]`). See `start_at_marginals`.
    """

    layers: tuple[nn.Module, ...]
    num_params: int
    embed: nn.Module = Real()
    first: nn.Module | None = None
    event_shape: tuple[int, ...] | None = None
    channels: int | None = None
    sites: tuple[int, ...] | None = None
    context_features: int = 0
    local_features: int = 0
    hop: int = 1
    site_bias: bool = False

    def setup(self):
        num_sites = self._num_sites
        require(
            num_sites is not None or (self.sites is None and not self.site_bias),
            "event_shape",
            "must be given with `sites` or `site_bias`",
            "none",
        )
        if self.sites is not None:
            size = math.prod(self.sites)
            require(
                size == num_sites,
                "sites",
                f"must multiply to the {num_sites} sites of events of shape {self.event_shape}",
                self.sites,
            )
        shape = (*((num_sites,) if self.site_bias else ()), self.num_params)
        self.chain = Chain(self.layers)
        self.head = Pointwise(nn.Dense(self.num_params, use_bias=False))
        self.out_bias = self.param("out_bias", nn.initializers.zeros, shape)

    @property
    def _num_sites(self) -> int | None:
        """D, or None where sequences may have any length."""
        return None if self.event_shape is None else math.prod(self._event_sites(self.event_shape))

    def _event_sites(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return event_shape if self.channels is None else event_shape[:-1]

    def _event_of(self, x: Array) -> tuple[int, ...]:
        """The event shape of x, checked."""
        ndim = (1 if self.channels is None else 2) if self.event_shape is None else 0
        event = self.event_shape or x.shape[max(x.ndim - ndim, 0) :]
        fits = x.ndim >= len(event) >= ndim and tuple(x.shape[x.ndim - len(event) :]) == event
        fits = fits and (self.channels is None or event[-1] == self.channels)
        ends: tuple = ("T",) if self.channels is None else ("T", self.channels)
        ends = self.event_shape or ends
        require(fits, "x", f"must end in the event shape {ends}", f"shape {x.shape}")
        return event

    def _check_context(self, context: Array | None, num_sites: int | None) -> None:
        given = 0 if context is None else context.shape[-1]
        local = given - self.context_features
        fits = local == self.local_features == 0 or (
            self.local_features > 0 and local % self.local_features == 0 and local > 0
        )
        if self.local_features and num_sites is not None:
            fits = local == -(-num_sites // self.hop) * self.local_features
        rule = f"must have {self.context_features} features (`context_features`)"
        if self.local_features:
            each = "site" if self.hop == 1 else f"{self.hop} sites"
            rule += f" and {self.local_features} for each {each} (`local_features`)"
        require(fits, "context", rule, "none" if context is None else f"shape {context.shape}")

    def __call__(self, x: Array, context: Array | None = None) -> Array:
        event = self._event_of(x)
        event_sites = self._event_sites(event)
        num_sites = math.prod(event_sites)
        self._check_context(context, num_sites)
        batch = x.shape[: x.ndim - len(event)]
        if context is not None:
            batch = jnp.broadcast_shapes(batch, context.shape[:-1])
            x = jnp.broadcast_to(x, (*batch, *event))
        h = self.embed(x.reshape(*batch, num_sites, *event[len(event_sites) :]))
        sites = self.sites or (num_sites,)
        if self.first is None:
            # The one strict step: site t gets the features of site t - 1.
            h = jnp.pad(h[..., :-1, :], [(0, 0)] * len(batch) + [(1, 0), (0, 0)])
        h = h.reshape(*batch, *sites, h.shape[-1])
        if self.first is not None:
            h = self.first(h, context)
        params = self.head(self.chain(h, context)).reshape(*batch, num_sites, self.num_params)
        return (params + self.out_bias).reshape(*batch, *event_sites, self.num_params)

    def start_at_marginals(self, family, x: Array) -> None:
        """Sets the bias to the marginals of `x[N, *event]` (of each site where `site_bias`)."""
        num = math.prod(self._event_sites(x.shape[1:]))
        sites = x.reshape(len(x), num, *(() if self.channels is None else (self.channels,)))
        sites = sites if self.site_bias else sites.reshape(-1, *sites.shape[2:])
        self.put_variable("params", "out_bias", family.marginal(sites))

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        self._check_context(context, self._num_sites)
        if context is not None:
            batch_shape = jnp.broadcast_shapes(batch_shape, context.shape[:-1])
        first = None if self.first is None else self.first.init_carry(batch_shape, context)
        return first, self.chain.init_carry(batch_shape, context)

    def step(self, carry: PyTree, previous: Array, index: Array) -> tuple[PyTree, Array]:
        first, rest = carry
        h = self.embed(previous)
        # Before site 0 there is nothing, which is not the same as a site of value 0: the features
        # are zero, not those of a zero.
        h = jnp.where(index > 0, h, jnp.zeros_like(h))
        if self.first is not None:
            first, h = self.first.step(first, h, index)
        rest, h = self.chain.step(rest, h, index)
        bias = self.out_bias[index] if self.site_bias else self.out_bias
        return (first, rest), self.head(h) + bias
