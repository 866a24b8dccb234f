"""Bounds of discrete diffusion models."""

import jax.numpy as jnp

from dgmjax.contracts import check_batch, original_units
from dgmjax.errors import require_sizes
from dgmjax.types import Array, Batch, Key, Metrics


def discrete_diffusion(
    model, batch: Batch, key: Key, *, steps: int | None = None, num_samples: int = 1
) -> tuple[Array, Metrics]:
    """An unbiased estimate of an upper bound on -log p(x), in nats per example.

    Under masks it is a weighted cross-entropy of the hidden values, and the mean of -log p(x) over
    the orders in which they may be revealed; with uniform noise the divergence of the rates at
    which values jump back (`noising.DiscreteProcess.divergence_rate`).

    Args:
      model: with `bound(x, key, context)`, such as `models.DiscreteDiffusion`.
      batch: `x`, and the class as `context` where the model is conditional.
      steps: of the chain that is bounded; None for continuous time.
      num_samples: noisy copies of each example, spread evenly over time, that are averaged.

    Returns:
      loss `[B]`; metric `bound` `[B]`, on log p(x).
    """
    check_batch(batch)
    require_sizes(num_samples=num_samples)
    copies = lambda a: None if a is None else jnp.broadcast_to(a, (num_samples, *a.shape))
    bound = model.bound(copies(batch["x"]), key, copies(batch.get("context")), steps=steps)
    bound = bound.mean(0) + original_units(batch)
    return -bound, {"bound": bound}
