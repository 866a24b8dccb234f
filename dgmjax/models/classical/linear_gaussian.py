"""Factor analysis and probabilistic PCA: x = W z + mu + noise."""

from typing import Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.linear import HIGHEST, apply_matrix
from dgmjax.distributions.full_normal import FullNormal
from dgmjax.distributions.low_rank_normal import LowRankNormal
from dgmjax.errors import DataError, require
from dgmjax.models.classical.base import ExactLatentModel
from dgmjax.types import Array, Key, PyTree

Noise = Literal["isotropic", "diagonal"]


class LinearGaussian(ExactLatentModel):
    """p(z) = N(0, I), p(x | z) = N(W z + mu, Psi), so that p(x) = N(mu, W W^T + Psi).

    Trained by EM (`training.em_learner`), by gradients (`objectives.negative_log_likelihood`), or
    in closed form where the noise is isotropic (`ppca_maximum_likelihood`). W is known up to a
    rotation of z.

    Attributes:
      features: length of x.
      latent: length of z.
      noise: "isotropic", Psi = sigma^2 I, or "diagonal".
      least_variance: bound below on the noise in EM, in the units of x squared. Without it a
        variance of factor analysis may run to 0 (a Heywood case).
    """

    features: int
    latent: int
    noise: Noise = "isotropic"
    least_variance: float = 1e-6

    def __post_init__(self):
        require(self.features >= 1, "features", "must be at least 1", self.features)
        require(self.latent >= 1, "latent", "must be at least 1", self.latent)
        known = self.noise in ("isotropic", "diagonal")
        require(known, "noise", "must be 'isotropic' or 'diagonal'", repr(self.noise))
        require(self.least_variance > 0, "least_variance", "must be positive", self.least_variance)
        super().__post_init__()

    @nn.compact
    def __call__(self, context: Array | None = None) -> LowRankNormal:
        """p(x)."""
        scale = nn.initializers.normal(self.latent**-0.5)
        params = {
            "weights": self.param("weights", scale, (self.features, self.latent)),
            "loc": self.param("loc", nn.initializers.zeros, (self.features,)),
            "log_variance": self.param("log_variance", nn.initializers.zeros, self._noise_shape),
        }
        return marginal(params)

    @property
    def _noise_shape(self) -> tuple[int, ...]:
        return () if self.noise == "isotropic" else (self.features,)

    def prior(self) -> distrax.Distribution:
        """N(0, I)."""
        zeros = jnp.zeros(self.latent)
        return distrax.Independent(distrax.Normal(zeros, jnp.ones_like(zeros)), 1)

    def posterior(self, x: Array) -> FullNormal:
        """p(z | x), exact: N(M^-1 W^T Psi^-1 (x - mu), M^-1), M = I + W^T Psi^-1 W."""
        return self().latent_posterior(x)

    def likelihood(self, z: Array) -> distrax.Distribution:
        """N(W z + mu, Psi)."""
        p_x = self()
        loc = p_x.loc + apply_matrix(p_x.factor, z)
        scale = jnp.broadcast_to(jnp.sqrt(p_x.variance), loc.shape)
        return distrax.Independent(distrax.Normal(loc, scale), 1)

    def em_start(self, key: Key, x: Array, rows: Array) -> PyTree:
        """The data's mean and variances, and random weights that explain half of them."""
        self._check(x)
        loc = _mean(x, rows)
        variance = _mean((x - loc) ** 2, rows)
        noise = self._bounded(variance)
        weights = jax.random.normal(key, (self.features, self.latent), loc.dtype)
        weights *= jnp.sqrt(0.5 * variance / self.latent)[:, None]
        return {"weights": weights, "loc": loc, "log_variance": jnp.log(0.5 * noise)}

    def em_step(self, params: PyTree, x: Array, rows: Array) -> tuple[PyTree, Array]:
        """One step of EM: mu to the mean of the data, then W and Psi (see the sources).

        W = [sum r m^T] [sum E(z z^T)]^-1 and Psi = diag of the mean of E[(r - W z)(r - W z)^T],
        with r = x - mu, m = E[z | x]; the log-likelihood of the data never falls.

        Sources: Rubin & Thayer, "EM Algorithms for ML Factor Analysis", 1982,
        https://doi.org/10.1007/BF02293851; Tipping & Bishop, "Probabilistic Principal Component
        Analysis", 1999, Eq. 27 and 28, https://doi.org/10.1111/1467-9868.00196.
        """
        # Of the parameters before the step, so that the sequence of these numbers never falls.
        log_prob = marginal(params).log_prob(x)
        # The mean of the data maximises the likelihood for every W and Psi: it comes first, and the
        # rest of the step is about centred data.
        p_x = marginal({**params, "loc": _mean(x, rows)})
        difference, posterior = x - p_x.loc, p_x.latent_posterior(x)
        covariance, z = p_x.latent_covariance(), posterior.loc
        weighted = z * (rows / rows.sum())[:, None]
        # E[z z^T | x] = m m^T + M^-1, with the same M^-1 for every x.
        moment = jnp.matmul(weighted.T, z, precision=HIGHEST) + covariance
        cross = jnp.matmul(weighted.T, difference, precision=HIGHEST)
        weights = jnp.linalg.solve(moment, cross).T
        rest = _mean((difference - apply_matrix(weights, z)) ** 2, rows)
        # E[(r - W z)^2 | x] = (r - W m)^2 + diag(W M^-1 W^T): squares, which cannot turn negative,
        # where the usual form subtracts.
        spread = jnp.einsum("dl,lm,dm->d", weights, covariance, weights, precision=HIGHEST)
        log_variance = jnp.log(self._bounded(rest + spread))
        return {"weights": weights, "loc": p_x.loc, "log_variance": log_variance}, log_prob

    def _bounded(self, variance: Array) -> Array:
        noise = variance.mean() if self.noise == "isotropic" else variance
        return jnp.maximum(noise, self.least_variance)

    def _check(self, x: Array) -> None:
        require(
            x.shape[1:] == (self.features,),
            "x",
            f"must be [N, {self.features}]",
            f"shape {x.shape}",
            error=DataError,
        )


def marginal(params: PyTree) -> LowRankNormal:
    """p(x) = N(mu, W W^T + Psi) of the parameters `weights`, `loc` and `log_variance`."""
    loc = params["loc"]
    variance = jnp.broadcast_to(jnp.exp(params["log_variance"]), loc.shape)
    return LowRankNormal(loc, params["weights"], variance)


def _mean(values: Array, rows: Array) -> Array:
    """Mean over the first axis with weights `rows[B]`."""
    return jnp.tensordot(rows / rows.sum(), values, 1, precision=HIGHEST)


def FactorAnalysis(features: int, latent: int) -> LinearGaussian:
    """Factor analysis: each feature has a noise variance of its own.

    Source: Rubin & Thayer, "EM Algorithms for ML Factor Analysis", 1982,
    https://doi.org/10.1007/BF02293851.
    """
    return LinearGaussian(features, latent, "diagonal")


def PPCA(features: int, latent: int) -> LinearGaussian:
    """Probabilistic principal component analysis: all features share one noise variance.

    Source: Tipping & Bishop, "Probabilistic Principal Component Analysis", 1999,
    https://doi.org/10.1111/1467-9868.00196.
    """
    return LinearGaussian(features, latent, "isotropic")


def ppca_maximum_likelihood(x: np.ndarray, latent: int) -> dict[str, PyTree]:
    """Variables of the maximum-likelihood `PPCA`, in closed form and float64.

    W = U (Lambda - sigma^2 I)^1/2 with the leading eigenvectors U and eigenvalues Lambda of the
    covariance (divided by N), and sigma^2 the mean of the eigenvalues left out.

    Args:
      x: `[N, features]`, N above 1.
      latent: columns of W, at least 1 and less than the features.

    Raises:
      DataError: the eigenvalues left out are zero: the data lie in a plane, and the likelihood
        has no maximum.

    Source: Tipping & Bishop, "Probabilistic Principal Component Analysis", 1999, Eq. 7 and 8,
    https://doi.org/10.1111/1467-9868.00196.
    """
    x = np.asarray(x, np.float64)
    table = x.ndim == 2 and len(x) > 1
    require(table, "x", "must be [N, features] with N above 1", x.shape, "", DataError)
    features = x.shape[1]
    rule = f"must be at least 1 and less than the {features} features"
    require(1 <= latent < features, "latent", rule, latent)
    loc = x.mean(0)
    # Centred first: E[x x^T] - mu mu^T would cancel for data far from 0.
    values, vectors = np.linalg.eigh((x - loc).T @ (x - loc) / len(x))
    values, vectors = values[::-1], vectors[:, ::-1]
    variance = values[latent:].mean()
    # Rounding leaves about 1e-16 of the largest eigenvalue in the place of an exact zero.
    require(
        variance > 1e-12 * values[0],
        "x",
        f"must not lie in a plane of {latent} dimensions",
        f"a mean of {variance:g} for the eigenvalues left out",
        "Take fewer latent dimensions.",
        DataError,
    )
    # No leading eigenvalue is below the mean of those left out, but for rounding.
    weights = vectors[:, :latent] * np.sqrt(np.maximum(values[:latent] - variance, 0.0))
    return {"params": {"weights": weights, "loc": loc, "log_variance": np.log(variance)}}
