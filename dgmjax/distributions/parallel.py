"""Inverse autoregressive flows whose conditionals are known: all sites drawn in one pass."""

from collections.abc import Sequence

import distrax
import jax.numpy as jnp

from dgmjax.bijectors.affine import ElementwiseAffine
from dgmjax.bijectors.composition import compose
from dgmjax.bijectors.inverse import Inverse
from dgmjax.bijectors.masked_autoregressive import MaskedAutoregressive
from dgmjax.distributions.base import Distribution
from dgmjax.distributions.transformed import Transformed
from dgmjax.errors import require
from dgmjax.types import Array, Key

BASES = {
    "logistic": distrax.Logistic,
    "normal": distrax.Normal,
}
"""Distributions of the noise, with a location and a scale."""


class ParallelAutoregressive(Distribution):
    """x_t = loc_t(z_<t) + scale_t(z_<t) z_t with independent noise z_t of one kind.

    The affine steps of an inverse autoregressive flow, all in the same order, compose to one affine
    map of each z_t given those before. So p(x_t | z_<t) is a distribution of the same kind as the
    noise, and the entropy of x is E[sum_t log scale_t] plus that of the noise.

    Args:
      steps: `bijectors.MaskedAutoregressive` with affine transformers, the side of the noise first;
        their inverse, one pass, is what makes x from z.
      base: kind of the noise, in `BASES`.
      last: affine map of every x_t after the steps (its units).

    Source: van den Oord et al., "Parallel WaveNet: Fast High-Fidelity Speech Synthesis", 2018,
    section 3 and appendix A, https://arxiv.org/abs/1711.10433.
    """

    def __init__(
        self,
        steps: Sequence[MaskedAutoregressive],
        event_shape: tuple[int, ...],
        base: str = "logistic",
        last: ElementwiseAffine | None = None,
        batch_shape: tuple[int, ...] = (),
    ):
        super().__init__()
        require(len(steps) > 0, "steps", "must hold at least one", "none")
        require(base in BASES, "base", f"must be in {sorted(BASES)}", repr(base))
        self.steps, self.base = tuple(steps), base
        self.last = ElementwiseAffine(0.0, 0.0) if last is None else last
        self._event_shape, self._batch_shape = tuple(event_shape), tuple(batch_shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._batch_shape

    def _noise(self) -> distrax.Distribution:
        zeros = jnp.zeros((*self._batch_shape, *self._event_shape))
        return distrax.Independent(
            BASES[self.base](zeros, jnp.ones_like(zeros)), len(self._event_shape)
        )

    def log_prob(self, value: Array) -> Array:
        """In nats; the noise is found site by site."""
        bijector = compose(*map(Inverse, self.steps), self.last)
        return Transformed(self._noise(), bijector).log_prob(value)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self.draw_and_conditionals(key, sample_shape)[0]

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """One pass: x, and log p(x) from the noise that made it."""
        z = self._noise().sample(seed=key, sample_shape=sample_shape)
        x, log_scale = self._forward(z)
        axes = tuple(range(-len(self._event_shape), 0))
        return x, self._noise().log_prob(z) - log_scale.sum(axes)

    def draw_and_conditionals(
        self, key: Key, sample_shape: tuple[int, ...] = ()
    ) -> tuple[Array, distrax.Distribution]:
        """x `[*sample, *batch, *event]` and p(x_t | z_<t) of every site, of that batch shape."""
        z = self._noise().sample(seed=key, sample_shape=sample_shape)
        x, log_scale = self._forward(z)
        scale = jnp.exp(log_scale)
        return x, BASES[self.base](x - scale * z, scale)

    def _forward(self, z: Array) -> tuple[Array, Array]:
        """x of z, and log scale_t of every site."""
        x, log_scale = z, jnp.zeros_like(z)
        for step in self.steps:
            x, log_det = step.elementwise(x).inverse_and_log_det(x)
            log_scale = log_scale + log_det
        x, log_det = self.last.forward_and_log_det(x)
        return x, log_scale + log_det
