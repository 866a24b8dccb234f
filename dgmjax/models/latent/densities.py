"""Densities of a latent vector, as priors (learned) or posteriors (given a context)."""

from collections.abc import Callable
from typing import Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.distributions.ar1 import AR1
from dgmjax.distributions.families import bounded
from dgmjax.distributions.full_normal import FullNormal
from dgmjax.distributions.hyperbolic import (
    WrappedNormal as WrappedNormalDistribution,
    exponential_map,
)
from dgmjax.distributions.mixture import Mixture
from dgmjax.distributions.point_mass import PointMass as PointMassDistribution
from dgmjax.distributions.spherical import (
    SphericalUniform as SphericalUniformDistribution,
    VonMisesFisher as VonMisesFisherDistribution,
    unit,
)
from dgmjax.errors import require, require_sizes
from dgmjax.models.base import LOG_SCALE_BOUND, DensityModel, ParametricDensity
from dgmjax.types import Array


def _triangle(log_diagonal: Array, below: Array) -> Array:
    """Lower-triangular `[..., D, D]` of a positive diagonal, from `[..., D]` and what is below."""
    size = log_diagonal.shape[-1]
    cholesky = jnp.exp(bounded(log_diagonal, LOG_SCALE_BOUND))[..., None] * jnp.eye(size)
    return cholesky.at[..., *jnp.tril_indices(size, -1)].add(below)


class FullCovarianceNormal(ParametricDensity):
    """N(mu, L L^T) over `[features]`, mu and L learned, or linear in the context `[..., C]`.

    The diagonal of L is exp of a smoothly bounded parameter; starts as N(0, I) without a context.
    """

    features: int

    @nn.compact
    def __call__(self, context: Array | None = None) -> FullNormal:
        require_sizes(features=self.features)
        size, zeros = self.features, nn.initializers.zeros
        loc = self.parameter("loc", (size,), context, zeros)
        below = self.parameter("below_diagonal", (size * (size - 1) // 2,), context, zeros)
        log_diagonal = self.parameter("log_diagonal", (size,), context, zeros)
        return FullNormal(loc, _triangle(log_diagonal, below))


class PointMass(ParametricDensity):
    """A vector `[features]` without noise, learned, or linear in the context `[..., C]`.

    As the posterior of a VAE it makes an autoencoder, for `objectives.regularised_autoencoder`.
    """

    features: int

    @nn.compact
    def __call__(self, context: Array | None = None) -> PointMassDistribution:
        require_sizes(features=self.features)
        zeros = nn.initializers.zeros
        return PointMassDistribution(self.parameter("loc", (self.features,), context, zeros))


class VonMisesFisher(ParametricDensity):
    """A von Mises-Fisher density on the unit sphere of `[features]`: a posterior of the S-VAE.

    Direction and concentration 1 + softplus(s) are learned, or linear in the context `[..., C]`
    before they are normalised. The prior is `SphericalUniform(features)`.

    Source: Davidson, Falorsi, De Cao, Kipf & Tomczak, "Hyperspherical Variational Auto-Encoders",
    2018, section 3, https://arxiv.org/abs/1804.00891.
    """

    features: int

    @nn.compact
    def __call__(self, context: Array | None = None) -> VonMisesFisherDistribution:
        spread = nn.initializers.normal(1.0)
        loc = self.parameter("loc", (self.features,), context, spread)
        raw = self.parameter("concentration", (), context, nn.initializers.zeros)
        return VonMisesFisherDistribution(unit(loc), 1.0 + jax.nn.softplus(raw))


class WrappedNormal(ParametricDensity):
    """A wrapped normal on the Poincare ball of `[features]`: prior and posterior of a Poincare VAE.

    The centre is exp_0 of a vector, and the scale softplus of one, learned, or linear in the
    context `[..., C]`. Without a context it starts at the centre of the ball with scales of log 2.

    Source: Mathieu, Le Lan, Maddison, Tomioka & Teh, "Continuous Hierarchical Representations with
    Poincare Variational Auto-Encoders", 2019, section 3.2, https://arxiv.org/abs/1901.06033.
    """

    features: int
    curvature: float = 1.0

    @nn.compact
    def __call__(self, context: Array | None = None) -> WrappedNormalDistribution:
        zeros = nn.initializers.zeros
        towards = self.parameter("loc", (self.features,), context, zeros)
        raw = self.parameter("scale", (self.features,), context, zeros)
        loc = exponential_map(jnp.zeros_like(towards), towards, self.curvature)
        return WrappedNormalDistribution(loc, 1e-4 + jax.nn.softplus(raw), self.curvature)


class SphericalUniform(DensityModel):
    """The uniform density on the unit sphere of `[features]`; no parameters."""

    features: int

    def __call__(self, context: Array | None = None) -> SphericalUniformDistribution:
        return SphericalUniformDistribution(self.features)


class NormalMixture(ParametricDensity):
    """sum_k w_k N(mu_k, Sigma_k) over `[features]`: a prior whose components are clusters.

    Weights, means and scales are learned, or linear in the context `[..., C]` (a posterior of
    several modes). The means start apart, drawn from N(0, spread^2).

    Attributes:
      features: length of z.
      num_components: K.
      spread: standard deviation of the means at the start.
      covariance: "diag", or "full": Sigma_k = L_k L_k^T as in `FullCovarianceNormal`.

    Source: Jiang, Zheng, Tan, Tang & Zhou, "Variational Deep Embedding: An Unsupervised and
    Generative Approach to Clustering", 2017, Eq. 1 (with diagonal covariances),
    https://arxiv.org/abs/1611.05148.
    """

    features: int
    num_components: int
    spread: float = 1.0
    covariance: Literal["diag", "full"] = "diag"

    @nn.compact
    def __call__(self, context: Array | None = None) -> Mixture:
        require_sizes(num_components=self.num_components, features=self.features)
        shape, zeros = (self.num_components, self.features), nn.initializers.zeros
        logits = self.parameter("logits", (self.num_components,), context, zeros)
        loc = self.parameter("loc", shape, context, nn.initializers.normal(self.spread))
        log_scale = self.parameter("log_scale", shape, context, zeros)
        if self.covariance == "full":
            size = self.features * (self.features - 1) // 2
            below = self.parameter("below_diagonal", (shape[0], size), context, zeros)
            return Mixture(logits, FullNormal(loc, _triangle(log_scale, below)))
        rule = "must be 'diag' or 'full'"
        require(self.covariance == "diag", "covariance", rule, repr(self.covariance))
        scale = jnp.exp(bounded(log_scale, LOG_SCALE_BOUND))
        return Mixture(logits, distrax.Independent(distrax.Normal(loc, scale), 1))

    def fitted(self, logits: Array, loc: Array, scale: Array) -> dict[str, Array]:
        """Parameters of the learned mixture of weights softmax(logits), means and scales.

        Args:
          logits: `[K]`.
          loc: `[K, D]`.
          scale: standard deviations `[K, D]`, or Cholesky factors `[K, D, D]` where `covariance`
            is "full".
        """
        shape = (self.num_components, self.features)
        wanted = (*shape, self.features) if self.covariance == "full" else shape
        require(loc.shape == shape, "loc", f"must be of shape {shape}", loc.shape)
        require(scale.shape == wanted, "scale", f"must be of shape {wanted}", scale.shape)
        full = self.covariance == "full"
        diagonal = jnp.diagonal(scale, axis1=-2, axis2=-1) if full else scale
        bound = LOG_SCALE_BOUND
        # The inverse of `bounded`, b tanh(raw / b); clipped, since scales at the bound would ask
        # for an infinite parameter.
        raw = bound * jnp.arctanh(jnp.clip(jnp.log(diagonal) / bound, -0.999, 0.999))
        params = {"logits": jnp.asarray(logits), "loc": jnp.asarray(loc), "log_scale": raw}
        if full:
            params["below_diagonal"] = scale[:, *jnp.tril_indices(self.features, -1)]
        return params


class AR1Prior(DensityModel):
    """The AR(1) prior of delta-VAE over `[length, features]`, with fixed alpha.

    alpha falls evenly over the features from `slowest` to `fastest`, so that some features
    change slowly along the sequence and some fast. `committed_rate()` of the distribution is the
    KL in nats that independent normal posteriors cannot fall below.

    Source: Razavi, van den Oord, Poole & Vinyals, "Preventing Posterior Collapse with delta-VAEs",
    2019, section 2.2, https://arxiv.org/abs/1901.03416.
    """

    length: int
    features: int
    slowest: float = 0.95
    fastest: float = 0.2

    def __call__(self, context: Array | None = None) -> AR1:
        require_sizes(length=self.length, features=self.features)
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

    Source: Tomczak & Welling, "VAE with a VampPrior", 2018, Eq. 9,
    https://arxiv.org/abs/1705.07120.
    """

    event_shape: tuple[int, ...]
    num_components: int
    value_range: tuple[float, float] = (0.0, 1.0)
    start: float = 0.1
    reads_posterior: bool = True

    @nn.compact
    def __call__(self, posterior: Callable[[Array], distrax.Distribution]) -> Mixture:
        low, high = self.value_range
        require_sizes(num_components=self.num_components)
        require(low < self.start < high, "start", f"must lie inside ({low}, {high})", self.start)
        centre = jax.scipy.special.logit((self.start - low) / (high - low))
        # Equal pseudo-inputs would get equal gradients and stay one component: noise sets them
        # apart.
        init = lambda key, shape: centre + jax.random.normal(key, shape)
        inputs = self.param("pseudo_inputs", init, (self.num_components, *self.event_shape))
        x = low + (high - low) * jax.nn.sigmoid(inputs)
        return Mixture(jnp.zeros(self.num_components), posterior(x))
