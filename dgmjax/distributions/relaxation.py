"""Discrete variables as a function of noise: perturbed, hardened, softened, and drawn again.

A Bernoulli or a one-hot categorical variable z is `harden(zeta)`, where zeta are its logits plus
noise (logistic, or Gumbel). `soften(zeta, T)` is its Concrete relaxation, and `again(logits,
zeta)` draws zeta anew given z, as a function that can be differentiated with respect to the
logits. Straight-through, Concrete, REBAR and RELAX are made of these four.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgmjax.distributions.bernoulli import Bernoulli, softplus
from dgmjax.distributions.one_hot import OneHotCategorical
from dgmjax.errors import require
from dgmjax.types import Array, Key

stop = jax.lax.stop_gradient


@dataclass(frozen=True)
class Relaxation:
    """How one kind of discrete variable is made of noise.

    Attributes:
      perturb: `(key, logits, sample_shape) -> zeta`.
      harden: `zeta -> z`, the discrete value as float32.
      soften: `(zeta, temperature) -> y`, its relaxation.
      again: `(logits, zeta) -> zeta'`, which has the value of zeta, and the gradient of a draw
        from p(zeta | z = harden(zeta)) whose own noise is held.
    """

    perturb: Callable[[Key, Array, tuple[int, ...]], Array]
    harden: Callable[[Array], Array]
    soften: Callable[[Array, Array], Array]
    again: Callable[[Array, Array], Array]


def _perturb_binary(key: Key, logits: Array, sample_shape: tuple[int, ...] = ()) -> Array:
    return logits + jax.random.logistic(key, (*sample_shape, *logits.shape))


def _again_binary(logits: Array, zeta: Array) -> Array:
    """With s the sign of zeta: zeta = s (softplus(log v + s logits) - log(1 - v)), v ~ U(0, 1).

    v is the one that gives this zeta, and is held.
    """
    # Given z = 1, the uniform u behind zeta = a + logit(u) lies above 1 - p with p = sigmoid(a): u
    # = 1 - p + p v. Inserted, u / (1 - u) = (exp(-a) + v) / (1 - v), and therefore zeta = log(1 + v
    # exp(a)) - log(1 - v). Given z = 0, signs of zeta and a turn round.
    sign = jnp.where(zeta > 0, 1.0, -1.0)
    size, odds = stop(jnp.abs(zeta)), stop(sign * logits)
    # Solved for v: v = (exp(size) - 1) / (exp(size) + exp(odds)), and 1 - v = (1 + exp(odds)) /
    # (exp(size) + exp(odds)); in logs, of numbers of at most 1. The floor keeps log v finite at
    # zeta = 0.
    size = jnp.maximum(size, 1e-30)
    log_v = jnp.log(-jnp.expm1(-size)) - softplus(odds - size)
    log_rest = softplus(odds) - size - softplus(odds - size)
    return sign * (softplus(log_v + sign * logits) - log_rest)


def _perturb_one_hot(key: Key, logits: Array, sample_shape: tuple[int, ...] = ()) -> Array:
    return jax.nn.log_softmax(logits) + jax.random.gumbel(key, (*sample_shape, *logits.shape))


def _harden_one_hot(zeta: Array) -> Array:
    return jax.nn.one_hot(jnp.argmax(zeta, -1), zeta.shape[-1])


def _again_one_hot(logits: Array, zeta: Array) -> Array:
    """zeta_b = -log E_b of the largest, zeta_i = -log(E_i / p_i + E_b) of the others, E ~ Exp(1).

    The E are those that give this zeta, and are held.
    """
    # With normalised logits the largest zeta is a standard Gumbel variable, independent of which
    # entry it is: it has no gradient. The others are Gumbel variables cut off at it.
    log_p, zeta = jax.nn.log_softmax(logits), stop(zeta)
    largest = zeta.max(-1, keepdims=True)
    below = zeta < largest
    # E_i = p_i (exp(-zeta_i) - exp(-zeta_b)) inverts the formula. The largest, where this is log 0,
    # is replaced before the log: a `where` after it would let NaN into the gradient.
    gap = jnp.where(below, zeta - largest, -1.0)
    log_e = stop(log_p) - zeta + jnp.log(-jnp.expm1(gap))
    return jnp.where(below, -jnp.logaddexp(log_e - log_p, -largest), zeta)


BINARY = Relaxation(
    perturb=_perturb_binary,
    harden=lambda zeta: (zeta > 0).astype(jnp.float32),
    soften=lambda zeta, temperature: jax.nn.sigmoid(zeta / temperature),
    again=_again_binary,
)
ONE_HOT = Relaxation(
    perturb=_perturb_one_hot,
    harden=_harden_one_hot,
    soften=lambda zeta, temperature: jax.nn.softmax(zeta / temperature),
    again=_again_one_hot,
)


def discrete_sites(q: Any, argument: str = "model") -> tuple[Relaxation, Any, int]:
    """The relaxation of q's variables, their distribution, and the axes that make one event.

    Args:
      q: `Bernoulli` or `OneHotCategorical`, alone or in `distrax.Independent`.
      argument: its name in errors.

    Raises:
      DgmjaxError: another distribution.
    """
    sites, ndims = q, 0
    while isinstance(sites, distrax.Independent):
        sites, ndims = sites.distribution, ndims + sites.reinterpreted_batch_ndims
    known = isinstance(sites, Bernoulli | OneHotCategorical)
    require(
        known,
        argument,
        "must have independent Bernoulli or one-hot categorical latents here",
        type(sites).__name__,
        "Use a posterior_family of Bernoulli() or OneHotCategorical(levels), or reinforce, "
        "which takes any distribution.",
    )
    return (BINARY if isinstance(sites, Bernoulli) else ONE_HOT), sites, ndims
