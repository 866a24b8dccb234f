"""MADE: a masked autoencoder as an autoregressive model, with several orderings."""

import math

import flax.linen as nn

from dgmjax.distributions.autoregressive import Method
from dgmjax.distributions.families import Bernoulli, Family
from dgmjax.errors import as_sizes
from dgmjax.models.autoregressive.model import AutoregressiveModel, as_ordering
from dgmjax.nn.autoregressive.masked_mlp import MaskedMLP
from dgmjax.types import Activation


def MADE(
    event_shape: tuple[int, ...],
    hidden: tuple[int, ...] = (500,),
    family: Family = Bernoulli(),  # noqa: B008 (frozen)
    num_orders: int = 1,
    ordering: str | tuple[int, ...] = "natural",
    direct: bool = False,
    residual: bool = False,
    activation: Activation = nn.relu,
    context_features: int = 0,
    order_seed: int = 0,
    sampling: Method = "incremental",
) -> AutoregressiveModel:
    """p(x) = prod_t p(x_o(t) | x_o(<t)) with one masked MLP for all conditionals.

    Args:
      event_shape: shape of x; sites are its elements in raster order.
      hidden: units of each hidden layer.
      family: distribution of a site given its parameters.
      num_orders: orderings in the ensemble, each with its own connectivity; see
        `AutoregressiveModel`.
      ordering: "natural", "random" or a permutation, for order 0.
      direct, residual, activation: see `nn.MaskedMLP`.
      order_seed: seed of the random orderings and connectivities.

    Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution
    Estimation", 2015, Eq. 8 to 13 and section 4, https://arxiv.org/abs/1502.03509.
    """
    event_shape = as_sizes("event_shape", event_shape)
    network = MaskedMLP(
        features=math.prod(event_shape),
        hidden=as_sizes("hidden", hidden),
        num_params=family.num_params,
        activation=activation,
        direct=direct,
        residual=residual,
        context_features=context_features,
    )
    return AutoregressiveModel(
        event_shape=event_shape,
        network=network,
        family=family,
        context_features=context_features,
        sampling=sampling,
        flatten=True,
        num_orders=num_orders,
        ordering=as_ordering(ordering),
        order_seed=order_seed,
    )
