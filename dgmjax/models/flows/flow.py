"""Normalizing flow: base distribution and layers as one density model."""

from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
from distrax import Bijector

from dgmjax.bijectors.composition import compose
from dgmjax.distributions.transformed import Transformed, log_prob_in_batch
from dgmjax.errors import require
from dgmjax.models.base import DensityModel, StandardNormal
from dgmjax.models.flows.layers import observe_all
from dgmjax.models.flows.linear_layers import RUNNING
from dgmjax.types import Array, Key


class Flow(DensityModel):
    """x = f_L(... f_1(z)), z ~ base: log p(x) = log p_base(z) - sum_l log|det J f_l|.

    The same object is a density, a prior, and (given a context) a conditional density or a
    posterior.

    Attributes:
      event_shape: shape of z (and of x, unless a layer changes it).
      layers: modules whose `__call__(context)` returns a bijector, base side first.
      base: density module of z given the context; standard normal if None.
    """

    event_shape: tuple[int, ...]
    layers: Sequence[nn.Module]
    base: nn.Module | None = None
    reads_mask: ClassVar[bool] = True

    def setup(self):
        require(len(self.layers) >= 1, "layers", "must hold at least one layer", "none")
        self.base_model = StandardNormal(self.event_shape) if self.base is None else self.base

    def bijector(self, context: Array | None = None) -> Bijector:
        """The whole transformation, base to data, as one pytree."""
        return compose(*(layer(context) for layer in self.layers))

    def __call__(self, context: Array | None = None) -> Transformed:
        return Transformed(self.base_model(context), self.bijector(context))

    def log_prob(self, x: Array, context: Array | None = None, mask: Array | None = None) -> Array:
        """log p(x | context) in nats, of shape `sample_shape + batch_shape`.

        Initialised through this method, activation normalisation starts from the batch `x`; while
        running statistics are mutable (in training), batch normalisation uses those of `x`: of
        its rows whose `mask[B]` is 1, where one is given.
        """
        if not (self.is_initializing() or self.is_mutable_collection(RUNNING)):
            return self(context).log_prob(x)
        # Layers that look at data must see what arrives at them: they run one by one, from the data
        # to the base, and not as one composed bijector.
        z, log_det = observe_all(self.layers, x, context, mask)
        return log_prob_in_batch(self.base_model(context), z) + log_det

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        temperature: Array | float = 1.0,
    ) -> Array:
        """Samples of x given the context; `temperature` is the base's, see `Transformed.sample`."""
        return self(context).sample(seed=key, sample_shape=sample_shape, temperature=temperature)
