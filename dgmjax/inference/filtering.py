"""Particle filters over batches of sequences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.inference.resampling import Resampling
from dgmjax.inference.smc import run_smc, sequential_monte_carlo
from dgmjax.types import Array, Key, PyTree


class Filtering(NamedTuple):
    """A proposal in every step of B sequences, and the weight of what it proposes.

    Attributes:
      init_carry: a batch shape to what a particle remembers before the first step.
      step: `(carry, key, inputs) -> (carry, log_weight)`, for particles `[N, ...]` of one sequence,
        with log_weight = log p(z_t, x_t | past) - log q(z_t | past, x), `[N]` in nats.
      inputs: what the steps read, leaves `[T, B, ...]`.
    """

    init_carry: Callable[[tuple[int, ...]], PyTree]
    step: Callable[[PyTree, Key, PyTree], tuple[PyTree, Array]]
    inputs: PyTree


class Filtered(NamedTuple):
    """What particle filters found.

    Attributes:
      log_evidence: `[B]`, in nats; its exponential estimates p(x_1..T) without bias.
      effective_sample_size: `[B]`, mean over the steps.
      resampled: `[B]`, the share of steps before which particles were resampled.
    """

    log_evidence: Array
    effective_sample_size: Array
    resampled: Array


def particle_filter(
    filtering: Filtering,
    key: Key,
    num_particles: int,
    threshold: float = 0.5,
    resampling: str | Resampling = "systematic",
) -> Filtered:
    """The log-evidence of every sequence by a filter of its own with `num_particles` particles.

    With `threshold=0` nothing is resampled: importance sampling of whole paths.
    """
    require_sizes(num_particles=num_particles)

    def move(key: Key, carry: PyTree, inputs: Any) -> tuple[PyTree, Array]:
        carry, log_weight = filtering.step(carry, key, inputs)
        rule = f"must have a `step` that returns a log-weight for each particle, [{num_particles}]"
        shape = jnp.shape(log_weight)
        require(shape == (num_particles,), "filtering", rule, f"shape {shape}")
        return carry, log_weight

    kernel = sequential_monte_carlo(move, threshold, resampling)

    def one(key: Key, inputs: PyTree) -> Filtered:
        start = filtering.init_carry((num_particles,))
        particles, info = run_smc(kernel, key, start, inputs)
        size, resampled = info.effective_sample_size.mean(), info.resampled.mean()
        return Filtered(particles.log_evidence, size, resampled)

    batch = jax.tree.leaves(filtering.inputs)[0].shape[1]
    sequences = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), filtering.inputs)
    return jax.vmap(one)(jax.random.split(key, batch), sequences)
