"""Discrete diffusion: a network that predicts the data under masks or replaced values."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import scan
from dgmjax.distributions.base import as_shape, check_temperature
from dgmjax.distributions.families import Categorical
from dgmjax.errors import require, require_sizes
from dgmjax.noising.discrete import DiscreteProcess
from dgmjax.noising.times import spread_times
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key


class DiscreteDiffusion(nn.Module):
    """Whole numbers of which noise has replaced some: p(x_0 | x_t) for each site, by a network.

    The model is the process backwards: x_1 is noise, and x_s follows from x_t by q(x_s | x_t, x_0)
    with the predicted x_0. With absorbing noise in continuous time it is autoregressive in an
    order that is drawn anew for each example: p(x) = E_order prod_k p(x_order(k) | those before).
    `bound` is the mean of its logarithm. log p(x) itself is not tractable: there is no `log_prob`.

    Attributes:
      event_shape: of x.
      process: with as many levels as x has values.
      network: `(x_t, t, context) -> [*batch, *event, levels]`, such as `nn.UNet` or `nn.DiT` with
        `num_outputs` and an `embed` of whole numbers up to `process.num_states - 1`.
      steps: of a sample, network calls.
      site_bias: a learned logit for each value of each site, which starts at the marginals of the
        data that the model is initialised with.
      reads_time: whether the network is told the time; None for uniform noise only. Under masks the
        best prediction does not depend on it.

    Sources: Sahoo et al., "Simple and Effective Masked Diffusion Language Models", 2024,
    https://arxiv.org/abs/2406.07524; Shi et al., "Simplified and Generalized Masked Diffusion for
    Discrete Data", 2024, https://arxiv.org/abs/2406.04329; uniform noise: Austin et al.,
    "Structured Denoising Diffusion Models in Discrete State-Spaces", 2021,
    https://arxiv.org/abs/2107.03006.
    """

    event_shape: tuple[int, ...]
    process: DiscreteProcess
    network: nn.Module
    steps: int = 128
    site_bias: bool = False
    reads_time: bool | None = None

    @property
    def family(self) -> Categorical:
        """The values that x may have."""
        return Categorical(self.process.levels)

    @nn.compact
    def __call__(self, x: Array, time: Array, context: Array | None = None) -> Array:
        """log p(x_0 = k | x_t) `[*batch, *event, levels]` of noisy `x[*batch, *event]`."""
        self._check(x)
        told = not self.process.absorbs if self.reads_time is None else self.reads_time
        logits = self.network(x, time if told else jnp.zeros_like(time), context)
        shape = (*x.shape, self.process.levels)
        rule = f"must return logits {shape}"
        remedy = "Give it `num_outputs`, the levels of the process."
        require(logits.shape == shape, "network", rule, f"shape {logits.shape}", remedy)
        if self.site_bias:
            logits = logits + self.param("site_bias", self._marginals, x)
        return jax.nn.log_softmax(logits.astype(jnp.float32))

    def _marginals(self, key: Key, x: Array) -> Array:
        """log of the share of each value at each site, one added to all; masks do not count."""
        del key
        counts = self.process.as_probabilities(x.reshape(-1, *self.event_shape)).sum(0)
        counts = counts[..., : self.process.levels] + 1.0
        return jnp.log(counts / counts.sum(-1, keepdims=True))

    def bound(
        self, x: Array, key: Key, context: Array | None = None, *, steps: int | None = None
    ) -> Array:
        """An estimate of a lower bound on log p(x), in nats, `[*batch]`: at one time of each row.

        Args:
          x: whole numbers `[*batch, *event]`.
          steps: of the chain that is bounded; None for continuous time, a higher bound.
        """
        self._check(x)
        if steps is not None:
            return self._bound_of_steps(x, key, context, steps)
        if self.process.absorbs:
            noisy, t, weight = self.process.hide(key, x, len(self.event_shape))
            log_p = self(noisy, t, context)
            chosen = jnp.take_along_axis(log_p, x.astype(jnp.int32)[..., None], -1)[..., 0]
            return weight * self._summed(jnp.where(noisy == self.process.levels, chosen, 0.0))
        time_key, noise_key = jax.random.split(key)
        t = spread_times(time_key, self._batch(x))
        noisy = self.process.marginal(x, t).sample(seed=noise_key)
        p0 = self.process.padded(jnp.exp(self(noisy, t, context)))
        return -self._summed(self.process.divergence_rate(x, noisy, p0, t))

    def _bound_of_steps(self, x: Array, key: Key, context: Array | None, steps: int) -> Array:
        """-steps KL(q(x_s | x_t, x_0) | p(x_s | x_t)) at one of the steps of each row.

        The last step, to s = 0, gives -log p(x_0 | x_t): q(x_0 | x_t, x_0) is certain.
        """
        require_sizes(steps=steps)
        time_key, noise_key = jax.random.split(key)
        t = (jnp.floor(steps * spread_times(time_key, self._batch(x))) + 1.0) / steps
        s = jnp.maximum(t - 1.0 / steps, 0.0)
        noisy = self.process.marginal(x, t).sample(seed=noise_key)
        p0 = self.process.padded(jnp.exp(self(noisy, t, context)))
        true, model = (
            self.process.posterior(noisy, p, s, t).distribution.probs
            for p in (self.process.as_probabilities(x), p0)
        )
        safe = lambda p: jnp.log(jnp.where(true > 0.0, p, 1.0))
        return -steps * self._summed((true * (safe(true) - safe(model))).sum(-1))

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        *,
        steps: int | None = None,
        temperature: Array | float = 1.0,
        guidance: Array | float = 0.0,
    ) -> Array:
        """Samples `[*sample_shape, *batch, *event]`, int32; the batch is that of the context.

        Args:
          steps: network calls, twice that with guidance; those of the model if None.
          temperature: of the predicted values.
          guidance: w in log p(x_0 | x_t, y) + w (log p(x_0 | x_t, y) - log p(x_0 | x_t)).
        """
        batch = (*as_shape(sample_shape), *(() if context is None else jnp.shape(context)))
        start_key, key = jax.random.split(key)
        ends = self.process.probabilities(jnp.zeros(self.process.num_states), jnp.ones(()))
        x = jax.random.categorical(start_key, jnp.log(ends), shape=(*batch, *self.event_shape))
        return self._backwards(key, x, context, steps, temperature, guidance)

    def complete(
        self,
        key: Key,
        observed: Array,
        mask: Array,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        *,
        steps: int | None = None,
        temperature: Array | float = 1.0,
        guidance: Array | float = 0.0,
    ) -> Array:
        """Samples in which sites where `mask` is true keep their values in `observed`.

        With absorbing noise any set of sites can be given: the rest starts as masks.

        Args:
          observed: `[*batch, *event]`.
          mask: broadcasts to it.
          steps, temperature, guidance: see `sample`.
        """
        absorbs = self.process.absorbs
        rule, remedy = "must be absorbing to complete data", "Use noise that is a mask."
        require(absorbs, "process", rule, self.process.replacement, remedy)
        self._check(observed)
        x = jnp.where(mask, jnp.asarray(observed).astype(jnp.int32), self.process.levels)
        x = jnp.broadcast_to(x, (*as_shape(sample_shape), *x.shape))
        return self._backwards(key, x, context, steps, temperature, guidance)

    def _backwards(
        self,
        key: Key,
        x: Array,
        context: Array | None,
        steps: int | None,
        temperature: Array | float,
        guidance: Array | float,
    ) -> Array:
        """The process backwards from x at time 1: one compiled loop."""
        steps = self.steps if steps is None else steps
        require_sizes(steps=steps)
        check_temperature(temperature)
        guided = not (isinstance(guidance, int | float) and guidance == 0.0)
        rule = "must be 0 without a context"
        require(context is not None or not guided, "guidance", rule, guidance)
        batch = self._batch(x)
        label = None if context is None else jnp.broadcast_to(context, batch)
        if self.is_initializing():
            self(x, jnp.ones(batch), label)

        def body(x: Array, scanned: tuple[Array, Key]) -> tuple[Array, None]:
            step, key = scanned
            t, s = (jnp.full(batch, n / steps) for n in (step + 1.0, step))
            logits = self(x, t, label)
            if guided:
                logits = (1.0 + guidance) * logits - guidance * self(x, t)
            p0 = self.process.padded(jax.nn.softmax(logits / temperature))
            return self.process.posterior(x, p0, s, t).sample(seed=key).astype(x.dtype), None

        scanned = (jnp.arange(steps)[::-1], jax.random.split(key, steps))
        return scan(body, x, scanned)[0]

    def _batch(self, x: Array) -> tuple[int, ...]:
        return x.shape[: x.ndim - len(self.event_shape)]

    def _summed(self, values: Array) -> Array:
        return values.sum(tuple(range(-len(self.event_shape), 0)))

    def _check(self, x: Any) -> None:
        event = tuple(self.event_shape)
        require_event(x, event)
        whole = math.prod(event) >= 1
        require(whole, "event_shape", "must hold at least one site", event)
