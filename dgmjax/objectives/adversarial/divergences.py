"""f-divergences as data: generator function, conjugate, output activation, domain."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.bernoulli import softplus
from dgmjax.errors import require
from dgmjax.types import Array

LOG_2 = float(np.log(2.0))


@dataclass(frozen=True)
class Divergence:
    """D_f(p || q) = E_q[f(p / q)] >= E_p[T] - E_q[f*(T)], f convex with f(1) = 0.

    Attributes:
      function: f(u), u >= 0.
      conjugate: f*(t) = sup_u u t - f(u), for t in the domain.
      activation: g_f(v), increasing, from any real number into the domain.
      domain: the closed interval of t; its ends are limits where f* is infinite there.
      composed: f*(g_f(v)) in one expression, since the two apart overflow in float32.
      boundary: v at which g_f(v) = f'(1): the optimal critic is above it where p > q.
    """

    function: Callable[[Array], Array]
    conjugate: Callable[[Array], Array]
    activation: Callable[[Array], Array]
    domain: tuple[float, float]
    composed: Callable[[Array], Array]
    boundary: float


def _entropy(u: Array) -> Array:
    """u log u, 0 at 0."""
    return u * jnp.log(jnp.where(u > 0, u, 1.0))


DIVERGENCES: dict[str, Divergence] = {
    "kl": Divergence(
        function=_entropy,
        conjugate=lambda t: jnp.exp(t - 1.0),
        activation=lambda v: v,
        domain=(-np.inf, np.inf),
        composed=lambda v: jnp.exp(v - 1.0),
        boundary=1.0,
    ),
    "reverse_kl": Divergence(
        function=lambda u: -jnp.log(u),
        conjugate=lambda t: -1.0 - jnp.log(-t),
        activation=lambda v: -jnp.exp(-v),
        domain=(-np.inf, 0.0),
        composed=lambda v: v - 1.0,
        boundary=0.0,
    ),
    "jensen_shannon": Divergence(
        function=lambda u: 0.5 * (_entropy(u) - (u + 1.0) * jnp.log((u + 1.0) / 2.0)),
        conjugate=lambda t: -0.5 * jnp.log(2.0 - jnp.exp(2.0 * t)),
        activation=lambda v: 0.5 * (LOG_2 - softplus(-v)),
        domain=(-np.inf, LOG_2 / 2.0),
        composed=lambda v: 0.5 * (softplus(v) - LOG_2),
        boundary=0.0,
    ),
    "pearson_chi2": Divergence(
        function=lambda u: jnp.square(u - 1.0),
        conjugate=lambda t: 0.25 * jnp.square(t) + t,
        activation=lambda v: v,
        domain=(-np.inf, np.inf),
        composed=lambda v: 0.25 * jnp.square(v) + v,
        boundary=0.0,
    ),
    "squared_hellinger": Divergence(
        function=lambda u: jnp.square(jnp.sqrt(u) - 1.0),
        conjugate=lambda t: t / (1.0 - t),
        activation=lambda v: -jnp.expm1(-v),
        domain=(-np.inf, 1.0),
        composed=jnp.expm1,
        boundary=0.0,
    ),
    "total_variation": Divergence(
        function=lambda u: 0.5 * jnp.abs(u - 1.0),
        conjugate=lambda t: t,
        activation=lambda v: 0.5 * jnp.tanh(v),
        domain=(-0.5, 0.5),
        composed=lambda v: 0.5 * jnp.tanh(v),
        boundary=0.0,
    ),
}
"""By name. Jensen-Shannon is the mean of both KL divergences to the midpoint, at most log 2; total
variation is half of the L1 distance; the conjugate of Pearson's chi-squared is that of f continued
to negative u.

Source: Nowozin, Cseke & Tomioka, "f-GAN: Training Generative Neural Samplers using Variational
Divergence Minimization", 2016, tables 5 and 6, https://arxiv.org/abs/1606.00709."""


def divergence_of(divergence: str | Divergence) -> Divergence:
    """The row of a name; a row of one's own, checked.

    Raises:
      DgmjaxError: no row has that name, or the activation leaves the domain of the conjugate.
    """
    if isinstance(divergence, Divergence):
        _check_domain(divergence)
        return divergence
    rule = f"must be one of {sorted(DIVERGENCES)}"
    require(divergence in DIVERGENCES, "divergence", rule, repr(divergence))
    return DIVERGENCES[divergence]


def _check_domain(row: Divergence) -> None:
    t = np.asarray(row.activation(jnp.linspace(-10.0, 10.0, 201)))
    low, high = row.domain
    rule = f"must map real numbers into the domain of the conjugate, [{low:.6g}, {high:.6g}]"
    given = f"values from {t.min():.6g} to {t.max():.6g}"
    inside = bool(np.all((t >= low) & (t <= high)))
    require(inside, "activation", rule, given, "See the rows of `DIVERGENCES`.")
