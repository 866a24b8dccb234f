"""Samples of a posterior whose average has an unbiased gradient."""

from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp

from dgmjax.distributions.mixture import Mixture
from dgmjax.distributions.sequential import Sequential
from dgmjax.objectives.variational.discrete_latents import guarded
from dgmjax.types import Array, Key, PyTree


class PosteriorSamples(NamedTuple):
    """z_k with log q(z_k | x), and how much each counts.

    Attributes:
      z: `[K, B, *event]` each leaf.
      log_q: `[K, B]`, in nats.
      weight: `[K, B]`, of mean 1 over K; None where all are 1.
      conditionals: q(z_t | z_<t, x) of every step along z, where q is `distributions.Sequential`;
        drawing has computed them.
    """

    z: PyTree
    log_q: Array
    weight: Array | None = None
    conditionals: distrax.Distribution | None = None

    def mean(self, values: Array) -> Array:
        """E_q of values `[K, B]`, `[B]`."""
        return values.mean(0) if self.weight is None else (self.weight * values).mean(0)

    def log_weight(self) -> Array | float:
        """log of the weights, to be added to log importance weights."""
        return 0.0 if self.weight is None else jnp.log(self.weight)


def posterior_samples(
    q: Any, key: Key, num_samples: int, *, held: bool = False
) -> PosteriorSamples:
    """`num_samples` samples of q; for a mixture that many of every component, weighted.

    The choice of a component has no derivative; a sum over the components does (stratified
    sampling): E_q[f] = sum_c w_c E_{q_c}[f]. A mixture of C components has C `num_samples` rows.

    Args:
      held: the caller differentiates no function of the samples, which may then be discrete.

    Raises:
      DgmjaxError: (when it is differentiated) discrete samples that are not held.

    Source: Morningstar, Vikram, Ham, Gallagher & Dillon, "Automatic Differentiation Variational
    Inference with Mixtures", 2021, Eq. 6 and 8,
    https://proceedings.mlr.press/v130/morningstar21b.html.
    """
    if isinstance(q, Sequential):
        z, log_q, conditionals = q.draw_steps(key, (num_samples,))
        return PosteriorSamples(z, log_q, conditionals=conditionals)
    if not isinstance(q, Mixture):
        z, log_q = q.sample_and_log_prob(seed=key, sample_shape=(num_samples,))
        return PosteriorSamples(z if held else guarded(q, z), log_q)
    z = q.components.sample(seed=key, sample_shape=(num_samples,))  # [K, B, C, *event]
    batch = z.ndim - len(q.event_shape) - 1
    z = jnp.moveaxis(z, batch, 1).reshape(-1, *z.shape[1:batch], *q.event_shape)
    # Rows have the weights C w_c, of mean 1. They carry the gradient of the mixture's logits, which
    # no sample does.
    weight = q.num_components * jax.nn.softmax(q.logits, -1)
    weight = jnp.broadcast_to(weight, (*q.batch_shape, q.num_components))
    weight = jnp.tile(jnp.moveaxis(weight, -1, 0), (num_samples, *[1] * len(q.batch_shape)))
    return PosteriorSamples(z, q.log_prob(z), weight)
