"""Trial runs before chains are annealed: step sizes and temperatures, whose weights are discarded.

What is chosen before the run that counts leaves its weights unbiased.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import is_concrete
from dgmjax.errors import require
from dgmjax.inference.adaptation import TARGET
from dgmjax.inference.annealing import hamiltonian_path, start_of
from dgmjax.inference.hamiltonian import Point, Term, hamiltonian_step
from dgmjax.inference.temperatures import check_temperatures
from dgmjax.types import Array, Key, PyTree


def tuned_step_sizes(
    key: Key,
    base: Term,
    ratio: Term,
    position: PyTree,
    temperatures: np.ndarray | Array,
    step_size: float = 0.1,
    *,
    num_steps: int = 10,
    target: float = TARGET,
    rate: float = 0.2,
    shared: int | tuple[int, ...] | None = None,
) -> Array:
    """A step size for every temperature, `[T]`, from a trial run whose weights are discarded.

    The trial anneals forwards. log e changes by `rate` times the excess of the acceptance over the
    target; since neighbours are alike, one transition each is enough. The sizes are then averaged
    over a window of the path, and belong to it: run them backwards, too.

    Args:
      shared: axes of the chains that share a size; all if None. With chains `[C, N]` of N data, 0
        gives every datum sizes of its own, `[T, 1, N]`. A size that suits the average example is
        too long for the sharpest posterior, whose chains would stand still.
    """
    check_temperatures(temperatures)
    require(0.0 < target < 1.0, "target", "must be in (0, 1)", target)
    require(step_size > 0.0, "step_size", "must be positive", step_size)
    start = start_of(hamiltonian_path(base, ratio, num_steps), position)
    _require_chains(start)
    _require_ratio(start.values[1])
    betas = jnp.asarray(temperatures, start.values[1].dtype)[1:]
    # Half precision has too few digits for a size that changes by little in each step.
    dtype = jnp.promote_types(betas.dtype, jnp.float32)

    def mean(acceptance):
        return acceptance.mean(shared, keepdims=shared is not None)

    def transition(point, log_size, beta, key):
        size = jnp.exp(log_size)
        point, info = hamiltonian_step([base, ratio], [1.0, beta], key, point, size, num_steps)
        return point, log_size + rate * (mean(info.acceptance).astype(dtype) - target)

    def settle(carry, key):
        point, log_size = transition(carry[0], carry[1], betas[0], key)
        return (point, log_size), None

    def body(carry, inputs):
        point, log_size = transition(carry[0], carry[1], inputs[0], inputs[1])
        return (point, log_size), log_size

    settle_key, key = jax.random.split(key)
    sizes = jax.eval_shape(mean, start.values[1])
    carry = (start, jnp.full(sizes.shape, math.log(step_size), dtype))
    # First at the lowest temperature alone: the guess may be far off, and the sizes of the first
    # temperatures would be those of the search.
    carry, _ = jax.lax.scan(settle, carry, jax.random.split(settle_key, 50))
    _, log_sizes = jax.lax.scan(body, carry, (betas, jax.random.split(key, len(betas))))
    window = max(1, min(len(betas) // 20, 50))
    # One transition gives a noisy size, and neighbours on the path need about the same. Edge values
    # are repeated so that the ends are not averaged with zeros.
    axes = [(window, window)] + [(0, 0)] * (log_sizes.ndim - 1)
    weights = jnp.ones(2 * window + 1, dtype) / (2 * window + 1)
    average = partial(jnp.apply_along_axis, partial(jnp.convolve, v=weights, mode="valid"), 0)
    return jnp.exp(average(jnp.pad(log_sizes, axes, mode="edge")))


def adaptive_temperatures(
    key: Key,
    base: Term,
    ratio: Term,
    position: PyTree,
    *,
    effective: float = 0.9,
    step_size: float = 0.1,
    num_steps: int = 10,
    maximum: int = 10_000,
) -> tuple[np.ndarray, np.ndarray]:
    """Temperatures at which weights stay even, and the step sizes used: `[T + 1]` and `[T]`.

    In a trial run the next b is the one at which the conditional effective sample size of
    exp((b' - b) ratio) over all chains falls to the share `effective`; it is found by bisection.

    Source: Zhou, Johansen & Aston, "Toward automatic model comparison: an adaptive sequential Monte
    Carlo approach", 2016, section 3.3, https://arxiv.org/abs/1303.3123.
    """
    require(0.0 < effective < 1.0, "effective", "must be in (0, 1)", effective)
    require(step_size > 0.0, "step_size", "must be positive", step_size)
    start = start_of(hamiltonian_path(base, ratio, num_steps), position)
    _require_chains(start)
    _require_ratio(start.values[1])
    _require_weights(start.values[1], effective)

    @jax.jit
    def advance(point, beta, log_size, key):
        change = _even_change(point.values[1].reshape(-1), 1.0 - beta, effective)
        beta = jnp.minimum(beta + change, 1.0)
        point, info = hamiltonian_step(
            [base, ratio], [1.0, beta], key, point, jnp.exp(log_size), num_steps
        )
        return point, beta, log_size + 0.2 * (info.acceptance.mean() - TARGET)

    point, beta, log_size = start, 0.0, math.log(step_size)
    betas, sizes = [0.0], []
    while betas[-1] < 1.0:
        require(
            len(betas) <= maximum,
            "maximum",
            f"must suffice for an effective share of {effective}",
            f"{maximum} temperatures, which reach {betas[-1]:.3g}",
            "Lower `effective`, or raise `maximum`.",
        )
        key, step_key = jax.random.split(key)
        sizes.append(float(jnp.exp(log_size)))
        point, beta, log_size = advance(point, beta, log_size, step_key)
        # Rounding may leave b where it was. The smallest number above it keeps the temperatures
        # strictly increasing and the loop finite.
        betas.append(max(float(beta), np.nextafter(betas[-1], 2.0)))
    return np.array([*betas[:-1], 1.0]), np.array(sizes)


def _require_ratio(ratio: Array) -> None:
    """Raises `DgmjaxError` where log f_1 - log f_0 is NaN or infinite; unchecked while traced."""
    if not is_concrete(ratio):
        return
    values = np.asarray(ratio, np.float64)
    wrong = np.isnan(values) | (values == np.inf)
    given = f"{int(wrong.sum())} of {values.size} chains where it is not"
    rule = "must be finite, or -inf where the density ends, at `position`"
    require(not wrong.any(), "ratio", rule, given, "Start chains where `ratio` is known.")


def _require_weights(ratio: Array, effective: float) -> None:
    """Raises `DgmjaxError` where no temperature above 0 has weights that are even enough.

    A chain whose ratio is -inf has weight 0 at each of them, so that their effective share is at
    most that of the others.
    """
    finite = np.isfinite(np.asarray(ratio, np.float64))
    given = f"{int((~finite).sum())} of {finite.size} chains that are not"
    rule = f"must be finite for an effective share of {effective} of the chains at `position`"
    remedy = "Start chains where it is, or lower `effective`."
    require(bool(finite.mean() >= effective), "ratio", rule, given, remedy)


def _even_change(ratio: Array, rest: Array, effective: float) -> Array:
    """The largest d <= rest with (mean w)^2 / mean w^2 >= `effective`, w = exp(d ratio)."""
    log_count = math.log(len(ratio))

    # The share falls as d grows, so bisection finds its crossing: with the convex K(d) = log mean
    # exp(d ratio), d/dd (2 K(d) - K(2 d)) = 2 (K'(d) - K'(2 d)) <= 0.
    def share(change):
        log_w = change * ratio
        return jnp.exp(2.0 * jax.nn.logsumexp(log_w) - jax.nn.logsumexp(2.0 * log_w) - log_count)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2.0
        even = share(middle) >= effective
        return jnp.where(even, middle, low), jnp.where(even, high, middle)

    low, _ = jax.lax.fori_loop(0, 40, halve, (jnp.zeros_like(rest), rest))
    return jnp.where(share(rest) >= effective, rest, low)


def _require_chains(start: Point) -> None:
    """Raises `DgmjaxError` where there is no chain to learn from."""
    shape = start.values[0].shape
    require(math.prod(shape) >= 1, "position", "must hold a chain at least", f"chains {shape}")
