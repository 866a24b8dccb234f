"""Flow layers: modules whose `__call__(context)` returns a bijector that is a complete pytree."""

from typing import Protocol

import flax.linen as nn
import jax.numpy as jnp
from distrax import Bijector

from dgmjax.bijectors.coupling import Coupling
from dgmjax.bijectors.inverse import Inverse
from dgmjax.bijectors.masked_autoregressive import MaskedAutoregressive
from dgmjax.bijectors.permutation import Permutation
from dgmjax.bijectors.splits import as_partition
from dgmjax.bijectors.transformers import Transformer
from dgmjax.nn.autoregressive import bind_network
from dgmjax.nn.masked_mlp import MaskedMLP
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array


class FlowLayer(Protocol):
    """A module that returns a bijector, base to data."""

    def __call__(self, context: Array | None = None) -> Bijector: ...


def initialised(layer: nn.Module, network: nn.Module, shape: tuple[int, ...], context) -> None:
    """Creates the parameters of a submodule that will only be used as a pytree."""
    if layer.is_initializing():
        network(jnp.zeros(shape), None if context is None else jnp.zeros(context.shape[-1]))


class MaskedAutoregressiveLayer(nn.Module):
    """MAF's layer (`inverse=False`: one-pass density) or IAF's (`inverse=True`: one-pass samples).

    Attributes:
      features: length of the event.
      hidden: units of the masked network's hidden layers.
      transformer: family of the elementwise bijector.
      reverse: reverse the order of the variables after this layer (towards the data).
    """

    features: int
    hidden: tuple[int, ...]
    transformer: Transformer
    activation: Activation = nn.relu
    context_features: int = 0
    inverse: bool = False
    reverse: bool = False
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
        return Inverse(bijector) if self.inverse else bijector


class CouplingLayer(nn.Module):
    """RealNVP's and NICE's layer: part of the event is transformed given the rest.

    Attributes:
      event_shape: shape of the event.
      split: which entries are transformed, see `dgmjax.bijectors.splits`.
      network: conditioner module, or None for an MLP with `hidden` units.
    """

    event_shape: tuple[int, ...]
    split: object
    transformer: Transformer
    hidden: tuple[int, ...] = ()
    activation: Activation = nn.relu
    network: nn.Module | None = None

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        partition = as_partition(self.split, self.event_shape)
        network = self.network or MLP(
            hidden=self.hidden,
            output=(*partition.params_shape, self.transformer.num_params),
            activation=self.activation,
            event_ndims=len(partition.conditioner_shape),
            zero_output=True,
            name="network",
        )
        initialised(self, network, partition.conditioner_shape, context)
        return Coupling(
            self.split,
            bind_network(network),
            self.transformer,
            self.event_shape,
            context=context,
        )


class Reverse(nn.Module):
    """Reverses the order of the variables; no parameters."""

    features: int

    def __call__(self, context: Array | None = None) -> Bijector:
        return Permutation(tuple(range(self.features - 1, -1, -1)))
