"""Bounds of discrete diffusion models."""

from dgmjax.contracts import check_batch, original_units
from dgmjax.types import Array, Batch, Key, Metrics


def discrete_diffusion(
    model, batch: Batch, key: Key, *, steps: int | None = None
) -> tuple[Array, Metrics]:
    """An unbiased estimate of an upper bound on -log p(x), in nats per example.

    Under masks it is a weighted cross-entropy of the hidden values, and the mean of -log p(x) over
    the orders in which they may be revealed; with uniform noise the divergence of the rates at
    which values jump back (`noising.DiscreteProcess.divergence_rate`).

    Args:
      model: with `bound(x, key, context)`, such as `models.DiscreteDiffusion`.
      batch: `x`, and the class as `context` where the model is conditional.
      steps: of the chain that is bounded; None for continuous time.

    Returns:
      loss `[B]`; metric `nll_bound` (the same).
    """
    check_batch(batch)
    bound = model.bound(batch["x"], key, batch.get("context"), steps=steps)
    loss = -bound - original_units(batch)
    return loss, {"nll_bound": loss}
