"""Adaptation of step sizes and masses, before sampling, during which they are frozen."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.inference.kernels import Kernel
from dgmjax.types import Array, Key, PyTree

TARGET = 0.65
"""Mean acceptance that is best for HMC in many dimensions (Neal 2011, section 4.4)."""


class DualAveraging(NamedTuple):
    """State of the adaptation of a step size; `step_size` is to be used, `final` to be kept."""

    step: Array
    log_step_size: Array
    log_average: Array
    error: Array
    centre: Array

    @property
    def step_size(self) -> Array:
        """The step size to try next."""
        return jnp.exp(self.log_step_size)

    @property
    def final(self) -> Array:
        """The averaged step size."""
        return jnp.exp(self.log_average)


def dual_averaging(step_size: Array | float) -> DualAveraging:
    """The start of dual averaging at a first guess."""
    guess = jnp.log(jnp.asarray(step_size, jnp.result_type(float)))
    zero = jnp.zeros_like(guess)
    # mu = log(10 e_0): early steps are too large rather than too small. A trajectory of large steps
    # costs no more, and one of tiny steps learns little.
    return DualAveraging(jnp.zeros((), jnp.int32), guess, zero, zero, guess + jnp.log(10.0))


def dual_averaging_update(
    state: DualAveraging,
    acceptance: Array,
    target: float = TARGET,
    gamma: float = 0.05,
    offset: float = 10.0,
    kappa: float = 0.75,
) -> DualAveraging:
    """A step of Nesterov's dual averaging towards a mean acceptance of `target`.

    H_t = (1 - 1/(t + t0)) H_{t-1} + (target - a_t) / (t + t0), log e_t = mu - sqrt(t) / gamma H_t,
    and the average of log e_t with weights t^-kappa.

    Source: Hoffman & Gelman, "The No-U-Turn Sampler", 2014, Eq. 6 and Algorithm 5,
    https://arxiv.org/abs/1111.4246.
    """
    step = state.step + 1
    t = step.astype(state.error.dtype)
    share = 1.0 / (t + offset)
    error = (1.0 - share) * state.error + share * (target - acceptance)
    log_step_size = state.centre - jnp.sqrt(t) / gamma * error
    weight = t**-kappa
    log_average = weight * log_step_size + (1.0 - weight) * state.log_average
    return DualAveraging(step, log_step_size, log_average, error, state.centre)


class Adapted(NamedTuple):
    """What `warm_up` found.

    Attributes:
      state: the chains where they are now.
      step_size: to be frozen.
      inverse_mass: variance of every coordinate, a pytree like a position without its chains.
      acceptance: mean over the last half of the steps.
    """

    state: PyTree
    step_size: Array
    inverse_mass: PyTree
    acceptance: Array


def warm_up(
    kernel: Callable[[Array, PyTree], Kernel],
    key: Key,
    position: PyTree,
    num_steps: int,
    step_size: float = 0.1,
    target: float = TARGET,
) -> Adapted:
    """Finds a step size and a diagonal mass for chains that start at `position`.

    The first half adapts the step size with unit masses; masses are then the variances over chains
    and steps of the second quarter, shrunk towards 0.001 as Stan does, and the second half adapts
    the step size for them.

    Args:
      kernel: of a step size and an inverse mass, such as
        `lambda step_size, mass: hmc(log_density, step_size, 10, mass, jitter=0.5)`.
      position: leaves `[*chains, *event]`.
      num_steps: at least 20.
    """
    require(num_steps >= 20, "num_steps", "must be at least 20 to adapt anything", num_steps)
    require(0.0 < target < 1.0, "target", "must be in (0, 1)", target)
    state = kernel(jnp.asarray(step_size), 1.0).init(position)
    chains = jax.tree.leaves(state.values)[0].ndim
    unit = jax.tree.map(lambda a: jnp.ones(a.shape[chains:], a.dtype), position)

    def stage(key, state, mass, averaging, count):
        def body(carry, key):
            state, averaging = carry
            state, info = kernel(averaging.step_size, mass).step(key, state)
            acceptance = info.acceptance.mean()
            averaging = dual_averaging_update(averaging, acceptance, target)
            return (state, averaging), (state.position, acceptance)

        return jax.lax.scan(body, (state, averaging), jax.random.split(key, count))

    first_key, second_key = jax.random.split(key)
    half = num_steps // 2
    (state, averaging), (positions, _) = stage(
        first_key, state, unit, dual_averaging(step_size), half
    )
    # The first quarter still travels from the start to where the density has its mass.
    mass = jax.tree.map(lambda a: _shrunk_variance(a[half // 2 :], chains + 1), positions)
    (state, averaging), (_, acceptance) = stage(
        second_key, state, mass, dual_averaging(averaging.final), num_steps - half
    )
    return Adapted(state, averaging.final, mass, acceptance.mean())


def _shrunk_variance(positions: Array, axes: int) -> Array:
    """Variance over the leading axes: n / (n + 5) var + 1e-3 5 / (n + 5)."""
    over = tuple(range(axes))
    count = 1
    for size in positions.shape[:axes]:
        count *= size
    require_sizes(positions=count)
    return count / (count + 5.0) * positions.var(over) + 1e-3 * 5.0 / (count + 5.0)
