"""A normalizing flow: base distribution and layers, as one density model."""

from collections.abc import Sequence

import flax.linen as nn
from distrax import Bijector

from dgmjax.bijectors.composition import compose
from dgmjax.distributions.transformed import Transformed
from dgmjax.errors import require
from dgmjax.models.base import DensityModel, StandardNormal
from dgmjax.types import Array


class Flow(DensityModel):
    """x = f_L(... f_1(z)), z ~ base: log p(x) = log p_base(z) - sum_l log|det J f_l|.

    Attributes:
      event_shape: shape of z (and of x, unless a layer changes it).
      layers: modules whose `__call__(context)` returns a bijector, base side first.
      base: density module of z; standard normal where None.
    """

    event_shape: tuple[int, ...]
    layers: Sequence[nn.Module]
    base: nn.Module | None = None

    def setup(self):
        require(len(self.layers) >= 1, "layers", "must hold at least one layer", "none")
        self.base_model = StandardNormal(self.event_shape) if self.base is None else self.base

    def bijector(self, context: Array | None = None) -> Bijector:
        """The whole transformation, base to data, as one pytree."""
        return compose(*(layer(context) for layer in self.layers))

    def __call__(self, context: Array | None = None) -> Transformed:
        return Transformed(self.base_model(), self.bijector(context))
