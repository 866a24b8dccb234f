"""Mixture of Gaussians with full, tied, diagonal or spherical covariances."""

from typing import Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.linear import HIGHEST
from dgmjax.distributions.categorical import Categorical
from dgmjax.distributions.full_normal import FullNormal
from dgmjax.distributions.mixture import Mixture
from dgmjax.errors import DataError, require
from dgmjax.models.classical.base import ExactLatentModel
from dgmjax.models.classical.seeding import seeded_clusters
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key, PyTree

Covariance = Literal["full", "tied", "diag", "spherical"]


class GaussianMixture(ExactLatentModel):
    """p(x) = sum_k softmax(logits)_k N(x; mu_k, Sigma_k), with z = k as its latent variable.

    Trained by EM (`training.em_learner`) from k-means++ clusters, or by gradients
    (`objectives.negative_log_likelihood`).

    Attributes:
      features: length of x.
      num_components: K.
      covariance: "full" (one per component), "tied" (one for all), "diag" or "spherical".
      least_variance: added to every variance in EM, in the units of x squared, so that a
        component cannot shrink to a point; more where rounding would lose it.
    """

    features: int
    num_components: int
    covariance: Covariance = "full"
    least_variance: float = 1e-6

    def __post_init__(self):
        require(self.features >= 1, "features", "must be at least 1", self.features)
        require(self.num_components >= 1, "num_components", "must be >= 1", self.num_components)
        known = self.covariance in ("full", "tied", "diag", "spherical")
        rule = "must be 'full', 'tied', 'diag' or 'spherical'"
        require(known, "covariance", rule, repr(self.covariance))
        require(self.least_variance > 0, "least_variance", "must be positive", self.least_variance)
        super().__post_init__()

    @nn.compact
    def _params(self) -> dict[str, Array]:
        """`logits` `[K]`, `loc` `[K, D]` and `scale`.

        `scale` holds log standard deviations `[K, D]` or `[K, 1]`, or Cholesky factors with the
        logarithm of their diagonal, `[K, D, D]` or, tied, `[D, D]`.
        """
        k, zeros = self.num_components, nn.initializers.zeros
        spread = nn.initializers.normal(1.0)
        return {
            "logits": self.param("logits", zeros, (k,)),
            "loc": self.param("loc", spread, (k, self.features)),
            "scale": self.param("scale", zeros, self._scale_shape),
        }

    @property
    def _scale_shape(self) -> tuple[int, ...]:
        k, size = self.num_components, self.features
        shapes = {"full": (k, size, size), "tied": (size, size), "diag": (k, size)}
        return shapes.get(self.covariance, (k, 1))

    def __call__(self, context: Array | None = None) -> Mixture:
        """p(x)."""
        params = self._params()
        return Mixture(params["logits"], self._components(params["loc"], params["scale"]))

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x) in nats."""
        return jax.nn.logsumexp(self._joint(self._params(), x), axis=-1)

    def responsibilities(self, x: Array) -> Array:
        """p(k | x), `[..., K]`."""
        return jax.nn.softmax(self._joint(self._params(), x), axis=-1)

    def prior(self) -> Categorical:
        """p(k)."""
        return Categorical(self._params()["logits"])

    def posterior(self, x: Array) -> Categorical:
        """p(k | x), exact."""
        return Categorical(self._joint(self._params(), x))

    def likelihood(self, z: Array) -> distrax.Distribution:
        """N(mu_z, Sigma_z) for components `z[...]`."""
        params, index = self._params(), jnp.asarray(z, jnp.int32)
        scale = params["scale"] if self.covariance == "tied" else params["scale"][index]
        return self._components(params["loc"][index], scale)

    @property
    def _has_matrices(self) -> bool:
        return self.covariance in ("full", "tied")

    def _components(self, loc: Array, scale: Array) -> distrax.Distribution:
        """N(loc, Sigma), of batch shape `loc.shape[:-1]`."""
        if self._has_matrices:
            return FullNormal(loc, _cholesky(scale))
        scale = jnp.broadcast_to(jnp.exp(scale), loc.shape)
        return distrax.Independent(distrax.Normal(loc, scale), 1)

    def _joint(self, params: PyTree, x: Array) -> Array:
        """log p(x, k), `[..., K]`, one component after another: a matrix solves for all rows."""
        require_event(x, (self.features,))
        log_prob = lambda loc, scale: self._components(loc, scale).log_prob(x)
        axes = (0, None if self.covariance == "tied" else 0)
        each = jax.vmap(log_prob, in_axes=axes, out_axes=-1)(params["loc"], params["scale"])
        return jax.nn.log_softmax(params["logits"]) + each

    def em_start(self, key: Key, x: Array, rows: Array) -> PyTree:
        """Clusters by k-means++ and a few rounds of k-means, and their moments."""
        require(
            x.shape[1:] == (self.features,),
            "x",
            f"must be [N, {self.features}]",
            f"shape {x.shape}",
            error=DataError,
        )
        enough = len(x) >= self.num_components
        rule = f"must have a row for each of the {self.num_components} components"
        require(enough, "x", rule, len(x), error=DataError)
        return self._maximised(x, seeded_clusters(key, x, rows, self.num_components))

    def em_step(self, params: PyTree, x: Array, rows: Array) -> tuple[PyTree, Array]:
        """One step of EM; the log-likelihood of the data never falls (but by `least_variance`).

        Sources: Dempster, Laird & Rubin, "Maximum Likelihood from Incomplete Data via the EM
        Algorithm", 1977, https://doi.org/10.1111/j.2517-6161.1977.tb01600.x; Bishop, "Pattern
        Recognition and Machine Learning", 2006, Eq. 9.23 to 9.27.
        """
        joint = self._joint(params, x)
        # Padding has weight 0 in every moment.
        new = self._maximised(x, jax.nn.softmax(joint, axis=-1) * rows[:, None])
        return new, jax.nn.logsumexp(joint, axis=-1)

    def _maximised(self, x: Array, weights: Array) -> PyTree:
        """The M-step: weighted moments, for responsibilities `weights[B, K]`."""
        # An empty component divides by this small count instead of by zero: its mean is 0, and its
        # weight nearly so.
        counts = weights.sum(0) + 10.0 * jnp.finfo(weights.dtype).eps  # none is empty
        loc = jnp.matmul(weights.T, x, precision=HIGHEST) / counts[:, None]
        logits = jnp.log(counts / counts.sum())
        return {"logits": logits, "loc": loc, "scale": self._scale(x, weights, counts, loc)}

    def _scale(self, x: Array, weights: Array, counts: Array, loc: Array) -> Array:
        def moments(w, mean):
            difference = x - mean
            if self._has_matrices:
                return jnp.matmul((w[:, None] * difference).T, difference, precision=HIGHEST)
            return jnp.tensordot(w, difference**2, 1, precision=HIGHEST)

        # Moments about the new means: E[x x^T] - mu mu^T would cancel in float32 for data far from
        # 0, and its Cholesky factor could fail.
        scatter = jax.vmap(moments, in_axes=(1, 0))(weights, loc)  # [K, D, D] or [K, D]
        if self._has_matrices:
            tied = self.covariance == "tied"
            total = scatter.sum(0) / counts.sum() if tied else scatter / counts[:, None, None]
            return _raw(total + self.least_variance * jnp.eye(self.features, dtype=x.dtype))
        variance = scatter / counts[:, None]
        if self.covariance == "spherical":
            variance = variance.mean(1, keepdims=True)
        return 0.5 * jnp.log(variance + self.least_variance)


def _cholesky(scale: Array) -> Array:
    """Lower-triangular factors from matrices whose diagonal is the logarithm of theirs."""
    # The logarithm keeps the diagonal positive, so that steps of gradient descent stay among
    # covariances.
    below = jnp.tril(scale, -1)
    diagonal = jnp.exp(jnp.diagonal(scale, axis1=-2, axis2=-1))
    return below + diagonal[..., None] * jnp.eye(scale.shape[-1], dtype=scale.dtype)


def _raw(covariance: Array) -> Array:
    """The inverse of `_cholesky(scale)`, of covariances."""
    size = covariance.shape[-1]
    factor = jnp.linalg.cholesky(covariance)
    # Of columns that depend on each other the least variance may be lost in rounding beside the
    # largest; then as much is added as rounding takes away.
    largest = jnp.diagonal(covariance, axis1=-2, axis2=-1).max(-1)[..., None, None]
    lost = 8 * size * jnp.finfo(covariance.dtype).eps * largest * jnp.eye(size)
    sound = jnp.isfinite(factor).all((-2, -1), keepdims=True)
    factor = jnp.where(sound, factor, jnp.linalg.cholesky(covariance + lost))
    logarithm = jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1))
    diagonal = jnp.eye(factor.shape[-1], dtype=factor.dtype)
    return jnp.tril(factor, -1) + logarithm[..., None] * diagonal
