"""Weights and temperatures that change with the training step."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import is_concrete
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

    Raises `DgmjaxError` for numbers that are negative or not finite, where they are known.
    """
    if not callable(beta) and is_concrete(beta):
        sound = bool(np.all((np.asarray(beta) >= 0.0) & (np.asarray(beta) < math.inf)))
        require(sound, "beta", "must be a number of at least 0", beta)
    return scheduled(beta, batch)
