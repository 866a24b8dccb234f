"""Score, noise, data and velocity of a process: one table, in both directions.

Any of the four at a point x_t determines the others, through the pair (data, noise) with
x_t = signal data + noise_factor noise:

- "data": E[x_0 | x_t];
- "noise": E[eps | x_t];
- "score": grad log p_t(x_t) = -E[eps | x_t] / noise_factor;
- "velocity": E[dx_t/dt | x_t] = signal' E[x_0 | x_t] + noise_factor' E[eps | x_t].
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from dgmjax.errors import require
from dgmjax.noising.gaussian import Coefficients
from dgmjax.types import Array

Kind = Literal["score", "noise", "data", "velocity"]
"""The forms of a prediction of noised data, each of which gives the others."""

KINDS: tuple[str, ...] = get_args(Kind)
"""What a network may predict."""


class Parts(NamedTuple):
    """Data and noise that together make a point: x_t = signal data + noise_factor noise."""

    data: Array
    noise: Array


class _Row(NamedTuple):
    """How a kind gives the parts of a point, `(x, value, coefficients)`, and how parts give it."""

    parts: Callable[[Array, Array, Coefficients], Parts]
    value: Callable[[Parts, Coefficients], Array]


def _of_data(x: Array, data: Array, at: Coefficients) -> Parts:
    return Parts(data, (x - at.signal * data) / at.noise)


def _of_noise(x: Array, noise: Array, at: Coefficients) -> Parts:
    return Parts((x - at.noise * noise) / at.signal, noise)


def _of_score(x: Array, score: Array, at: Coefficients) -> Parts:
    return _of_noise(x, -at.noise * score, at)


def _of_velocity(x: Array, velocity: Array, at: Coefficients) -> Parts:
    # Two linear equations, x = signal d + noise n and v = signal' d + noise' n.
    determinant = at.signal * at.noise_rate - at.noise * at.signal_rate
    data = (at.noise_rate * x - at.noise * velocity) / determinant
    return Parts(data, (at.signal * velocity - at.signal_rate * x) / determinant)


_TABLE: dict[str, _Row] = {
    "data": _Row(_of_data, lambda parts, at: parts.data),
    "noise": _Row(_of_noise, lambda parts, at: parts.noise),
    "score": _Row(_of_score, lambda parts, at: -parts.noise / at.noise),
    "velocity": _Row(
        _of_velocity, lambda parts, at: at.signal_rate * parts.data + at.noise_rate * parts.noise
    ),
}


def check_kind(kind: str) -> None:
    """Raises `DgmjaxError` unless `kind` is one of `KINDS`."""
    require(kind in _TABLE, "kind", f"must be one of {KINDS}", repr(kind))


def to_parts(kind: Kind, x: Array, value: Array, at: Coefficients) -> Parts:
    """Data and noise of `x[*batch, *event]` from a value of this kind.

    Args:
      at: coefficients that broadcast against x (`Coefficients.like`).
    """
    check_kind(kind)
    return _TABLE[kind].parts(x, value, at)


def from_parts(kind: Kind, parts: Parts, at: Coefficients) -> Array:
    """The value of this kind for data and noise."""
    check_kind(kind)
    return _TABLE[kind].value(parts, at)


def convert(value: Array, x: Array, at: Coefficients, given: Kind, wanted: Kind) -> Array:
    """One of the four from another; the value itself where both are the same.

    Not finite where the factor is 0 by which it divides: noise from data at t = 0, data from noise
    where there is no signal.

    >>> import jax.numpy as jnp
    >>> from dgmjax.noising import straight
    >>> x, at = jnp.array([[1.0]]), straight().at(jnp.array([0.5])).like(jnp.ones((1, 1)))
    >>> convert(jnp.array([[2.0]]), x, at, "data", "velocity").tolist()  # noise 0, eps - x_0
    [[-2.0]]
    """
    if given == wanted:
        check_kind(given)
        return value
    return from_parts(wanted, to_parts(given, x, value, at), at)
