"""A latent-variable model with something added to it."""

from typing import Any

import flax.linen as nn

from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.types import Array, Key, PyTree


class Wrapper(LatentVariableModel):
    """A model that answers as the model inside it; subclasses add what an objective asks for.

    Attributes:
      model: a latent-variable model.
    """

    model: nn.Module

    @property
    def observation(self) -> Any:
        """The family of a site of x, where the model names it."""
        return getattr(self.model, "observation", None)

    def prior(self) -> Any:
        """p(z)."""
        return self.model.prior()

    def posterior(self, x: Array) -> Any:
        """q(z | x)."""
        return self.model.posterior(x)

    def likelihood(self, z: PyTree) -> Any:
        """p(x | z)."""
        return self.model.likelihood(z)

    def shown(self, z: PyTree, key: Key) -> Array:
        """What figures show of z."""
        return self.model.shown(z, key)
