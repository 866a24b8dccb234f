"""Flow layers whose parameters a network predicts: couplings, autoregressive, amortised maps."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from distrax import Bijector

from dgmjax.bijectors.block import Block
from dgmjax.bijectors.coupling import Coupling
from dgmjax.bijectors.inverse import Inverse
from dgmjax.bijectors.masked_autoregressive import MaskedAutoregressive
from dgmjax.bijectors.partitions import as_partition
from dgmjax.bijectors.transformers import Affine, Transformer
from dgmjax.errors import require
from dgmjax.nn.autoregressive.binding import bind_network
from dgmjax.nn.autoregressive.masked_mlp import MaskedMLP
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array


def initialised(
    layer: nn.Module,
    network: nn.Module,
    shape: tuple[int, ...],
    context: Array | None,
    context_ndims: int = 1,
) -> None:
    """Creates the parameters of a submodule that will only be used as a pytree."""
    if layer.is_initializing():
        ndims = 0 if context is None else context.ndim - context_ndims
        example = None if context is None else jnp.zeros(context.shape[ndims:])
        # One call without batch axes: the bijector below uses the network as data, and never calls
        # the module.
        network(jnp.zeros(shape), example)


class MaskedAutoregressiveLayer(nn.Module):
    """MAF's layer (`inverse=False`: one-pass density) or IAF's (`inverse=True`: one-pass samples).

    Attributes:
      features: length of the event.
      hidden: units of the masked network's hidden layers.
      transformer: family of the elementwise bijector.
    """

    features: int
    hidden: tuple[int, ...]
    transformer: Transformer = Affine()
    activation: Activation = nn.relu
    context_features: int = 0
    inverse: bool = False
    residual: bool = False
    forward_method: str = "incremental"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        network = MaskedMLP(
            features=self.features,
            hidden=self.hidden,
            num_params=self.transformer.num_params,
            activation=self.activation,
            residual=self.residual,
            context_features=self.context_features,
            zero_output=True,
            dtype=self.dtype,
            name="network",
        )
        initialised(self, network, (self.features,), context)
        bijector: Bijector = MaskedAutoregressive(
            bind_network(network),
            self.transformer,
            context=context,
            forward_method=self.forward_method,
        )
        # The bijector's inverse, data to base, is the parallel pass. Turned round, base to data is:
        # fast samples, and densities site by site.
        return Inverse(bijector) if self.inverse else bijector


class CouplingLayer(nn.Module):
    """RealNVP's and NICE's layer: part of the event is transformed given the rest.

    Attributes:
      event_shape: shape of the event.
      split: which entries are transformed, see `dgmjax.bijectors.partitions`; hashable.
      transformer: family of the elementwise bijector.
      conditioner: template of the network, `nn.MLP(hidden, ())` or `nn.ConvResNet((), ...)`: its
        `output` is set here, its output starts at zero, and so the layer as the identity.
      context_ndims: rank of the context of one example (3 for an image).
    """

    event_shape: tuple[int, ...]
    split: Any
    transformer: Transformer = Affine()
    conditioner: nn.Module = MLP((64, 64), ())
    context_ndims: int = 1

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        partition = as_partition(self.split, self.event_shape)
        network = self.conditioner.clone(
            parent=self,
            name="network",
            output=(*partition.params_shape, self.transformer.num_params),
            event_ndims=len(partition.conditioner_shape),
            zero_output=True,
        )
        shape = partition.conditioner_shape
        initialised(self, network, shape, context, self.context_ndims)
        return Coupling(
            self.split,
            bind_network(network),
            self.transformer,
            self.event_shape,
            context=context,
            context_ndims=self.context_ndims,
        )


class ParametricLayer(nn.Module):
    """A map of whole vectors with parameters of its own, or predicted from the context.

    Free: theta is learned. Amortised: theta = W c + b, one map for each example, which is how an
    encoder predicts the flow of its posterior.

    Attributes:
      family: `bijectors.PlanarFamily(D)`, `RadialFamily(D)`, `SylvesterFamily(D, ...)`, or
        `Elementwise((D,), transformer)`.
      amortised: whether the context predicts the parameters; a context is ignored otherwise.
      scale: standard deviation of the parameters at the start. Planar flows of zero parameters
        are a saddle point.
    """

    family: Any
    amortised: bool = False
    scale: float = 0.1

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        init = nn.initializers.normal(self.scale)
        params = self.param("params", init, (self.family.num_params,))
        if self.amortised:
            require(
                context is not None,
                "context",
                "must be given where the parameters are amortised",
                "none",
                "Pass what the encoder returns, or use `amortised=False`.",
            )
            # For a context of unit variance, predictions are as spread out as free parameters are.
            small = nn.initializers.variance_scaling(self.scale**2, "fan_in", "normal")
            head = nn.Dense(
                self.family.num_params, use_bias=False, kernel_init=small, name="predicted"
            )
            params = params + head(context)
        return self.family(params)


class Elementwise:
    """The family of maps of each entry by itself, for `ParametricLayer`; compared by value.

    `Elementwise((D,), Affine())` is the scaling layer of NICE, with a shift.
    """

    def __init__(self, event_shape: tuple[int, ...], transformer: Transformer) -> None:
        self.event_shape, self.transformer = tuple(event_shape), transformer

    @property
    def num_params(self) -> int:
        return math.prod(self.event_shape) * self.transformer.num_params

    def __call__(self, params: Array) -> Bijector:
        shape = (*params.shape[:-1], *self.event_shape, self.transformer.num_params)
        return Block(self.transformer(params.reshape(shape)), len(self.event_shape))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Elementwise) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple:
        return self.event_shape, self.transformer
