"""Models with an exact posterior: densities that are latent-variable models, too."""

from typing import Any, Protocol

import distrax

from dgmjax.models.base import DensityModel
from dgmjax.types import Array, Key, PyTree


class ExactLatentModel(DensityModel):
    """A density p(x) = sum or integral of p(z) p(x | z) over z, whose posterior p(z | x) is known.

    `log_prob` and `sample` are those of the marginal. The importance weights of `iwae` are all
    equal to p(x), for any number of samples.
    """

    def prior(self) -> distrax.Distribution:
        """p(z)."""
        raise NotImplementedError(f"{type(self).__name__} must define prior().")

    def posterior(self, x: Array) -> distrax.Distribution:
        """p(z | x)."""
        raise NotImplementedError(f"{type(self).__name__} must define posterior(x).")

    def likelihood(self, z: Array) -> distrax.Distribution:
        """p(x | z)."""
        raise NotImplementedError(f"{type(self).__name__} must define likelihood(z).")

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(z) + log p(x | z) in nats."""
        return self.prior().log_prob(z) + self.likelihood(z).log_prob(x)

    def mean(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """E[x | z] with z ~ p(z)."""
        return self.likelihood(self.prior().sample(seed=key, sample_shape=sample_shape)).mean()

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | z] with z ~ p(z | x)."""
        return self.likelihood(self.posterior(x).sample(seed=key)).mean()


class EMModel(Protocol):
    """What `training.em_learner` asks of a module: both are pure, and need no variables."""

    def em_start(self, key: Key, x: Array, rows: Array) -> PyTree:
        """Parameters to start from, for data `[B, ...]` and weights of the rows `[B]`."""
        ...

    def em_step(self, params: PyTree, x: Array, rows: Array) -> tuple[PyTree, Array]:
        """Parameters after one E- and one M-step, and log p(x) `[B]` under those before."""
        ...

    def bind(self, variables: PyTree) -> Any:
        """The model with its parameters."""
        ...
