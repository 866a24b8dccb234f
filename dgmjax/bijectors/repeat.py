"""Many layers of one kind: one layer's code, stacked parameters, a scan over depth."""

from typing import Any, Literal

import distrax
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_ndims
from dgmjax.bijectors.carry import scan
from dgmjax.bijectors.rematerialisation import rematerialised, scanning
from dgmjax.errors import require
from dgmjax.types import Array

UNROLLED_UP_TO = 4
"""Measured on spline couplings: 4 layers run faster unrolled, 32 compile 8 times slower."""


class Repeat(Bijector):
    """x = (f_L o ... o f_1)(z), with all f_l of one structure; log_det = sum_l log|det J f_l|.

    Compilation takes the time of one layer, whatever the depth.

    Args:
      stacked: one layer in which every array has a leading dimension of `num_layers`: what
        `jax.vmap(make_layer)(stacked_params)` returns, or `stack_bijectors([f_1, ..., f_L])`.
        Layer 0 is applied first, next to the base. A context held by the layer is stacked, too.
      num_layers: L.
      unroll: "auto" unrolls up to 4 layers and scans beyond that; or True, or False.
      rematerialise: recompute each layer in the backward pass; memory then grows with depth by
        one activation per layer.
    """

    def __init__(
        self,
        stacked: distrax.Bijector,
        num_layers: int,
        unroll: bool | Literal["auto"] = "auto",
        rematerialise: bool = False,
    ) -> None:
        require(
            isinstance(stacked, distrax.Bijector)
            and stacked.event_ndims_in == stacked.event_ndims_out,
            "stacked",
            "must be a bijector whose input and output have the same rank",
            type(stacked).__name__,
        )
        require(num_layers >= 1, "num_layers", "must be at least 1", num_layers)
        require(unroll in ("auto", True, False), "unroll", 'must be "auto" or a bool', unroll)
        for leaf in jax.tree.leaves(stacked):
            require(
                jnp.ndim(leaf) >= 1 and jnp.shape(leaf)[0] == num_layers,
                "stacked",
                f"must have arrays with a leading dimension of {num_layers}",
                f"an array of shape {jnp.shape(leaf)}",
                "Build it with `jax.vmap(make_layer)(stacked_params)`.",
            )
        super().__init__(event_ndims_in=stacked.event_ndims_in)
        self.stacked = stacked
        self.num_layers = int(num_layers)
        self.unroll = unroll
        self.rematerialise = bool(rematerialise)

    def layer(self, index: int) -> Bijector:
        """Layer `index` by itself; the last one is -1."""
        rule = f"must be in {-self.num_layers} .. {self.num_layers - 1}"
        require(-self.num_layers <= index < self.num_layers, "index", rule, index)
        return jax.tree.map(lambda leaf: leaf[index], self.stacked)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self._apply(x, "forward_and_log_det", reverse=False)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self._apply(y, "inverse_and_log_det", reverse=True)

    def _apply(self, x: Array, direction: str, reverse: bool) -> tuple[Array, Array]:
        x = as_float(x)
        check_ndims(self, x, self.event_ndims_in)

        def body(state: tuple[Array, Array], layer: Any) -> tuple[tuple[Array, Array], None]:
            value, total = state
            value, log_det = getattr(layer, direction)(value)
            return (value, total + log_det), None

        body = jax.checkpoint(body) if self.rematerialise else rematerialised(body)
        # One layer may broadcast its input against a batch of its own, or promote it: settle
        # shapes and types first.
        start = (x, jnp.zeros(x.shape[: x.ndim - self.event_ndims_in], x.dtype))
        shapes = jax.eval_shape(lambda s: body(s, self.layer(0))[0], start)
        settled = lambda a, s: jnp.broadcast_to(a, s.shape).astype(s.dtype)
        state = jax.tree.map(settled, start, shapes)
        unroll = self.num_layers <= UNROLLED_UP_TO if self.unroll == "auto" else self.unroll
        if unroll:
            order = range(self.num_layers)
            for index in reversed(order) if reverse else order:
                state, _ = body(state, self.layer(index))
            return state
        with scanning():
            options = {"reverse": reverse, "length": self.num_layers}
            return scan(body, state, self.stacked, **options)[0]


def stack_bijectors(bijectors: Any) -> Bijector:
    """Bijectors of equal structure as one, whose arrays have a new leading dimension."""
    bijectors = list(bijectors)
    require(len(bijectors) >= 1, "bijectors", "must hold at least one bijector", "none")
    structures: list[Any] = [jax.tree.structure(b) for b in bijectors]
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(b)] for b in bijectors]
    for index, (structure, shape) in enumerate(zip(structures, shapes)):
        require(
            structure == structures[0] and shape == shapes[0],
            f"bijectors[{index}]",
            "must have the structure and shapes of bijectors[0]",
            type(bijectors[index]).__name__,
            "Alternate within a layer: `compose(coupling, swapped_coupling)`.",
        )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *bijectors)
