"""Sequential Monte Carlo: a kernel `(init, step)` over weighted particles.

A particle filter and an SMC sampler differ in what moves the particles and weighs them; both are
`sequential_monte_carlo` with another `move`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.inference.kernels import Kernel
from dgmjax.inference.resampling import SCHEMES, Resampling
from dgmjax.types import Array, Key, PyTree

Move = Callable[[Key, PyTree, Any], tuple[PyTree, Array]]
"""A key, particles `[N, ...]` and what belongs to the step, to new particles and their incremental
log-weights `[N]`."""


class Particles(NamedTuple):
    """Weighted particles.

    Attributes:
      values: pytree with leaves `[N, ...]`.
      log_weights: `[N]`, normalised: their exponentials sum to 1.
      log_evidence: log of the unbiased estimate of the normaliser so far, in nats.
    """

    values: PyTree
    log_weights: Array
    log_evidence: Array


class SMCInfo(NamedTuple):
    """Statistics of a step.

    Attributes:
      ancestors: `[N]` of the particles, before they moved.
      resampled: whether they were resampled.
      effective_sample_size: 1 / sum w^2 after weighing.
      log_increment: of the log-evidence.
    """

    ancestors: Array
    resampled: Array
    effective_sample_size: Array
    log_increment: Array


def sequential_monte_carlo(
    move: Move, threshold: float = 0.5, resampling: str | Resampling = "systematic"
) -> Kernel:
    """Particles that are moved, weighed and, when their weights are uneven, resampled.

    `init(values)` gives equal weights, `step(key, particles, given)` resamples if the effective
    sample size is below `threshold` N, calls `move(key, values, given)`, and adds
    log sum_i w_i exp(increment_i) to the log-evidence, whose exponential has no bias.

    Args:
      move: see `Move`. A particle filter proposes z_t ~ q(. | z_{t-1}, x_t) and returns
        log p(z_t, x_t | z_{t-1}) - log q.
      threshold: share of N; 1 resamples in every step, 0 never does (importance sampling).
      resampling: "multinomial", "stratified", "systematic", or your own function.

    Source: Doucet & Johansen, "A tutorial on particle filtering and smoothing: fifteen years
    later", 2011, sections 3.4 and 3.5,
    https://www.stats.ox.ac.uk/~doucet/doucet_johansen_tutorialPF2011.pdf.
    """
    require(0.0 <= threshold <= 1.0, "threshold", "must be in [0, 1]", threshold)
    known = callable(resampling) or resampling in SCHEMES
    require(known, "resampling", f"must be a function or one of {sorted(SCHEMES)}", resampling)
    scheme = resampling if callable(resampling) else SCHEMES[resampling]

    def init(values: PyTree) -> Particles:
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(values)]
        counts = {shape[:1] for shape in shapes}
        rule = "must hold arrays [N, ...] of one number N of particles"
        require(len(counts) == 1 and counts != {()}, "values", rule, f"shapes {shapes}")
        count = shapes[0][0]
        require_sizes(particles=count)
        dtype = jnp.result_type(float)
        log_weights = jnp.full((count,), -math.log(count), dtype)
        return Particles(values, log_weights, jnp.zeros((), dtype))

    def step(key: Key, state: Particles, given: Any = None) -> tuple[Particles, SMCInfo]:
        resample_key, move_key = jax.random.split(key)
        count = state.log_weights.shape[0]
        size = 1.0 / jnp.exp(2.0 * state.log_weights).sum()
        # Equal weights, up to rounding, need no resampling even where the threshold is 1.
        uneven = size < threshold * count * (1.0 - 1e-6)
        # Ancestors are drawn whether they are used or not: under `vmap` a branch would run both
        # sides.
        drawn = scheme(resample_key, state.log_weights)
        ancestors = jnp.where(uneven, drawn, jnp.arange(count))
        values = jax.tree.map(lambda a: a[ancestors], state.values)
        log_weights = jnp.where(uneven, -math.log(count), state.log_weights)
        values, increments = move(move_key, values, given)
        # Of another shape they would be broadcast: one weight for all, or a table of weights.
        rule = f"must return an incremental log-weight for each particle, [{count}]"
        shape = jnp.shape(increments)
        require(shape == (count,), "move", rule, f"shape {shape}", "Sum over an event alone.")
        unnormalised = log_weights + increments
        log_increment = jax.nn.logsumexp(unnormalised)
        # Where no particle is left the estimate is 0, and stays so whatever the weights are.
        dead = log_increment == -jnp.inf
        log_weights = jnp.where(
            dead, -math.log(count), unnormalised - jnp.where(dead, 0.0, log_increment)
        )
        state = Particles(values, log_weights, state.log_evidence + log_increment)
        size = 1.0 / jnp.exp(2.0 * log_weights).sum()
        return state, SMCInfo(ancestors, uneven, size, log_increment)

    return Kernel(init, step)


def run_smc(kernel: Kernel, key: Key, values: PyTree, given: PyTree) -> tuple[Particles, SMCInfo]:
    """One step for every entry of the leading axis of `given`, as one scan."""
    leaves = jax.tree.leaves(given)
    require(bool(leaves), "given", "must hold an array with a leading axis of steps", given)

    def body(state, inputs):
        key, entry = inputs
        return kernel.step(key, state, entry)

    keys = jax.random.split(key, leaves[0].shape[0])
    return jax.lax.scan(body, kernel.init(values), (keys, given))
