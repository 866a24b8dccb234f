"""Ordinary differential equations by fixed steps, and the log-determinant of their flows.

Steps are Runge-Kutta ones, each a table of numbers over one algorithm; the steps of an integration
are one compiled scan. Gradients go through the steps themselves.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.bijectors.carry import scan, varying
from dgmjax.errors import require, require_sizes
from dgmjax.noising.gaussian import Spacing, check_spacing
from dgmjax.types import Array, Key, PyTree

Field = Callable[[PyTree, Array], PyTree]
"""dx/dt of a state at a time."""

Method = Literal["euler", "midpoint", "heun", "rk4"]


class Tableau(NamedTuple):
    """x' = x + h sum_i weights_i k_i,  k_i = field(x + h sum_j matrix_ij k_j, t + nodes_i h).

    Attributes:
      nodes, matrix, weights: of the stages, of which there are as many as evaluations of the field.
      order: the error of an integration falls as h^order.
    """

    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    order: int


TABLEAUS: dict[str, Tableau] = {
    "euler": Tableau((0.0,), ((),), (1.0,), 1),
    "midpoint": Tableau((0.0, 0.5), ((), (0.5,)), (0.0, 1.0), 2),
    "heun": Tableau((0.0, 1.0), ((), (1.0,)), (0.5, 0.5), 2),
    "rk4": Tableau(
        (0.0, 0.5, 0.5, 1.0),
        ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        4,
    ),
}
"""Explicit methods by name.

Source: Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I", 1993, section II.1,
https://doi.org/10.1007/978-3-540-78862-1.
"""


def tableau_of(method: str) -> Tableau:
    """The row of a name in `TABLEAUS`."""
    require(method in TABLEAUS, "method", f"must be one of {sorted(TABLEAUS)}", repr(method))
    return TABLEAUS[method]


def num_calls(method: str, num_steps: int) -> int:
    """Evaluations of the field in an integration.

    >>> num_calls("heun", 16), num_calls("rk4", 16)
    (32, 64)
    """
    return len(tableau_of(method).weights) * num_steps


def runge_kutta_step(field: Field, x: PyTree, t: Array, h: Array, tableau: Tableau) -> PyTree:
    """One step of length h (negative for backwards) from x at t."""
    slopes: list[PyTree] = []
    for node, row in zip(tableau.nodes, tableau.matrix):
        slopes.append(field(_moved(x, h, row, slopes), t + node * h))
    return _moved(x, h, tableau.weights, slopes)


def _moved(x: PyTree, h: Array, weights: tuple[float, ...], slopes: list[PyTree]) -> PyTree:
    used = [(weight, slope) for weight, slope in zip(weights, slopes) if weight]

    def moved(leaf: Array, *slopes: Array) -> Array:
        for (weight, _), slope in zip(used, slopes):
            leaf = leaf + (weight * h).astype(leaf.dtype) * slope
        return leaf

    return jax.tree.map(moved, x, *(slope for _, slope in used))


def integrate(
    field: Field,
    x: PyTree,
    times: Array,
    method: Method = "heun",
    *,
    rematerialise: bool = False,
) -> PyTree:
    """The state at the last of `times`, from `x` at the first.

    Args:
      field: `(x, t)` to dx/dt.
      times: `[N + 1]`, the ends of N steps, rising or falling.
      method: a name in `TABLEAUS`.
      rematerialise: recompute the steps in the backward pass, which then keeps one state a step.

    >>> x = integrate(lambda x, t: -x, jnp.ones(()), jnp.linspace(0.0, 1.0, 11), "rk4")
    >>> abs(float(x) - 0.3678794) < 1e-6
    True
    """
    tableau = tableau_of(method)
    times, x = as_float(times), jax.tree.map(as_float, x)
    require(times.ndim == 1 and len(times) >= 2, "times", "must be two or more", times.shape)

    def body(x: PyTree, ends: tuple[Array, Array]) -> tuple[PyTree, None]:
        start, end = ends
        return runge_kutta_step(field, x, start, end - start, tableau), None

    body = jax.checkpoint(body) if rematerialise else body
    return scan(body, x, (times[:-1], times[1:]))[0]


class Divergence(NamedTuple):
    """How the trace of the Jacobian of a field is taken.

    Attributes:
      probes: number of random vectors e of which e^T J e is the estimate, or None for the exact
        trace, at one product with J for each dimension.
      key: of the probes.
    """

    probes: int | None = None
    key: Key | None = None

    def directions(self, x: Array, batch_ndims: int) -> Array:
        """The vectors e, `[K, *x.shape]`."""
        event = x.shape[batch_ndims:]
        if self.probes is None:
            size = math.prod(event)
            basis = jnp.eye(size, dtype=x.dtype).reshape(size, *[1] * batch_ndims, *event)
            return jnp.broadcast_to(basis, (size, *x.shape))
        require_sizes(probes=self.probes)
        key: Any = self.key
        require(key is not None, "key", "must be given for random probes", "none")
        # Signs have the smallest variance of all independent entries: the diagonal is exact.
        return jax.random.rademacher(key, (self.probes, *x.shape), x.dtype)


EXACT = Divergence()
"""The exact trace."""


class Flowed(NamedTuple):
    """The end of a flow.

    Attributes:
      x: the last state.
      log_det: log |det dx_end / dx_start|, `[*batch]`.
      standard_error: of log_det where it is estimated, from at least two probes; else None.
      energy: the integral of |field|^2 over time, `[*batch]`: the square of the distance between
        both ends for a straight path of constant speed in unit time, and more for any other.
    """

    x: Array
    log_det: Array
    standard_error: Array | None
    energy: Array


def flow_and_log_det(
    field: Callable[[Array, Array], Array],
    x: Array,
    times: Array,
    method: Method = "heun",
    divergence: Divergence = EXACT,
    *,
    event_ndims: int = 1,
    rematerialise: bool = False,
) -> Flowed:
    """The flow of `x[*batch, *event]` and its log-determinant, the integral of tr d field / dx.

    Examples of the batch must not see each other. The same probes serve the whole path, so that the
    estimate has no bias.

    Source: Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, "FFJORD: Free-form Continuous
    Dynamics for Scalable Reversible Generative Models", 2019, section 3.1,
    https://arxiv.org/abs/1810.01367.

    >>> field = lambda x, t: -x * jnp.array([1.0, 2.0])
    >>> flowed = flow_and_log_det(field, jnp.ones((3, 2)), jnp.linspace(0.0, 1.0, 9), "rk4")
    >>> [round(float(v), 4) for v in flowed.log_det]
    [-3.0, -3.0, -3.0]
    """
    x = as_float(x)
    batch_ndims = x.ndim - event_ndims
    directions = varying(divergence.directions(x, batch_ndims), lambda e: e + x)
    exact = divergence.probes is None

    event = tuple(range(-event_ndims, 0))

    def augmented(state: tuple[Array, Array, Array], t: Array) -> tuple[Array, Array, Array]:
        value, push = jax.linearize(lambda x: field(x, t).astype(x.dtype), state[0])
        traces = (jax.vmap(push)(directions) * directions).sum(event)
        traces = traces.sum(0, keepdims=True) if exact else traces
        # Positive also where time runs backwards.
        return value, traces, jnp.sign(times[-1] - times[0]) * (value**2).sum(event)

    rows = 1 if exact else len(directions)
    start = (x, jnp.zeros((rows, *x.shape[:batch_ndims]), x.dtype), jnp.zeros_like(x.sum(event)))
    x, log_dets, energy = integrate(augmented, start, times, method, rematerialise=rematerialise)
    error = None if rows == 1 else log_dets.std(0, ddof=1) / jnp.sqrt(rows)
    return Flowed(x, log_dets.mean(0), error, energy)


def steps_between(start: Any, end: Any, num_steps: int) -> Array:
    """`num_steps` equal steps from one time to another, `[num_steps + 1]`."""
    require_sizes(num_steps=num_steps)
    return jnp.linspace(start, end, num_steps + 1)


@dataclass(frozen=True)
class Solver:
    """How a density is computed along an ODE.

    Attributes:
      method: a name in `TABLEAUS`.
      num_steps: at least 1.
      probes: random vectors for the trace; None for the exact trace in few dimensions.
      rematerialise: see `integrate`.
      spacing: of the steps, see `noising.GaussianProcess.steps`. "auto" is "time" where the network
        predicts a velocity, and "log_snr" elsewhere. On schedules such as "linear" and "cosine" a
        part of the signal-to-noise ratio that decides about densities of sharp data is lost within
        the first hundredths of time, and with steps equal in time these were off by nats per
        dimension.
    """

    method: Method = "rk4"
    num_steps: int = 32
    probes: int | None = None
    rematerialise: bool = False
    spacing: Literal["auto"] | Spacing = "auto"

    def __post_init__(self) -> None:
        tableau_of(self.method)
        if self.spacing != "auto":
            check_spacing(self.spacing)
        require_sizes(num_steps=self.num_steps, probes=1 if self.probes is None else self.probes)

    @property
    def num_calls(self) -> int:
        """Evaluations of the field."""
        return num_calls(self.method, self.num_steps)
