"""Inverse autoregressive flows over sequences, drawn in one pass: students of slow teachers."""

import math

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.affine import ElementwiseAffine
from dgmjax.bijectors.masked_autoregressive import MaskedAutoregressive
from dgmjax.bijectors.transformers import Affine
from dgmjax.distributions.parallel import ParallelAutoregressive
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.base import DensityModel
from dgmjax.models.flows.network_layers import initialised
from dgmjax.nn.autoregressive.binding import bind_network
from dgmjax.nn.autoregressive.causal import CausalNetwork, Pointwise
from dgmjax.nn.autoregressive.causal_conv import CausalConv
from dgmjax.nn.autoregressive.gated import WaveNetStack
from dgmjax.nn.embeddings import Real
from dgmjax.types import Array, Key


class ParallelModel(DensityModel):
    """x_t = loc_t(z_<t) + scale_t(z_<t) z_t: affine autoregressive steps over noise.

    Samples and the conditionals p(x_t | z_<t) cost one pass of each network; log p(x) finds the
    noise site by site.

    Attributes:
      event_shape: (T,).
      networks: of the autoregressive protocol with two parameters a site, the noise's first.
      base: kind of the noise, see `distributions.ParallelAutoregressive`.
      levels: x is in units of the levels 0 .. levels - 1, and samples are rounded to them; None for
        real numbers.
      initial_scale: of x at the start, as a share of half the range of the levels.
    """

    event_shape: tuple[int, ...]
    networks: tuple[nn.Module, ...]
    base: str = "logistic"
    levels: int | None = None
    initial_scale: float = 0.05

    @nn.compact
    def __call__(self, context: Array | None = None) -> ParallelAutoregressive:
        for network in self.networks:
            initialised(self, network, tuple(self.event_shape), context)
        half = 1.0 if self.levels is None else (self.levels - 1) / 2
        middle = 0.0 if self.levels is None else half
        start = 0.0 if self.levels is None else math.log(self.initial_scale)
        loc = self.param("loc", nn.initializers.zeros, ())
        log_scale = self.param("log_scale", nn.initializers.constant(start), ())
        return ParallelAutoregressive(
            [
                MaskedAutoregressive(bind_network(network), Affine(), context=context)
                for network in self.networks
            ],
            self.event_shape,
            self.base,
            ElementwiseAffine(middle + half * loc, math.log(half) + log_scale),
            () if context is None else context.shape[:-1],
        )

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples given the context; with `levels` the nearest of them."""
        x = self(context).sample(seed=key, sample_shape=sample_shape)
        return x if self.levels is None else jnp.clip(jnp.round(x), 0, self.levels - 1)


def ParallelWaveNet(
    event_shape: tuple[int, ...],
    *,
    flows: int = 3,
    channels: int = 16,
    layers: int = 7,
    kernel_size: int = 3,
    levels: int | None = None,
    context_features: int = 0,
    local_features: int = 0,
    hop: int = 1,
    **options,
) -> ParallelModel:
    """Flows of dilated causal convolutions over logistic noise; see `models.WaveNet`.

    Args:
      flows: steps, each with a network of its own.
      channels: of the residual stream and of the skip connections.
      layers: of each network, with dilations 1, 2, .. 2^(layers - 1).
      context_features, local_features, hop: see `models.WaveNet`.
      options: of `ParallelModel`.

    Source: van den Oord et al., "Parallel WaveNet: Fast High-Fidelity Speech Synthesis", 2018,
    section 3, https://arxiv.org/abs/1711.10433.
    """
    event_shape = as_sizes("event_shape", event_shape)
    require(len(event_shape) == 1, "event_shape", "must be (T,), a sequence", event_shape)
    require_sizes(flows=flows, channels=channels, layers=layers, kernel_size=kernel_size, hop=hop)
    reach = (kernel_size - 1) * 2 ** (layers - 1)
    rule = f"must leave the furthest look back, {reach}, within a sequence of {event_shape[0]}"
    require(reach < event_shape[0], "layers", rule, layers)
    act = Pointwise(nn.relu)

    def network() -> CausalNetwork:
        dilations = tuple(2**i for i in range(layers))
        stack = WaveNetStack(
            channels, channels, dilations, kernel_size, context_features, local_features, hop
        )
        return CausalNetwork(
            layers=(CausalConv(channels, 2), stack, act, Pointwise(nn.Dense(channels)), act),
            num_params=2,
            embed=Real(scale=2.0),
            event_shape=event_shape,
            context_features=context_features,
            local_features=local_features,
            hop=hop,
        )

    networks = tuple(network() for _ in range(flows))
    return ParallelModel(event_shape, networks, levels=levels, **options)
