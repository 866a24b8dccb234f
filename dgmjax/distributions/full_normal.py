"""Normal distribution with a full covariance, by its Cholesky factor."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.linear import solve_triangular
from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key


class FullNormal(Distribution):
    """N(loc, L L^T): log p(x) = -|L^-1 (x - loc)|^2 / 2 - sum_i log L_ii - D/2 log 2 pi.

    Args:
      loc: `[..., D]`.
      cholesky: L, `[..., D, D]`, lower triangular with a positive diagonal; entries above the
        diagonal are ignored.

    >>> round(float(FullNormal(jnp.zeros(2), jnp.eye(2)).log_prob(jnp.zeros(2))), 4)
    -1.8379
    """

    def __init__(self, loc: Array, cholesky: Array):
        super().__init__()
        loc, cholesky = jnp.asarray(loc), jnp.asarray(cholesky)
        require(
            loc.ndim >= 1 and cholesky.shape[-2:] == (loc.shape[-1],) * 2,
            "cholesky",
            f"must end in two axes of the length of loc, {loc.shape[-1:] * 2}",
            f"shape {cholesky.shape}",
        )
        self.loc, self.cholesky = loc, jnp.tril(cholesky)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.loc.shape[:-1], self.cholesky.shape[:-2])

    @property
    def _log_det(self) -> Array:
        return jnp.log(jnp.diagonal(self.cholesky, axis1=-2, axis2=-1)).sum(-1)

    def _whitened(self, difference: Array) -> Array:
        return solve_triangular(self.cholesky, difference, lower=True, unit=False)

    def log_prob(self, value: Array) -> Array:
        require_event(value, self.event_shape, "value")
        squared = (self._whitened(value - self.loc) ** 2).sum(-1)
        return -0.5 * (squared + self.loc.shape[-1] * np.log(2 * np.pi)) - self._log_det

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        noise = jax.random.normal(key, (*sample_shape, *self.batch_shape, *self.event_shape))
        return self.loc + jnp.einsum("...ij,...j->...i", self.cholesky, noise)

    def mean(self) -> Array:
        return jnp.broadcast_to(self.loc, (*self.batch_shape, *self.event_shape))

    def covariance(self) -> Array:
        """L L^T, `[..., D, D]`."""
        return self.cholesky @ self.cholesky.swapaxes(-1, -2)

    def entropy(self) -> Array:
        """D/2 (1 + log 2 pi) + sum_i log L_ii, in nats."""
        return 0.5 * self.loc.shape[-1] * (1 + np.log(2 * np.pi)) + self._log_det

    def kl_divergence(self, other_dist, **options) -> Array:
        """KL(self || other) in nats, for another full or diagonal normal.

        1/2 (|M^-1 L|^2_F + |M^-1 (m - loc)|^2 - D) + log det M - log det L.

        Raises:
          NotImplementedError: for any other distribution.
        """
        other = as_full_normal(other_dist)
        # Columns of L as a batch of vectors, in front of the batches of both.
        batch = jnp.broadcast_shapes(self.cholesky.shape[:-2], other.batch_shape)
        cholesky = jnp.broadcast_to(self.cholesky, (*batch, *self.cholesky.shape[-2:]))
        columns = jnp.moveaxis(cholesky, -1, 0)
        spread = (other._whitened(columns) ** 2).sum((0, -1))
        shift = (other._whitened(other.loc - self.loc) ** 2).sum(-1)
        constant = other._log_det - self._log_det - 0.5 * self.loc.shape[-1]
        return 0.5 * (spread + shift) + constant


def as_full_normal(distribution) -> FullNormal:
    """A full or a diagonal normal over vectors as a `FullNormal`."""
    if isinstance(distribution, FullNormal):
        return distribution
    inner = getattr(distribution, "distribution", None)
    if isinstance(inner, distrax.Normal) and len(distribution.event_shape) == 1:
        scale = jnp.broadcast_to(inner.scale, inner.batch_shape)
        return FullNormal(
            jnp.broadcast_to(inner.loc, inner.batch_shape), scale[..., None] * jnp.eye(len(scale.T))
        )
    raise NotImplementedError(f"KL(FullNormal || {distribution.name}) has no closed form here.")
