"""A latent-variable model with something added to it."""

from typing import Any

import flax.linen as nn

from dgmjax.types import Array, Key


class Wrapper(nn.Module):
    """A model that answers as the model inside it; subclasses add what an objective asks for.

    Attributes:
      model: a latent-variable model (`prior`, `posterior`, `likelihood`, `log_joint`, ...).
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

    def likelihood(self, z: Array) -> Any:
        """p(x | z)."""
        return self.model.likelihood(z)

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z) in nats."""
        return self.model.log_joint(x, z)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """x ~ p(x | z), z ~ p(z)."""
        return self.model.sample(key, sample_shape)

    def mean(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """E[x | z] with z ~ p(z)."""
        return self.model.mean(key, sample_shape)

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | z] with z ~ q(z | x)."""
        return self.model.reconstruct(x, key)
