"""Measures whether a bijector, of any JAX library, keeps a numerics contract.

A bijector is given as a function `build(params) -> (forward_and_log_det, inverse_and_log_det)`
of a pytree of float32 arrays, so that the same map can be evaluated in float64 (the truth) and
differentiated by its parameters. Both callables take `[N, *event_shape]` and return arrays
`[N, *event_shape]` and log-determinants `[N]`. Nothing here knows which library they are from.

The comparisons:

* log-determinants in float32 with `slogdet` of the Jacobian, by forward differentiation, in
  float64;
* gradients in float32, reverse mode, with central differences of the values in float64;
* round trips in float32 with the identity.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.types import Array, PyTree

Map = Callable[[Array], tuple[Array, Array]]
Build = Callable[[PyTree], tuple[Map, Map]]
Domain = Literal["line", "unit", "positive"]

STEP = 1e-6
"""Of the central differences, in float64: their error is about 1e-10 times the value over it,
plus the step times the jump of the second derivative at a knot."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A bijector, and the points at which to measure it.

    Args:
      build: see above; a function whose identity is kept, so that it compiles once.
      random: `[N, *base_shape]`, base points at which the whole contract holds.
      special: `[S, *base_shape]`, base points at knots, at and beyond bounds, 0, +-1e4, integers.
      data: `[T, *data_shape]`, points of the data's domain, ends included.
    """

    build: Build
    random: np.ndarray
    special: np.ndarray
    data: np.ndarray


def special_points(shape: tuple[int, ...], extra: tuple[float, ...] = ()) -> np.ndarray:
    """Zeros, integers, +-50, +-1e4 and `extra` in all entries; then each in the first entry."""
    values = np.array([0.0, -2.0, -1.0, 1.0, 2.0, 3.0, -50.0, 50.0, -1e4, 1e4, *extra])
    size = int(np.prod(shape))
    everywhere = np.tile(values[:, None], (1, size))
    first = np.tile(np.linspace(-0.7, 0.9, size), (len(values), 1))
    first[:, 0] = values
    return np.concatenate([everywhere, first]).reshape(-1, *shape).astype(np.float32)


def domain_points(
    shape: tuple[int, ...], domain: Domain = "line", extra: tuple[float, ...] = ()
) -> np.ndarray:
    """Points of the data's domain, its ends included: "line", "unit" (0, 1) or "positive"."""
    rng = np.random.default_rng(1)
    ends = np.stack([np.zeros(shape), np.ones(shape)])
    if domain == "unit":
        return np.concatenate([rng.uniform(size=(6, *shape)), ends])
    if domain == "positive":
        return np.concatenate([rng.exponential(size=(6, *shape)), 1e4 * ends])
    return special_points(shape, extra)


def violations(found: Mapping[str, Any], scale: float, domain: Domain = "line") -> dict[str, Any]:
    """Measurements that break the contract, by name; empty if it is kept.

    Args:
      found: the measurements of `Conformance`.
      scale: standard deviation of the parameters. Round trips are part of the contract at 1.
      domain: of the data. On "unit" and "positive", points of +-1e4 round to an end of it, and
        neither their round trip nor a Jacobian there means anything.
    """
    verdicts = ("finite_values", "finite_gradients", "finite_parameter_gradients", "float32")
    bounds = {
        "vmap_and_leading_shapes": 1e-5,
        # Relative to the largest entry of a gradient; a knot's gradient of 0.5 would be 0.5 off.
        "gradient": 1e-3,
        "log_det_gradient": 1e-3,
        "log_det": 1e-4,
        "inverse_log_det": 1e-3,
    }
    if domain == "line":
        bounds |= {"gradient_special": 5e-3, "log_det_special": 5e-4}
    if scale == 1.0:
        bounds |= {"inverse_log_det": 1e-4, "round_trip": 1e-3, "round_trip_data": 1e-3}
        if domain == "line":
            bounds["round_trip_special"] = 1e-3
    broken = {name: found[name] for name in verdicts if not found[name]}
    return broken | {name: found[name] for name, most in bounds.items() if not found[name] < most}


class Conformance:
    """The compiled measurements of one kind of bijector; call it with parameters.

    The same instance measures any parameters of the same shapes without compiling again.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        build = case.build
        self._forward = jax.jit(lambda params, z: _differentiate(build, params, z, 0))
        self._inverse = jax.jit(lambda params, x: _differentiate(build, params, x, 1))
        self._shapes = jax.jit(jax.vmap(lambda params, z: build(params)[0](z), in_axes=(None, 0)))
        self._reference = jax.jit(lambda params, z: _reference(build, params, z))

    def __call__(self, params: PyTree) -> dict[str, Any]:
        """Errors (floats; relative where values are above 1) and verdicts (bools), by name."""
        case = self.case
        z = np.concatenate([case.random, case.special]).astype(np.float32)
        # Repeated up to the number of base points, so that one compiled inverse serves both.
        data = np.resize(case.data.astype(np.float32), (len(z), *case.data.shape[1:]))
        forward = self._forward(params, z)
        at_data = self._inverse(params, data)
        measured = {
            "forward": forward,
            "inverse": self._inverse(params, forward["value"]),
            "at_data": at_data,
            "again": self._forward(params, at_data["value"])["value"],
            "shapes": self._shapes(params, z[:4].reshape(2, 2, 1, *z.shape[1:])),
        }
        with jax.enable_x64(True):
            truth = jax.device_get(self._reference(cast_to_float64(params), z.astype(np.float64)))
        return _compare(jax.device_get(measured), truth, z, data, len(case.random))


def cast_to_float64(params: PyTree) -> PyTree:
    def to_float64(leaf: Any) -> Any:
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(np.asarray(leaf, np.float64))
        return leaf

    return jax.tree.map(to_float64, params)


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    """Unequal weights of the entries of an event: gradients are of a weighted sum."""
    # With equal weights, errors of opposite sign in two entries would cancel.
    return np.cos(1.0 + np.arange(int(np.prod(shape)))).reshape(shape).astype(np.float32)


def _differentiate(build: Build, params: PyTree, points: Array, side: int) -> dict[str, Any]:
    def run(params: PyTree, points: Array) -> tuple[Array, Array]:
        return build(params)[side](points)

    (value, log_det), pullback = jax.vjp(run, params, points)
    weights = jnp.broadcast_to(_weights(value.shape[1:]), value.shape).astype(value.dtype)
    ones, zeros = jnp.ones_like(log_det), jnp.zeros_like(log_det)
    # Apart for the value and for the log-determinant: in their sum a wrong gradient of one could
    # hide behind a large one of the other.
    by_params, by_value = pullback((weights, zeros))
    also_by_params, by_log_det = pullback((jnp.zeros_like(weights), ones))
    leaves = jax.tree.leaves((by_params, also_by_params))
    finite = [jnp.isfinite(x).all() for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)]
    return {
        "value": value,
        "log_det": log_det,
        "by_value": by_value,
        "by_log_det": by_log_det,
        "params_finite": jnp.all(jnp.array([True, *finite])),
    }


def _reference(build: Build, params: PyTree, z: Array) -> dict[str, Array]:
    """In float64: log|det J| by differentiation; gradients of value and log-det by differences."""
    size = int(np.prod(z.shape[1:]))

    def single(flat: Array) -> Array:
        value, _ = build(params)[0](flat.reshape((1, *z.shape[1:])))
        return value.reshape(-1)

    flat = z.reshape(-1, size)
    jacobian = jax.vmap(jax.jacfwd(single))(flat)
    offsets = STEP * jnp.eye(size, dtype=z.dtype)
    nearby = jnp.stack([flat[:, None] + offsets, flat[:, None] - offsets])
    value, log_det = build(params)[0](nearby.reshape(-1, *z.shape[1:]))
    value = jnp.sum(value * _weights(value.shape[1:]), axis=tuple(range(1, value.ndim)))
    value, log_det = (a.reshape(2, len(flat), size) for a in (value, log_det))
    return {
        "log_det": jnp.linalg.slogdet(jacobian)[1],
        "by_value": ((value[0] - value[1]) / (2 * STEP)).reshape(z.shape),
        "by_log_det": ((log_det[0] - log_det[1]) / (2 * STEP)).reshape(z.shape),
    }


def _error(measured: Any, truth: Any) -> float:
    """Largest difference, relative to the largest entry of the event where that is above 1."""
    measured, truth = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (measured, truth))
    if not (np.isfinite(measured).all() and np.isfinite(truth).all()):
        return float("inf")
    scale = np.maximum(1, np.abs(truth).max(axis=1, keepdims=True, initial=0))
    return float((np.abs(measured - truth) / scale).max(initial=0))


def _compare(
    measured: Any, truth: Any, z: np.ndarray, data: np.ndarray, num_random: int
) -> dict[str, Any]:
    forward, inverse, at_data = measured["forward"], measured["inverse"], measured["at_data"]
    sides = (forward, inverse, at_data)
    random, special = slice(None, num_random), slice(num_random, None)

    def finite(*names: str) -> bool:
        return all(bool(np.isfinite(side[name]).all()) for side in sides for name in names)

    shaped, shaped_log_det = (a.reshape(4, *a.shape[3:]) for a in measured["shapes"])
    return {
        "finite_values": finite("value", "log_det"),
        "finite_gradients": finite("by_value", "by_log_det"),
        "finite_parameter_gradients": all(bool(side["params_finite"]) for side in sides),
        "round_trip": _error(inverse["value"][random], z[random]),
        "round_trip_special": _error(inverse["value"][special], z[special]),
        "round_trip_data": _error(measured["again"], data),
        "log_det": _error(forward["log_det"][random], truth["log_det"][random]),
        "log_det_special": _error(forward["log_det"][special], truth["log_det"][special]),
        "inverse_log_det": _error(-inverse["log_det"][random], forward["log_det"][random]),
        "gradient": _error(forward["by_value"][random], truth["by_value"][random]),
        "gradient_special": _error(forward["by_value"][special], truth["by_value"][special]),
        "log_det_gradient": _error(forward["by_log_det"][random], truth["by_log_det"][random]),
        "float32": str(forward["log_det"].dtype) == "float32",
        "vmap_and_leading_shapes": max(
            _error(shaped, forward["value"][:4]),
            _error(shaped_log_det, forward["log_det"][:4]),
        ),
    }
