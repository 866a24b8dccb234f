"""Weights and temperatures that change with the training step."""

from collections.abc import Callable

import jax.numpy as jnp

from dgmjax.types import Array, Batch

Scheduled = float | Array | Callable[[Array], Array]
"""A number, or a function of the training step: any optax schedule."""

END = 2**30


def scheduled(value: Scheduled, batch: Batch) -> Array | float:
    """The number at the batch's training step; outside of training, at the end of the schedule.

    >>> import optax
    >>> warm_up = optax.linear_schedule(0.0, 1.0, 100)
    >>> float(scheduled(warm_up, {"step": jnp.int32(25)})), float(scheduled(warm_up, {}))
    (0.25, 1.0)
    """
    if not callable(value):
        return value
    return value(jnp.asarray(batch.get("step", END)))
