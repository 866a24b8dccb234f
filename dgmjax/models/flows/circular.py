"""Couplings of angles and real numbers: what a spline flow with circular tails is made of."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.partitions import alternating, as_partition, halves
from dgmjax.bijectors.transformers import RationalQuadraticSpline
from dgmjax.distributions.circle_and_line import CircleAndLine
from dgmjax.models.base import DensityModel
from dgmjax.models.flows.network_layers import CouplingLayer
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array


class CircleAndLineBase(DensityModel):
    """`distributions.CircleAndLine` as a module; no parameters."""

    circular: tuple[bool, ...]
    bound: float = math.pi

    def __call__(self, context: Array | None = None) -> CircleAndLine:
        return CircleAndLine(self.circular, self.bound)


class PeriodicMLP(nn.Module):
    """`nn.MLP` of the cosine and sine of circular entries: of period 2 bound in each of them.

    Attributes:
      circular: which of the entries of `x`, of one axis, are circular.
    """

    hidden: tuple[int, ...]
    circular: tuple[bool, ...]
    bound: float = math.pi
    output: tuple[int, ...] = ()
    activation: Activation = nn.relu
    event_ndims: int = 1
    zero_output: bool = False

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        circular, angle = np.array(self.circular), x * (math.pi / self.bound)
        # Sine and cosine together name an angle; either of them alone would confuse two.
        first = jnp.where(circular, jnp.cos(angle), x)
        read = jnp.concatenate([first, jnp.sin(angle[..., np.flatnonzero(circular)])], -1)
        mlp = MLP(self.hidden, self.output, self.activation, zero_output=self.zero_output)
        return mlp(read, context)


def circular_couplings(
    circular: tuple[bool, ...],
    layers: int,
    hidden: tuple[int, ...],
    num_bins: int,
    bound: float,
    activation: Activation = nn.relu,
) -> tuple[nn.Module, ...]:
    """Spline couplings of halves and of alternating entries, each with the tails of its entries.

    The two sides take turns: a linear map between them would not be one of a circle.

    Source: Rezende et al., "Normalizing Flows on Tori and Spheres", 2020, sections 2.1.1 and 2.2,
    https://arxiv.org/abs/2002.02428.
    """
    shape = (len(circular),)
    entries: Any = np.array(circular)
    # In four layers each entry is transformed twice, given two different sets of the others.
    splits = (halves(), halves(swap=True), alternating(), alternating(swap=True))
    parts: list[nn.Module] = []
    for i in range(layers):
        partition = as_partition(splits[i % 4], shape)
        kept, changed = (
            tuple(map(bool, np.asarray(side(entries))))
            for side in (partition.kept, partition.changed)
        )
        tails = tuple("circular" if one else "linear" for one in changed)
        spline = RationalQuadraticSpline(num_bins, bound, tails)
        network = PeriodicMLP(hidden, kept, bound, (), activation)
        parts.append(CouplingLayer(shape, splits[i % 4], spline, network))
    return tuple(parts)
