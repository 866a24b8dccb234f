"""Priors that are fitted after training: a model with another prior, and a VAE of its codes."""

from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.affine import ElementwiseAffine
from dgmjax.bijectors.block import Block
from dgmjax.contracts import log_joint, reads_posterior
from dgmjax.distributions.base import Distribution
from dgmjax.distributions.transformed import Transformed
from dgmjax.errors import require_sizes
from dgmjax.models.base import DensityModel
from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.types import Array, Key, PyTree


class WithPrior(LatentVariableModel):
    """p(z) p(x | z) with another p(z): samples x ~ p(x | z), z ~ `prior_model`.

    Attributes:
      model: a latent-variable model, whose posterior and likelihood are kept.
      prior_model: density module of its latents.
    """

    model: nn.Module
    prior_model: nn.Module

    @property
    def observation(self) -> Any:
        """The family of a site of x, where the model names it."""
        return getattr(self.model, "observation", None)

    @property
    def prior_module(self) -> nn.Module:
        """The prior as a module, for `objectives.on_latents`."""
        return self.prior_model

    def prior(self) -> distrax.Distribution:
        """p(z)."""
        reads = reads_posterior(self.prior_model)
        return self.prior_model(self.model.posterior) if reads else self.prior_model()

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(z | x) of the model."""
        return self.model.posterior(x)

    def likelihood(self, z: PyTree) -> Any:
        """p(x | z) of the model."""
        return self.model.likelihood(z)

    def shown(self, z: PyTree, key: Key) -> Array:
        """What figures show of z."""
        return self.model.shown(z, key)


class Standardised(DensityModel):
    """The density of z = loc + scale z', where `model` is one of z'.

    Networks are made for numbers about 0 of size 1, and codes are not.

    Attributes:
      model: density module of vectors.
      loc, scale: of each dimension.
    """

    model: nn.Module
    loc: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(self, context: Array | None = None) -> Transformed:
        affine = ElementwiseAffine(jnp.asarray(self.loc), jnp.log(jnp.asarray(self.scale)))
        return Transformed(self.model(), Block(affine, 1))

    def standard(self, z: Array) -> tuple[Array, Array]:
        """z' `[..., D]`, and log |dz'/dz|."""
        scale = jnp.asarray(self.scale)
        return (z - jnp.asarray(self.loc)) / scale, -jnp.log(scale).sum()


class SecondStage(Wrapper):
    """A VAE as a density module of vectors z: p(z) = E_{q(u | z)}[p(z, u) / q(u | z)].

    `objectives.elbo` trains it on codes of a first stage, and `WithPrior` makes it their prior.

    Attributes:
      model: a latent-variable model of real vectors.
      num_samples: of u, see `Marginal`.

    Source: Dai & Wipf, "Diagnosing and Enhancing VAE Models", 2019, section 4,
    https://arxiv.org/abs/1903.05789.
    """

    num_samples: int = 1

    def __call__(self, context: Array | None = None) -> "Marginal":
        """p(z)."""
        require_sizes(num_samples=self.num_samples)
        return Marginal(self.model, self.num_samples)

    def log_prob(self, z: Array, context: Array | None = None) -> Array:
        """An estimate of log p(z), see `Marginal`."""
        return self().log_prob(z)


class Marginal(Distribution):
    """The marginal of a bound latent-variable model: samples are exact, densities estimates.

    log_prob is log 1/K sum_k p(z, u_k) / q(u_k | z), below log p(z) on average. Its exponential is
    unbiased, so that importance-weighted bounds of a model with this prior are bounds, and reach
    log p(x) with their number of samples, for any K. The noise is a function of all z of a call:
    equal calls have equal estimates, and one z has another in another batch.

    Args:
      model: bound, with `prior()`, `posterior(z)` and `likelihood(u)`.
      num_samples: K.
    """

    def __init__(self, model: Any, num_samples: int = 1):
        super().__init__()
        self.model, self.num_samples = model, num_samples

    @property
    def _shape(self) -> tuple[int, ...]:
        u = jnp.zeros((1, *self.model.prior().event_shape))
        return tuple(self.model.likelihood(u).event_shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    def log_prob(self, value: Array) -> Array:
        bits = jax.lax.bitcast_convert_type(jnp.sum(value, dtype=jnp.float32), jnp.uint32)
        key = jax.random.fold_in(jax.random.key(0), jax.lax.stop_gradient(bits))
        q = self.model.posterior(value)
        u, log_q = q.sample_and_log_prob(seed=key, sample_shape=(self.num_samples,))
        weights = log_joint(self.model, value, u) - log_q
        return jax.nn.logsumexp(weights, axis=0) - jnp.log(float(self.num_samples))

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self.model.sample(key, sample_shape)
