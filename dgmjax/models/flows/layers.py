"""Flow layers: the protocol, and layers that need no network (fixed maps, sequences, stacks).

A layer is a module whose `__call__(context)` returns a bijector, base to data, that is a complete
pytree. Layers that must see data (activation and batch normalisation) and layers that hold
others also have `observe`; everything else gets it from the function of that name.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from distrax import Bijector

from dgmjax.bijectors.base import as_float
from dgmjax.bijectors.block import Block
from dgmjax.bijectors.carry import scan
from dgmjax.bijectors.composition import compose
from dgmjax.bijectors.multiscale import MultiScale
from dgmjax.bijectors.permutation import Permutation
from dgmjax.bijectors.rematerialisation import rematerialised
from dgmjax.bijectors.repeat import Repeat
from dgmjax.contracts import looks_at_batches
from dgmjax.errors import require
from dgmjax.types import Array


class FlowLayer(Protocol):
    """A module that returns a bijector of whole events, base to data.

    A layer may also define `observe(x, context, mask) -> (z, log_det)`, the inverse of the batch
    `x` and its log-determinant `[...]`, in which it may look at `x`: to choose its first
    parameters while initialising, or to normalise with the batch's statistics while they are
    mutable. It looks at rows whose `mask[B]` is above 0 only (at all where it is None).
    """

    def __call__(self, context: Array | None = None) -> Bijector: ...


def observe(
    layer: Any, x: Array, context: Array | None = None, mask: Array | None = None
) -> tuple[Array, Array]:
    """`layer.observe(x, context, mask)`, or the inverse of a layer without `observe`."""
    if looks_at_batches(layer):
        return layer.observe(x, context, mask)
    return rematerialised(lambda bijector, x: bijector.inverse_and_log_det(x))(layer(context), x)


def observe_all(
    layers: Sequence[Any], x: Array, context: Array | None = None, mask: Array | None = None
) -> tuple[Array, Array]:
    """From the data to the base, last layer first: every layer observes its own input."""
    total: Array | float = 0.0
    for layer in reversed(layers):
        x, log_det = observe(layer, x, context, mask)
        total = total + log_det
    return x, jnp.asarray(total)


class Fixed(nn.Module):
    """A layer without parameters: the bijector `make(*arguments)`.

    `Fixed(Permutation, ((2, 0, 1),))`, `Fixed(Squeeze)`, `Fixed(Sigmoid, (0.05,), event_ndims=3)`.

    Attributes:
      make: a class or function at module level, so that equal layers compare equal.
      arguments: hashable.
      event_ndims: rank of the event, for bijectors of scalars.
    """

    make: Callable[..., Bijector]
    arguments: tuple = ()
    event_ndims: int | None = None

    def __call__(self, context: Array | None = None) -> Bijector:
        bijector = self.make(*self.arguments)
        extra = (self.event_ndims or 0) - bijector.event_ndims_in
        return Block(bijector, extra) if extra > 0 else bijector


class Reverse(nn.Module):
    """Reverses the order of the variables; no parameters."""

    features: int

    def __call__(self, context: Array | None = None) -> Bijector:
        return Permutation(tuple(range(self.features - 1, -1, -1)))


class Composed(nn.Module):
    """Layers one after the other, base side first, as one layer."""

    layers: Sequence[nn.Module]

    def __call__(self, context: Array | None = None) -> Bijector:
        return compose(*(layer(context) for layer in self.layers))

    def observe(
        self, x: Array, context: Array | None = None, mask: Array | None = None
    ) -> tuple[Array, Array]:
        return observe_all(self.layers, x, context, mask)


class Repeated(nn.Module):
    """`num_layers` layers of one kind with stacked parameters: compiles as fast as one.

    Attributes:
      layer: the template; each copy has parameters of its own, drawn independently. It may hold
        parameters only (no running statistics).
      num_layers: how many.
      unroll, rematerialise: see `dgmjax.bijectors.Repeat`.
    """

    layer: nn.Module
    num_layers: int
    unroll: bool | Literal["auto"] = "auto"
    rematerialise: bool = False

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        require(self.num_layers >= 1, "num_layers", "must be at least 1", self.num_layers)
        layer = self.layer.clone(parent=None)

        def init(key):
            draw = lambda key: _params(layer.init(key, context))
            return jax.vmap(draw)(jax.random.split(key, self.num_layers))

        params = self.param("layers", init)
        stacked = jax.vmap(lambda p: layer.apply({"params": p}, context))(params)
        return Repeat(stacked, self.num_layers, self.unroll, self.rematerialise)

    def observe(
        self, x: Array, context: Array | None = None, mask: Array | None = None
    ) -> tuple[Array, Array]:
        """While initialising, layer by layer from the data, so that each sees its own input."""
        if not self.is_initializing():
            return self(context).inverse_and_log_det(x)
        layer = self.layer.clone(parent=None)

        def body(state, key):
            x, total = state
            (z, log_det), variables = layer.init_with_output(key, x, context, mask, method=observe)
            return (z, total + log_det), _params(variables)

        keys = jax.random.split(self.make_rng("params"), self.num_layers)
        x = as_float(x)
        # A scan needs its carry in the final shape and dtype, which only the layer knows: a dry run
        # over shapes tells, without any arithmetic.
        (_, log_det), _ = jax.eval_shape(body, (x, jnp.zeros(())), keys[0])
        start = (x, jnp.zeros(log_det.shape, log_det.dtype))
        # Layers are stacked from the base to the data, and observed from the data to the base.
        state, params = scan(body, start, keys, reverse=True)
        self.put_variable("params", "layers", params)
        return state


def _params(variables: Any) -> Any:
    others = sorted(set(variables) - {"params"})
    require(not others, "layer", "must hold only parameters, to be repeated", f"also {others}")
    return variables.get("params", {})


class MultiScaleLayer(nn.Module):
    """Levels of layers; after each, half of the channels go straight to the base.

    Attributes:
      levels: from the finest (beside the data) to the coarsest, each a sequence of layers of
        images, base side first.
      event_shape: `[H, W, C]` of the data.

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, Eq. 13 to 15,
    https://arxiv.org/abs/1605.08803.
    """

    levels: Sequence[Sequence[nn.Module]]
    event_shape: tuple[int, ...]

    def __call__(self, context: Array | None = None) -> Bijector:
        levels = [compose(*(layer(context) for layer in level)) for level in self.levels]
        return MultiScale(levels, self.event_shape)

    def observe(
        self, x: Array, context: Array | None = None, mask: Array | None = None
    ) -> tuple[Array, Array]:
        parts: list[Array] = []
        total: Array | float = 0.0
        for level in self.levels:
            x, log_det = observe_all(level, x, context, mask)
            total = total + log_det
            # As in `MultiScale`: the first half goes on, the second is done, and parts follow each
            # other from the finest level to the coarsest. Any other order would permute the base.
            if len(parts) < len(self.levels) - 1:
                half = x.shape[-1] // 2
                x, done = x[..., :half], x[..., half:]
                parts.append(done)
        parts.append(x)
        flat = [part.reshape(*part.shape[:-3], math.prod(part.shape[-3:])) for part in parts]
        return jnp.concatenate(flat, axis=-1), jnp.asarray(total)
