"""Uncertainty autoencoder: measurements that are learned, and a decoder of them."""

import math
from collections.abc import Sequence

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.factorised import decoded_shape, factorised
from dgmjax.distributions.families import Family, Normal
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.latent.base import start_at_marginals
from dgmjax.nn.mlp import MLP
from dgmjax.shapes import require_event
from dgmjax.types import Activation, Array, Key


class UncertaintyAutoencoder(nn.Module):
    """y = A x + n with n ~ N(0, scale^2 I), and a decoder p(x | y); there is no prior of y.

    E[log p(x | y)] is a lower bound of the mutual information of x and y, up to the entropy of x:
    `objectives.information_bound` maximises it over A and the decoder. The rows of A have the norm
    sqrt(D / m), that of random measurements in expectation: otherwise the noise could be made
    harmless by larger numbers alone.

    Attributes:
      event_shape: of x.
      size: m, the number of measurements.
      decoder: `y[..., m]` -> parameters `[..., *event, observation.num_params]`.
      scale: standard deviation of the noise of a measurement.
      observation: family of a site of x.
      learned: whether A is; otherwise it stays the random matrix that it starts as.

    Source: Grover & Ermon, "Uncertainty Autoencoders: Learning Compressed Representations via
    Variational Information Maximization", 2019, section 2, https://arxiv.org/abs/1812.10539.
    """

    event_shape: tuple[int, ...]
    size: int
    decoder: nn.Module
    scale: float = 0.01
    observation: Family = Normal(0.1)
    learned: bool = True

    def setup(self):
        require_sizes(size=self.size, event_shape=tuple(self.event_shape))
        require(0.0 < self.scale < math.inf, "scale", "must be positive", self.scale)
        shape = (self.size, math.prod(self.event_shape))
        # Only directions count: the shorter the rows, the faster steps of a fixed size turn them.
        self.rows = self.param("rows", nn.initializers.normal(0.1), shape)

    def matrix(self) -> Array:
        """A, `[m, D]`."""
        rows = self.rows if self.learned else jax.lax.stop_gradient(self.rows)
        norms = jnp.linalg.norm(rows, axis=-1, keepdims=True)
        return rows / norms * math.sqrt(rows.shape[1] / self.size)

    def posterior(self, x: Array) -> distrax.Distribution:
        """N(A x, scale^2 I) over y, batch shape that of x."""
        batch, ndims = require_event(x, self.event_shape), len(self.event_shape)
        if self.is_initializing():
            start_at_marginals(self.decoder, self.observation, x, ndims, jnp.zeros(self.size))
        loc = x.reshape(*batch, self.rows.shape[1]) @ self.matrix().T
        return distrax.Independent(distrax.Normal(loc, jnp.full_like(loc, self.scale)), 1)

    def likelihood(self, z: Array) -> distrax.Distribution:
        """p(x | y) for measurements `z[..., m]`."""
        return factorised(self.observation, self.decoder(z), len(self.event_shape))

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | y] with y ~ N(A x, scale^2 I)."""
        return self.likelihood(self.posterior(x).sample(seed=key)).mean()

    def sample(self, key: Key, sample_shape: tuple[int, ...] = (), num_steps: int = 20) -> Array:
        """x after `num_steps` of the chain x -> y -> x, from E[x | y = 0].

        Where p(x | y) is the posterior of the channel, the chain leaves the distribution of the
        data as it is.
        """
        zeros = jnp.zeros((*sample_shape, self.size))

        def body(x: Array, key: Key) -> tuple[Array, None]:
            y_key, x_key = jax.random.split(key)
            y = self.posterior(x).sample(seed=y_key)
            return as_float(self.likelihood(y).sample(seed=x_key)), None

        start = self.likelihood(zeros).mean()
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]


def DenseUAE(
    event_shape: Sequence[int],
    size: int,
    hidden: Sequence[int] = (500, 500),
    *,
    scale: float = 0.01,
    observation: Family | None = None,
    learned: bool = True,
    activation: Activation = nn.relu,
) -> UncertaintyAutoencoder:
    """An uncertainty autoencoder whose decoder is an MLP.

    >>> model = DenseUAE((8, 8, 1), 10, (32,))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 10)), method="likelihood")
    >>> model.apply(variables, method="matrix").shape
    (10, 64)
    """
    family: Family = observation or Normal(0.1)
    shape, hidden = as_sizes("event_shape", event_shape), as_sizes("hidden", hidden)
    decoder = MLP(hidden, decoded_shape(family, shape), activation)
    return UncertaintyAutoencoder(shape, size, decoder, scale, family, learned)
