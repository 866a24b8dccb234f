"""Mixture of discretised logistics, with linear dependence between channels.

Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized
Logistic Mixture Likelihood and Other Modifications", 2017, Eq. 1 to 3,
https://arxiv.org/abs/1701.05517.
"""

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.base import Distribution
from dgmjax.distributions.bernoulli import softplus
from dgmjax.types import Array, Key


class DiscretisedLogisticMixture(Distribution):
    """P(x) = sum_k pi_k prod_c [F((x_c + 1/2 - mu_kc) / s_kc) - F((x_c - 1/2 - mu_kc) / s_kc)].

    F is the logistic CDF; the lowest and the highest level take the whole tail. Levels are the
    integers 0 .. levels - 1, while `loc` and `log_scale` are in units of half the range
    (x_scaled = 2 x / (levels - 1) - 1 in [-1, 1]). With `coefficients`, the location of channel
    c is shifted by a linear function of the scaled channels before it (Eq. 3).

    Args:
      logits: `[..., K]`, unnormalised log mixture weights.
      loc: `[..., K, C]`.
      log_scale: `[..., K, C]`.
      coefficients: `[..., K, C (C - 1) / 2]` or None; row-major over (c, c' < c).
      levels: number of integer levels, at least 2.
      scalar: the event is a scalar (C is 1 and dropped) instead of a vector of channels.
    """

    def __init__(
        self,
        logits: Array,
        loc: Array,
        log_scale: Array,
        coefficients: Array | None = None,
        *,
        levels: int = 256,
        scalar: bool = False,
    ):
        super().__init__()
        self.logits, self.loc, self.log_scale = map(as_float, (logits, loc, log_scale))
        self.coefficients = None if coefficients is None else as_float(coefficients)
        self.levels, self.scalar = levels, scalar

    @property
    def event_shape(self) -> tuple[int, ...]:
        return () if self.scalar else self.loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.logits.shape[:-1]

    def _scaled(self, value: Array) -> Array:
        value = jnp.asarray(value).astype(self.loc.dtype)
        return 2.0 * (value[..., None] if self.scalar else value) / (self.levels - 1) - 1.0

    def _locations(self, x: Array) -> Array:
        """Locations `[..., K, C]` given the scaled channels `[..., C]` (earlier ones are used)."""
        if self.coefficients is None:
            return self.loc
        shifts, first = [jnp.zeros_like(self.loc[..., 0])], 0
        for channel in range(1, self.loc.shape[-1]):
            weights = self.coefficients[..., first : first + channel]
            shifts.append((weights * x[..., None, :channel]).sum(-1))
            first += channel
        return self.loc + jnp.stack(jnp.broadcast_arrays(*shifts), -1)

    def log_prob(self, value: Array) -> Array:
        x = self._scaled(value)
        inverse_scale = jnp.exp(-self.log_scale)
        half_bin = 1.0 / (self.levels - 1)
        centred = x[..., None, :] - self._locations(x)
        upper, lower = ((centred + half_bin) * inverse_scale, (centred - half_bin) * inverse_scale)
        # log[F(b) - F(a)] = log(1 - e^(a-b)) - softplus(a) - softplus(-b): exact in every tail.
        width = 2.0 * half_bin * inverse_scale
        interval = jnp.log(-jnp.expm1(-width)) - softplus(lower) - softplus(-upper)
        # The end levels take the tails: log F(b) and log(1 - F(a)).
        low, high = (x <= -1.0)[..., None, :], (x >= 1.0)[..., None, :]
        per_channel = jnp.where(low, -softplus(-upper), jnp.where(high, -softplus(lower), interval))
        return jax.nn.logsumexp(per_channel.sum(-1) + jax.nn.log_softmax(self.logits), axis=-1)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        component_key, noise_key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        component = jax.random.categorical(component_key, self.logits, shape=shape)
        chosen = jax.nn.one_hot(component, self.logits.shape[-1])[..., None]
        pick = lambda array: (chosen * array).sum(-2)
        log_scale = pick(self.log_scale)
        noise = jnp.exp(log_scale) * jax.random.logistic(noise_key, log_scale.shape)
        channels: list[Array] = []
        coefficients = None if self.coefficients is None else pick(self.coefficients)
        first = 0
        for channel in range(log_scale.shape[-1]):
            x = pick(self.loc)[..., channel] + noise[..., channel]
            if coefficients is not None:
                for other in range(channel):
                    x = x + coefficients[..., first + other] * channels[other]
                first += channel
            # Rounded before the next channel reads it, since `log_prob` conditions on levels.
            level = jnp.clip(jnp.round((x + 1.0) * 0.5 * (self.levels - 1)), 0, self.levels - 1)
            channels.append(2.0 * level / (self.levels - 1) - 1.0)
        levels = jnp.round((jnp.stack(channels, -1) + 1.0) * 0.5 * (self.levels - 1))
        return levels[..., 0] if self.scalar else levels

    def mean(self) -> Array:
        """E[x], exact for the first channel; each later one reads the means of those before it.

        A level's probability is a difference of F, so the sum over levels of x P(x) is
        (levels - 1) - sum_l F((l + 1/2 - mu) / s), one term for each boundary of two levels.
        """
        # A scan over the boundaries: all at once would take `levels` times the memory.
        boundaries = 2.0 * (jnp.arange(self.levels - 1) + 0.5) / (self.levels - 1) - 1.0
        means: list[Array] = []  # of each component, scaled, `[..., K]`
        first = 0
        for channel in range(self.loc.shape[-1]):
            loc, inverse_scale = self.loc[..., channel], jnp.exp(-self.log_scale[..., channel])
            if self.coefficients is not None:
                for other, mean in enumerate(means):
                    loc = loc + self.coefficients[..., first + other] * mean
                first += channel

            def below(total: Array, boundary: Array, loc=loc, inverse_scale=inverse_scale):
                return total + jax.nn.sigmoid((boundary - loc) * inverse_scale), None

            total, _ = jax.lax.scan(below, jnp.zeros_like(loc), boundaries)
            means.append(1.0 - 2.0 * total / (self.levels - 1))
        weights = jax.nn.softmax(self.logits, -1)[..., None]
        mean = (weights * (jnp.stack(means, -1) + 1.0)).sum(-2) * 0.5 * (self.levels - 1)
        return mean[..., 0] if self.scalar else mean
