"""Normal distribution whose covariance is of low rank plus a diagonal."""

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.linear import HIGHEST, apply_matrix
from dgmjax.distributions.base import Distribution
from dgmjax.distributions.full_normal import FullNormal
from dgmjax.errors import require
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key


class LowRankNormal(Distribution):
    """N(loc, W W^T + diag(variance)): the marginal of x = W z + loc + noise with z ~ N(0, I).

    With M = I + W^T V^-1 W and m = M^-1 W^T V^-1 r, r = x - loc (V the diagonal),
    log p(x) = -(|V^-1/2 (r - W m)|^2 + |m|^2 + log det V + log det M + D log 2 pi) / 2,
    in O(D L^2), and without the cancellation of Woodbury's formula where the noise is small.

    Args:
      loc: `[..., D]`.
      factor: W, `[D, L]`.
      variance: `[D]`, positive.

    >>> normal = LowRankNormal(jnp.zeros(2), jnp.ones((2, 1)), jnp.ones(2))
    >>> round(float(normal.log_prob(jnp.zeros(2))), 4)  # -log(2 pi) - log(3) / 2
    -2.3872
    """

    def __init__(self, loc: Array, factor: Array, variance: Array):
        super().__init__()
        self.loc, self.factor, self.variance = map(jnp.asarray, (loc, factor, variance))
        features = self.loc.shape[-1:]
        require(
            self.factor.ndim == 2 and self.factor.shape[:1] == features,
            "factor",
            f"must be [{features[0]}, L], a row for each entry of loc",
            f"shape {self.factor.shape}",
        )
        require(
            self.variance.shape == features,
            "variance",
            f"must have shape {features}",
            f"shape {self.variance.shape}",
        )

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.loc.shape[:-1]

    @property
    def _scaled(self) -> Array:
        """W^T V^-1, `[L, D]`."""
        return (self.factor / self.variance[:, None]).T

    @property
    def _precision(self) -> Array:
        """Cholesky factor of M, the precision of p(z | x), `[L, L]`."""
        product = jnp.matmul(self._scaled, self.factor, precision=HIGHEST)
        return jnp.linalg.cholesky(jnp.eye(len(product), dtype=product.dtype) + product)

    def latent_covariance(self) -> Array:
        """M^-1, the covariance of p(z | x), `[L, L]`: the same for every x."""
        precision = self._precision
        identity = jnp.eye(len(precision), dtype=precision.dtype)
        return jax.scipy.linalg.cho_solve((precision, True), identity)

    def latent_posterior(self, value: Array) -> FullNormal:
        """p(z | x) = N(M^-1 W^T V^-1 (x - loc), M^-1) for x `[..., D]`."""
        require_event(value, self.event_shape, "value")
        covariance = self.latent_covariance()
        mean = apply_matrix(covariance, apply_matrix(self._scaled, value - self.loc))
        return FullNormal(mean, jnp.linalg.cholesky(covariance))

    def log_prob(self, value: Array) -> Array:
        require_event(value, self.event_shape, "value")
        difference = value - self.loc
        mean = apply_matrix(self.latent_covariance(), apply_matrix(self._scaled, difference))
        # With C = W W^T + V and r = x - loc, r^T C^-1 r is the least of
        # (r - W z)^T V^-1 (r - W z) + |z|^2 over z, which it takes at the posterior mean: two sums
        # of squares, where Woodbury's formula would subtract numbers of the size of 1 / V.
        rest = difference - apply_matrix(self.factor, mean)
        squared = (rest**2 / self.variance).sum(-1) + (mean**2).sum(-1)
        # det C = det V det(I + W^T V^-1 W), the second of size L.
        log_det = jnp.log(self.variance).sum() + 2.0 * jnp.log(jnp.diag(self._precision)).sum()
        return -0.5 * (squared + log_det + self.loc.shape[-1] * np.log(2 * np.pi))

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        z_key, x_key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        z = jax.random.normal(z_key, (*shape, self.factor.shape[1]), self.factor.dtype)
        noise = jax.random.normal(x_key, (*shape, *self.event_shape), self.loc.dtype)
        return self.loc + apply_matrix(self.factor, z) + jnp.sqrt(self.variance) * noise

    def mean(self) -> Array:
        return self.loc

    def covariance(self) -> Array:
        """W W^T + diag(variance), `[D, D]`."""
        return jnp.matmul(self.factor, self.factor.T, precision=HIGHEST) + jnp.diag(self.variance)
