"""Annealed importance sampling, forwards and backwards, as one compiled scan.

`anneal` moves chains along any `Path` of densities. `annealed_importance_sampling` is that of
f_b(z) = exp(base(z) + b ratio(z)), b from 0 to 1, with Hamiltonian transitions: for a posterior,
`base` is the log prior and `ratio` the log-likelihood. Chains, and data, are batch axes of z.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import is_concrete
from dgmjax.errors import require, require_sizes
from dgmjax.inference.hamiltonian import Info, Point, Term, evaluated, hamiltonian_step
from dgmjax.inference.kernels import check_real
from dgmjax.inference.temperatures import check_temperatures
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


def start_of(path: Path, position: PyTree) -> Point:
    """The state of a Hamiltonian path at `position`, which has an axis of chains."""
    start = path.init(position)
    shape = start.values[0].shape
    require(len(shape) >= 1, "position", "must have an axis of chains", shape)
    return start


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
    start = start_of(path, position)
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


def log_mean_weight(log_weight: Array, axis: int = 0) -> Array:
    """log of the mean weight over the chains of `axis`, of which there must be one at least."""
    _require_weighed(log_weight, axis)
    return jax.nn.logsumexp(log_weight, axis) - math.log(log_weight.shape[axis])


def effective_chains(log_weight: Array, axis: int = 0) -> Array:
    """1 / sum of the squared normalised weights, over the chains of `axis`; at least one."""
    _require_weighed(log_weight, axis)
    return 1.0 / (jax.nn.softmax(log_weight, axis) ** 2).sum(axis)


def _require_weighed(log_weight: Array, axis: int) -> None:
    shape = jnp.shape(log_weight)
    sound = -len(shape) <= axis < len(shape) and shape[axis] >= 1
    require(sound, "log_weight", f"must have a chain at least on axis {axis}", f"shape {shape}")


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
