"""Annealed importance sampling, forwards and backwards, as one compiled scan.

`anneal` moves chains along any `Path` of densities. `annealed_importance_sampling` is that of
f_b(z) = exp(base(z) + b ratio(z)), b from 0 to 1, with Hamiltonian transitions: for a posterior,
`base` is the log prior and `ratio` the log-likelihood. Chains, and data, are batch axes of z.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import is_concrete
from dgmjax.errors import require, require_sizes
from dgmjax.inference.adaptation import TARGET
from dgmjax.inference.hamiltonian import Info, Point, Term, evaluated, hamiltonian_step
from dgmjax.inference.kernels import check_real
from dgmjax.types import Array, Key, PyTree


class Annealed(NamedTuple):
    """The end of annealed chains.

    Attributes:
      log_weight: `[*chains]`, in nats. Forwards, the mean of exp(log_weight) is Z_1 / Z_0, without
        bias; backwards, from exact samples of f_1, the mean of exp(-log_weight) is Z_0 / Z_1.
      position: forwards, the last states; weighted, they are samples of f_1.
      acceptance: mean over the chains, `[T]`, in the order of the temperatures.
      divergent: how many trajectories of each chain diverged, `[*chains]`; they were refused.
      step_sizes: `[T]`, those used; None where transitions have none.
    """

    log_weight: Array
    position: PyTree
    acceptance: Array
    divergent: Array
    step_sizes: Any


def linear_temperatures(count: int) -> np.ndarray:
    """0 = b_0 < ... < b_count = 1, evenly spaced.

    >>> linear_temperatures(4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    require_sizes(count=count)
    return np.linspace(0.0, 1.0, count + 1)


def sigmoid_temperatures(count: int, steepness: float = 4.0) -> np.ndarray:
    """Temperatures close together near 0 and 1: s(d (2 t / T - 1)), scaled to [0, 1].

    Source: Wu, Burda, Salakhutdinov & Grosse, "On the Quantitative Analysis of Decoder-Based
    Generative Models", 2017, section 4.1, https://arxiv.org/abs/1611.04273.
    """
    require_sizes(count=count)
    require(steepness > 0.0, "steepness", "must be positive", steepness)
    curve = 1.0 / (1.0 + np.exp(-steepness * np.linspace(-1.0, 1.0, count + 1)))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def geometric_temperatures(count: int, ratio: float = 1000.0) -> np.ndarray:
    """Temperatures whose distance grows by a constant factor: b_t = ((1 + r)^(t / T) - 1) / r.

    Weights vary least where all steps are equally hard. If the precision of f_b grows from 1 to
    1 + r as 1 + b r, as in a linear model with little noise, the variance of the log ratio is
    proportional to (r / (1 + b r))^2, and its root, integrated over b, is the same for every step
    of this schedule. Where r is a guess, one too large costs little: the length grows as log r.

    Args:
      ratio: r, how much more precise the end is than the start, positive.

    Source: Gelman & Meng, "Simulating normalizing constants: from importance sampling to bridge
    sampling to path sampling", 1998, section 4.3, https://doi.org/10.1214/ss/1028905934.

    >>> geometric_temperatures(3, ratio=7.0).round(3).tolist()
    [0.0, 0.143, 0.429, 1.0]
    """
    require_sizes(count=count)
    require(0.0 < ratio < math.inf, "ratio", "must be a positive number", ratio)
    curve = np.expm1(np.log1p(ratio) * np.linspace(0.0, 1.0, count + 1)) / ratio
    return np.append(curve[:-1], 1.0)


def check_temperatures(temperatures: np.ndarray | Array) -> None:
    """Raises `DgmjaxError` unless temperatures increase from 0 to 1."""
    if isinstance(temperatures, jax.core.Tracer):
        return
    given = np.asarray(temperatures)
    sound = given.ndim == 1 and given.size >= 2 and given[0] == 0.0 and given[-1] == 1.0
    rule = "must be at least two numbers that increase from 0 to 1"
    require(sound and bool((np.diff(given) > 0.0).all()), "temperatures", rule, given)


class Path(NamedTuple):
    """Densities f_b, and a Markov kernel for each of them.

    Attributes:
      init: a position to a state, which has the attribute `position`.
      increment: `(state, before, after)` to log f_after - log f_before there, `[*chains]`.
      step: `(key, state, b, given) -> (state, info)`, reversible with respect to f_b; `given` is
        what belongs to the temperature, such as a step size.
    """

    init: Callable[[PyTree], Any]
    increment: Callable[[Any, Array, Array], Array]
    step: Callable[[Key, Any, Array, Any], tuple[Any, Info]]


def hamiltonian_path(base: Term, ratio: Term, num_steps: int = 10) -> Path:
    """f_b = exp(base + b ratio) with HMC, which is given the step size of each temperature."""
    require_sizes(num_steps=num_steps)

    def init(position: PyTree) -> Point:
        check_real(position)
        return evaluated([base, ratio], position)

    def increment(point: Point, before: Array, after: Array) -> Array:
        return (after - before) * point.values[1]

    def step(key: Key, point: Point, b: Array, size: Array) -> tuple[Point, Info]:
        return hamiltonian_step([base, ratio], [1.0, b], key, point, size, num_steps)

    return Path(init, increment, step)


def anneal(
    key: Key,
    path: Path,
    state: Any,
    temperatures: Array,
    given: PyTree = None,
    *,
    backwards: bool = False,
) -> tuple[Any, Annealed]:
    """Moves chains along a path and weighs them: the last states, and what is known of the chains.

    Forwards, log w = sum_t log f_t(z_{t-1}) - log f_{t-1}(z_{t-1}), z_t ~ K_t(. | z_{t-1}), for
    the densities at the temperatures b_0, ..., b_T. Backwards the same chain runs from f_T to f_0.

    Args:
      state: of chains that follow f_0; backwards, f_T.
      temperatures: `[T + 1]`.
      given: leaves `[T, ...]`, for the transitions at b_1, ..., b_T.

    Weights are computed in the dtype of the densities; temperatures, and real numbers that are
    given, are cast to it.
    """
    # Python numbers follow the state. Wider temperatures would widen it in the first transition,
    # and the scan must carry one type.
    dtype = jax.eval_shape(path.increment, state, 0.0, 1.0).dtype
    temperatures = jnp.asarray(temperatures, dtype)
    given = jax.tree.map(lambda leaf: _real_as(dtype, jnp.asarray(leaf)), given)
    count = len(temperatures) - 1
    for leaf in jax.tree.leaves(given):
        rule = f"must have one entry for each of the {count} temperatures after the first"
        require(leaf.shape[:1] == (count,), "given", rule, leaf.shape)
    order = jnp.arange(count)[::-1] if backwards else jnp.arange(count)

    def body(carry, inputs):
        state, log_weight, divergent = carry
        index, key = inputs
        before, after = temperatures[index], temperatures[index + 1]
        # The backward chain undoes the forward one: the transition at b_t is reversible, so it
        # leads from z_t back to z_{t-1}. In both directions the weight of the temperature is taken
        # at z_{t-1}, hence before the move forwards and after it backwards.
        if not backwards:
            log_weight = log_weight + path.increment(state, before, after)
        state, info = path.step(key, state, after, jax.tree.map(lambda a: a[index], given))
        if backwards:
            log_weight = log_weight + path.increment(state, before, after)
        return (state, log_weight, divergent + info.divergent), info.acceptance.mean()

    zeros = jnp.zeros_like(path.increment(state, temperatures[0], temperatures[1]))
    carry = (state, zeros, zeros.astype(jnp.int32))
    (state, log_weight, divergent), acceptance = jax.lax.scan(
        body, carry, (order, jax.random.split(key, count))
    )
    acceptance = acceptance[::-1] if backwards else acceptance
    return state, Annealed(log_weight, state.position, acceptance, divergent, given)


def _start(path: Path, position: PyTree) -> Point:
    """The state of a Hamiltonian path at `position`, which has an axis of chains."""
    start = path.init(position)
    shape = start.values[0].shape
    require(len(shape) >= 1, "position", "must have an axis of chains", shape)
    return start


def _require_chains(start: Point) -> None:
    """Raises `DgmjaxError` where there is no chain to learn from."""
    shape = start.values[0].shape
    require(math.prod(shape) >= 1, "position", "must hold a chain at least", f"chains {shape}")


def _real_as(dtype: Any, leaf: Array) -> Array:
    """`leaf` in `dtype` where it holds real numbers: indices and keys stay what they are."""
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def annealed_importance_sampling(
    key: Key,
    base: Term,
    ratio: Term,
    position: PyTree,
    temperatures: np.ndarray | Array,
    step_sizes: Array | float,
    *,
    num_steps: int = 10,
    backwards: bool = False,
) -> Annealed:
    """log Z_1 / Z_0 by annealing, with an HMC transition at every temperature.

    Forwards, z_0 ~ f_0, log w = sum_t (b_t - b_{t-1}) ratio(z_{t-1}), z_t ~ K_{b_t}(. | z_{t-1}).
    Backwards the same chain runs from an exact sample of f_1 to f_0. By Jensen's inequality the
    mean of log w is a lower bound on log Z_1 / Z_0 forwards and an upper bound backwards; see
    `log_evidence_bounds`. Memory does not depend on the number of temperatures.

    Weights are unbiased because step sizes and temperatures are chosen before: `tuned_step_sizes`,
    `adaptive_temperatures`.

    Args:
      base: log f_0 of positions, `[*chains]`; normalised, or Z_0 is not 1.
      ratio: log f_1 - log f_0.
      position: z_0, leaves `[*chains, *event]`; backwards, samples of f_1.
      temperatures: `[T + 1]`, from 0 to 1.
      step_sizes: positive; a number, or `[T]`, of the transition at b_1, ..., b_T; each may have
        chain axes.
      num_steps: leapfrog steps of a transition.

    Sources: Neal, "Annealed importance sampling", 2001, https://arxiv.org/abs/physics/9803008;
    Grosse, Ghahramani & Adams, "Sandwiching the marginal likelihood using bidirectional Monte
    Carlo", 2015, https://arxiv.org/abs/1511.02543.
    """
    check_temperatures(temperatures)
    path = hamiltonian_path(base, ratio, num_steps)
    start = _start(path, position)
    if all(map(is_concrete, jax.tree.leaves(step_sizes))):
        # Chains that stand still look like chains of which every proposal is accepted.
        positive = np.asarray(step_sizes) > 0.0
        given = f"{int((~positive).sum())} of {positive.size} that are not"
        require(bool(positive.all()), "step_sizes", "must be positive", given)
    dtype = start.values[1].dtype
    betas = jnp.asarray(temperatures, dtype)
    count = betas.shape[0] - 1
    sizes = jnp.asarray(step_sizes, dtype)
    sizes = jnp.full((count,), sizes) if sizes.ndim == 0 else sizes
    rule = f"must be a number, or have one for each of the {count} temperatures after 0"
    require(len(sizes) == count, "step_sizes", rule, sizes.shape)
    return anneal(key, path, start, betas, sizes, backwards=backwards)[1]


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
    start = _start(hamiltonian_path(base, ratio, num_steps), position)
    _require_chains(start)
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
    start = _start(hamiltonian_path(base, ratio, num_steps), position)
    _require_chains(start)
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


def _require_weights(ratio: Array, effective: float) -> None:
    """Raises `DgmjaxError` where no temperature above 0 has weights that are even enough.

    A chain whose ratio is -inf has weight 0 at each of them, so that their effective share is at
    most that of the others.
    """
    values = np.asarray(ratio, np.float64)
    given = f"{int((~np.isfinite(values)).sum())} of {values.size} chains that are not"
    valid = not (np.isnan(values) | (values == np.inf)).any()
    rule = "must be finite, or -inf where the density ends, at `position`"
    remedy = "Start chains where `ratio` is known."
    require(valid, "ratio", rule, given, remedy)
    rule = f"must be finite for an effective share of {effective} of the chains at `position`"
    remedy = "Start chains where it is, or lower `effective`."
    require(bool(np.isfinite(values).mean() >= effective), "ratio", rule, given, remedy)


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


def log_mean_weight(log_weight: Array, axis: int = 0) -> Array:
    """log of the mean weight over the chains of `axis`."""
    return jax.nn.logsumexp(log_weight, axis) - math.log(log_weight.shape[axis])


def effective_chains(log_weight: Array, axis: int = 0) -> Array:
    """1 / sum of the squared normalised weights, over the chains of `axis`."""
    return 1.0 / (jax.nn.softmax(log_weight, axis) ** 2).sum(axis)


class Sandwich(NamedTuple):
    """Bounds on log Z_1 / Z_0, `[...]` in nats; each is one in expectation."""

    lower: Array
    upper: Array

    @property
    def gap(self) -> Array:
        """upper - lower: bounds the error of either, in expectation."""
        return self.upper - self.lower


def log_evidence_bounds(forwards: Annealed, backwards: Annealed, axis: int = 0) -> Sandwich:
    """log mean w of the forward chains, and -log mean 1/w of the backward chains."""
    return Sandwich(
        log_mean_weight(forwards.log_weight, axis), -log_mean_weight(-backwards.log_weight, axis)
    )


Schedule = Callable[[int], np.ndarray]
SCHEDULES: dict[str, Schedule] = {
    "geometric": geometric_temperatures,
    "linear": linear_temperatures,
    "sigmoid": sigmoid_temperatures,
}
"""Schedules that are chosen by name; `adaptive_temperatures` needs a model."""
