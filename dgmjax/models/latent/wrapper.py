"""Wrapper of a latent-variable model."""

from typing import Any

import flax.linen as nn

from dgmjax.contracts import is_conditional
from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.types import Array, Batch, Key, PyTree


class Wrapper(LatentVariableModel):
    """A model that behaves like the model inside it; subclasses add what an objective needs.

    Attributes:
      model: a latent-variable model.
    """

    model: nn.Module

    @property
    def observation(self) -> Any:
        """The family of a site of x, where the model names it."""
        return getattr(self.model, "observation", None)

    @property
    def data_rules(self) -> Any:
        """What the model reads of a batch, where it says so."""
        return getattr(self.model, "data_rules", None)

    def given(self, batch: Batch) -> Any:
        """The model of this batch: by the inner model's `given` if it has one, otherwise this."""
        return self.model.given(batch) if is_conditional(self.model) else self

    def make_all(self) -> Any:
        """Makes every parameter; a model that reads more of a batch than `x` makes its own."""
        return None if is_conditional(self.model) else super().make_all()

    def prior(self) -> Any:
        """p(z)."""
        return self.model.prior()

    def posterior(self, x: Array) -> Any:
        """q(z | x)."""
        return self.model.posterior(x)

    def likelihood(self, z: PyTree) -> Any:
        """p(x | z)."""
        return self.model.likelihood(z)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = (), *given: Any) -> Array:
        """x ~ p(x), or given further arguments of the model's own `sample`, such as a context."""
        return self.model.sample(key, sample_shape, *given)

    def mean(self, key: Key, sample_shape: tuple[int, ...] = (), *given: Any) -> Array:
        """What figures show of p(x); as `sample`."""
        return self.model.mean(key, sample_shape, *given)

    def shown(self, z: PyTree, key: Key) -> Array:
        """What figures show of z."""
        return self.model.shown(z, key)
