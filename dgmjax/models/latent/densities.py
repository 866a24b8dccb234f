"""Densities of a latent vector, as priors (learned) or posteriors (given a context)."""

from collections.abc import Callable

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.ar1 import AR1
from dgmjax.distributions.families import bounded
from dgmjax.distributions.full_normal import FullNormal
from dgmjax.distributions.mixture import Mixture
from dgmjax.errors import require
from dgmjax.models.base import DensityModel, num_dims
from dgmjax.types import Array

LOG_SCALE_BOUND = 10.0


class _Vectors(DensityModel):
    """What densities of z share: each parameter is learned, or linear in the context."""

    def _parameter(self, name: str, shape: tuple[int, ...], context: Array | None, init) -> Array:
        bias = self.param(name, init, shape)
        if context is None:
            return bias
        linear = nn.Dense(num_dims(shape), use_bias=False, name=f"{name}_of_context")(context)
        return bias + as_float(linear).reshape(*context.shape[:-1], *shape)


class FullCovarianceNormal(_Vectors):
    """N(mu, L L^T) over `[features]`, mu and L learned, or linear in the context `[..., C]`.

    The diagonal of L is exp of a smoothly bounded parameter; starts as N(0, I) without a context.
    """

    features: int

    @nn.compact
    def __call__(self, context: Array | None = None) -> FullNormal:
        size, zeros = self.features, nn.initializers.zeros
        loc = self._parameter("loc", (size,), context, zeros)
        below = self._parameter("below_diagonal", (size * (size - 1) // 2,), context, zeros)
        log_diagonal = self._parameter("log_diagonal", (size,), context, zeros)
        diagonal = jnp.exp(bounded(log_diagonal, LOG_SCALE_BOUND))
        cholesky = diagonal[..., None] * jnp.eye(size)
        rows, columns = jnp.tril_indices(size, -1)
        return FullNormal(loc, cholesky.at[..., rows, columns].add(below))


class NormalMixture(_Vectors):
    """sum_k w_k N(mu_k, diag(sigma_k^2)) over `[features]`: a prior whose components are clusters.

    Weights, means and scales are learned, or linear in the context `[..., C]` (a posterior of
    several modes). The means start apart, drawn from N(0, spread^2).

    Source: Jiang, Zheng, Tan, Tang & Zhou, "Variational Deep Embedding", 2017, equation 1.
    """

    features: int
    num_components: int
    spread: float = 1.0

    @nn.compact
    def __call__(self, context: Array | None = None) -> Mixture:
        shape, zeros = (self.num_components, self.features), nn.initializers.zeros
        require(self.num_components >= 1, "num_components", "must be >= 1", self.num_components)
        logits = self._parameter("logits", (self.num_components,), context, zeros)
        loc = self._parameter("loc", shape, context, nn.initializers.normal(self.spread))
        log_scale = bounded(self._parameter("log_scale", shape, context, zeros), LOG_SCALE_BOUND)
        return Mixture(logits, distrax.Independent(distrax.Normal(loc, jnp.exp(log_scale)), 1))


class AR1Prior(DensityModel):
    """The AR(1) prior of delta-VAE over `[length, features]`, with fixed alpha.

    alpha falls evenly over the features from `slowest` to `fastest`, so that some features
    change slowly along the sequence and some fast. `committed_rate()` of the distribution is the
    KL in nats that independent normal posteriors cannot fall below.

    Source: Razavi, van den Oord, Poole & Vinyals, "Preventing Posterior Collapse with delta-VAEs",
    2019, section 2.2.
    """

    length: int
    features: int
    slowest: float = 0.95
    fastest: float = 0.2

    def __call__(self, context: Array | None = None) -> AR1:
        sound = -1.0 < self.fastest <= self.slowest < 1.0
        require(
            sound,
            "slowest",
            "and `fastest` must be ordered, in (-1, 1)",
            (self.slowest, self.fastest),
        )
        return AR1(jnp.linspace(self.slowest, self.fastest, self.features), self.length)


class VampPrior(nn.Module):
    """The variational mixture of posteriors: p(z) = 1/K sum_k q(z | u_k), u_k learned.

    `reads_posterior` tells the model to call it with its posterior. Pseudo-inputs are kept in
    `value_range` by a sigmoid, and start as noise about `start`.

    Attributes:
      event_shape: shape of x.
      num_components: K pseudo-inputs.
      start: mean of the pseudo-inputs at the start, inside the range.

    Source: Tomczak & Welling, "VAE with a VampPrior", 2018, equation 9.
    """

    event_shape: tuple[int, ...]
    num_components: int
    value_range: tuple[float, float] = (0.0, 1.0)
    start: float = 0.1
    reads_posterior: bool = True

    @nn.compact
    def __call__(self, posterior: Callable[[Array], distrax.Distribution]) -> Mixture:
        low, high = self.value_range
        require(self.num_components >= 1, "num_components", "must be >= 1", self.num_components)
        require(low < self.start < high, "start", f"must lie inside ({low}, {high})", self.start)
        centre = jax.scipy.special.logit((self.start - low) / (high - low))
        init = lambda key, shape: centre + jax.random.normal(key, shape)
        inputs = self.param("pseudo_inputs", init, (self.num_components, *self.event_shape))
        x = low + (high - low) * jax.nn.sigmoid(inputs)
        return Mixture(jnp.zeros(self.num_components), posterior(x))
