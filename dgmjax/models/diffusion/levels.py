"""Whole numbers under a diffusion model: its first noisy value is a latent variable."""

from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.distributions.base import sum_event
from dgmjax.errors import require
from dgmjax.models.diffusion.denoiser import Denoiser
from dgmjax.noising.bound import Terms
from dgmjax.types import Array, Key


class DiffusedLevels(nn.Module):
    """P(k) of integers k in 0 .. levels - 1, whose grey value is y = 2 k / (levels - 1) - 1.

    The value z at the start of the process is a latent variable with

    p(z) the density,  q(z | k) = N(signal y, noise^2),  p(k | z) proportional to q(z | k)

    at every entry. `bound_terms` bounds log p(z) by denoising, and `log_joint(k, z)` has it along
    the ODE, so that `objectives.iwae(num_samples=1)` is the ODE's bound on log P(k), with the same
    reconstruction. Nats of the integers.

    Attributes:
      density: of the grey values, in [-1, 1] and a little noise.
      levels: number of values of each integer.

    Source: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, section 3.3 and
    Eq. 5, https://arxiv.org/abs/2107.00630.
    """

    density: Denoiser
    levels: int = 256

    def setup(self):
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)

    def data_rules(self, batch: Any) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return {**self.density.data_rules(batch)}

    @property
    def num_classes(self) -> int:
        """Classes of the context."""
        return self.density.num_classes

    @property
    def event_ndims(self) -> int:
        """Rank of k."""
        return len(self.density.event_shape)

    def grey(self, k: Array) -> Array:
        """y in [-1, 1]."""
        return 2.0 * jnp.asarray(k, jnp.float32) / (self.levels - 1) - 1.0

    def _start(self) -> tuple[float, Array, Array]:
        time = self.density.path.bounded_span[0]
        return (time, *self.density.path.coefficients(jnp.asarray(time, jnp.float32)))

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(z | k) for integers `x[..., *event]`."""
        _, signal, noise = self._start()
        loc = signal * self.grey(x)
        return distrax.Independent(
            distrax.Normal(loc, jnp.broadcast_to(noise, loc.shape)), self.event_ndims
        )

    def log_likelihood(self, x: Array, z: Array) -> Array:
        """log p(k | z) in nats, `[...]`."""
        _, signal, noise = self._start()
        logits = -(((z / signal)[..., None] - self.grey(jnp.arange(self.levels))) ** 2)
        logits = jax.nn.log_softmax(logits / (2.0 * (noise / signal) ** 2), -1)
        index = jax.nn.one_hot(jnp.asarray(x, jnp.int32), self.levels, dtype=logits.dtype)
        return sum_event((index * logits).sum(-1), self.event_ndims)

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(z) along the ODE, and log p(k | z)."""
        start, _, _ = self._start()
        if self.is_initializing():
            return self.density.log_prob(z) + self.log_likelihood(x, z)
        log_prob, _ = self.density.log_prob_and_error(z, jax.random.key(0), start=start)
        return log_prob + self.log_likelihood(x, z)

    def bound_terms(
        self, x: Array, key: Key, context: Array | None = None, **options: Any
    ) -> Terms:
        """The variational bound on -log P(k), see `Denoiser.bound_terms`."""
        start_key, key = jax.random.split(key)
        grey, options = self.grey(x), {"control_variate": False, **options}
        terms = self.density.bound_terms(grey, key, context, **options)
        z = self.posterior(x).sample(seed=start_key)
        return terms._replace(reconstruction=-self.log_likelihood(x, z))

    def bound(self, x: Array, key: Key, context: Array | None = None, **options: Any) -> Array:
        """A lower bound on log P(k) in nats, by one draw."""
        return -self.bound_terms(x, key, context, **options).total

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None, **options
    ) -> Array:
        """Integers k, as floats: the level nearest to a sample of the density.

        Args:
          **options: of the density's `sample`.
        """
        x = self.density.sample(key, sample_shape, context, **options)
        k = jnp.round((x / self._start()[1] + 1.0) * (self.levels - 1) / 2.0)
        return jnp.clip(k, 0, self.levels - 1)
