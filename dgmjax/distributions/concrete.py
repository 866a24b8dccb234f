"""Concrete distributions: relaxed Bernoulli and categorical variables, with their densities.

Sources: Maddison, Mnih & Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
Random Variables", 2017, https://arxiv.org/abs/1611.00712; Jang, Gu & Poole, "Categorical
Reparameterization with Gumbel-Softmax", 2017, https://arxiv.org/abs/1611.01144.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from dgmjax.distributions.base import Distribution
from dgmjax.distributions.bernoulli import softplus
from dgmjax.distributions.relaxation import BINARY, ONE_HOT
from dgmjax.errors import require
from dgmjax.types import Array, Key


class RelaxedBernoulli(Distribution):
    """y = sigmoid(t), t = (logits + L) / T with L logistic: in (0, 1), event shape ().

    log p(t) = log T + s - 2 softplus(s) with s = logits - T t, and
    log p(y) = log p(t) - log y - log(1 - y) with t = logit(y).

    P(y > 1/2) = sigmoid(logits) for every temperature T; as T falls to 0, y tends to a Bernoulli
    variable. Low temperatures make y round to 0 or 1, where log p(y) is infinite: such a y has the
    density of the nearest number inside, but a y drawn here has that of its own t. `unbounded`
    keeps t as the event, whose density is finite. Ratios of densities do not change.

    Args:
      temperature: T > 0, a scalar or of a shape that broadcasts with `logits`.
      logits: log-odds.
      unbounded: events are t instead of y.

    Raises:
      DgmjaxError: a temperature that is not positive and finite (where it is not traced).

    Source: Maddison, Mnih & Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
    Random Variables", 2017, Eq. 16 and 25 (appendices B and C), https://arxiv.org/abs/1611.00712.
    """

    def __init__(self, temperature: Array | float, logits: Array, unbounded: bool = False):
        super().__init__()
        self.temperature = checked_temperature(temperature)
        self.logits, self.unbounded = jnp.asarray(logits), unbounded

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.logits.shape, self.temperature.shape)

    def bounded(self, value: Array) -> Array:
        """y in [0, 1] of an event."""
        return jax.nn.sigmoid(value) if self.unbounded else value

    def log_prob(self, value: Array) -> Array:
        if self.unbounded:
            return self._unbounded_log_prob(value)
        info = jnp.finfo(value.dtype)
        inside = (value >= 0) & (value <= 1)
        # The least positive number and the greatest below 1: where y rounds to an end, the density
        # is that of its neighbour inside.
        y = jnp.clip(value, info.tiny, 1.0 - info.epsneg)
        log_y, log_other = jnp.log(y), jnp.log1p(-y)
        log_prob = self._unbounded_log_prob(log_y - log_other) - log_y - log_other
        return jnp.where(inside, log_prob, jnp.nan)

    def _unbounded_log_prob(self, t: Array) -> Array:
        s = self.logits - self.temperature * t
        return jnp.log(self.temperature) + s - 2.0 * softplus(s)

    def _draw_unbounded(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        logits = jnp.broadcast_to(self.logits, self.batch_shape)
        return BINARY.perturb(key, logits, sample_shape) / self.temperature

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        t = self._draw_unbounded(key, sample_shape)
        return t if self.unbounded else jax.nn.sigmoid(t)

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Samples y and log p(y) from their t, which is finite where y rounds to 0 or 1."""
        t = self._draw_unbounded(key, sample_shape)
        log_prob = self._unbounded_log_prob(t)
        return (
            (t, log_prob)
            if self.unbounded
            # With y = sigmoid(t), -log y = softplus(-t) and -log(1 - y) = softplus(t).
            else (jax.nn.sigmoid(t), log_prob + softplus(t) + softplus(-t))
        )


class RelaxedCategorical(Distribution):
    """y = softmax((logits + G) / T) with G Gumbel: in the simplex of R^K, event shape (K,).

    The density with respect to y_1 .. y_{K-1}:
    log p(y) = log (K-1)! + (K-1) log T + sum_k (s_k - log y_k) - K logsumexp(s) with
    s = logits - T log y. Of `unbounded` events t = log y (ExpConcrete) it is that without the
    - log y_k, and finite where y underflows.

    P(argmax y = k) = softmax(logits)_k for every temperature T; as T falls to 0, y tends to a
    one-hot vector.

    Args:
      temperature: T > 0, a scalar or of a shape that broadcasts with `logits.shape[:-1]`.
      logits: `[..., K]`, unnormalised log-probabilities.
      unbounded: events are log y.

    Raises:
      DgmjaxError: a temperature that is not positive and finite (where it is not traced).

    Source: Maddison, Mnih & Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
    Random Variables", 2017, Eq. 10, 11 and 26 (appendix C.3), https://arxiv.org/abs/1611.00712.
    """

    def __init__(self, temperature: Array | float, logits: Array, unbounded: bool = False):
        super().__init__()
        self.temperature = checked_temperature(temperature)
        self.logits, self.unbounded = jnp.asarray(logits), unbounded

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.logits.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.logits.shape[:-1], self.temperature.shape)

    def bounded(self, value: Array) -> Array:
        """y in the simplex of an event."""
        return jnp.exp(value) if self.unbounded else value

    def log_prob(self, value: Array) -> Array:
        if self.unbounded:
            return self._unbounded_log_prob(value)
        log_y = jnp.log(jnp.maximum(value, jnp.finfo(value.dtype).tiny))
        log_prob = self._unbounded_log_prob(log_y) - log_y.sum(-1)
        return jnp.where((value >= 0).all(-1), log_prob, jnp.nan)

    def _unbounded_log_prob(self, log_y: Array) -> Array:
        size = self.logits.shape[-1]
        s = self.logits - self.temperature[..., None] * log_y
        # gammaln(K) = log (K - 1)!.
        normaliser = gammaln(float(size)) + (size - 1) * jnp.log(self.temperature)
        return normaliser + s.sum(-1) - size * jax.nn.logsumexp(s, axis=-1)

    def _perturbed(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        logits = jnp.broadcast_to(self.logits, (*self.batch_shape, *self.event_shape))
        return ONE_HOT.perturb(key, logits, sample_shape) / self.temperature[..., None]

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        perturbed = self._perturbed(key, sample_shape)
        return jax.nn.log_softmax(perturbed) if self.unbounded else jax.nn.softmax(perturbed)

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Samples and their log-densities from log y, which is finite where y underflows."""
        perturbed = self._perturbed(key, sample_shape)
        log_y = jax.nn.log_softmax(perturbed)
        log_prob = self._unbounded_log_prob(log_y)
        if self.unbounded:
            return log_y, log_prob
        return jax.nn.softmax(perturbed), log_prob - log_y.sum(-1)


def checked_temperature(temperature: Array | float) -> Array:
    """The temperature as an array, checked to be positive and finite unless it is traced."""
    if not isinstance(temperature, jax.core.Tracer):
        values = np.asarray(temperature, np.float64)
        sound = bool(np.all((values > 0) & np.isfinite(values)))
        remedy = "Anneal towards a small positive number."
        require(sound, "temperature", "must be positive and finite", temperature, remedy)
    return jnp.asarray(temperature, jnp.float32)
