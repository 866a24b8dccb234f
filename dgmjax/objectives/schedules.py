"""Weights and temperatures that change with the training step."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array, Batch

Scheduled = float | Array | Callable[[Any], Any]
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


def scheduled_weight(beta: Scheduled, batch: Batch) -> Array | float:
    """`scheduled`, for the weight of a term of a loss.

    Raises `DgmjaxError` for a plain number that is negative or not finite.
    """
    if isinstance(beta, int | float):
        require(0.0 <= beta < math.inf, "beta", "must be a number of at least 0", beta)
    return scheduled(beta, batch)
