"""Averages of the losses and metrics of a batch; padding does not count."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require
from dgmjax.types import Array, Batch, Metrics

WEIGHT = "mask"
"""Metric that holds the weight of a batch, the sum of its mask. No objective can own the name."""


def masked_mean(values: Array, mask: Array | None) -> Array:
    """Mean over the examples with `mask` 1, `[N, ...]`; scalars pass through.

    The mean over no example at all is 0.

    >>> float(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([1.0, 1.0, 0.0])))
    2.0
    """
    values = as_float(values)  # of networks that compute in bfloat16, too
    if values.ndim == 0 or mask is None:
        return values.mean()
    values = values.reshape(len(values), -1).mean(1) if values.ndim > 1 else values
    # All of a batch may be padding (a share of it on some device): 0, not 0 / 0.
    total = mask.sum()
    return (values * mask).sum() / jnp.where(total > 0, total, 1.0)


def averages(
    result: Any, batch: Batch, player: str, weighted: bool = False
) -> tuple[Array, Metrics]:
    """Mean loss and metrics from the result of the objective of `player` for `batch`.

    A loss `[B]` has one entry for each row and is weighted by the batch's `mask`. A loss of another
    size `[N]` (labelled and unlabelled rows, rollouts) has a mask of its own, the metric `mask[N]`,
    which a padded batch requires. Metrics `[B]` and `[N]` take the same weights. Where there is a
    mask, the metric `WEIGHT` is its sum; if `weighted`, elsewhere the number of losses.

    Raises:
      DgmjaxError: the result is not a pair of losses and metrics.
    """
    argument = f"players[{player!r}].objective"
    pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)
    rule = "must return a pair (loss, metrics), with metrics a dict of arrays"
    remedy = "Return `loss, {}` where there is nothing to report."
    require(pair, argument, rule, _described(result), remedy)
    loss, metrics = as_float(result[0]), dict(result[1])
    given = f"shape {loss.shape}"
    rule = "must return one loss per example, a one-dimensional array that is not empty"
    require(loss.ndim == 1 and loss.size >= 1, argument, rule, given)
    rows, mask, own = len(batch["x"]), batch.get("mask"), metrics.pop(WEIGHT, None)
    if own is not None:
        rule = f"must return a metric `mask` of the loss's shape {loss.shape}"
        require(jnp.shape(own) == loss.shape, argument, rule, f"shape {jnp.shape(own)}")
    if loss.size == rows:
        own = mask if own is None else own if mask is None else own * mask
    else:
        rule = f"must return a metric `mask[{loss.size}]` with its {loss.size} losses"
        remedy = f"The batch has {rows} rows, some of which are padding; 0 leaves a loss out."
        require(mask is None or own is not None, argument, rule, given, remedy)
    masks = {rows: mask, loss.size: own}
    means = {name: masked_mean(v, _mask_of(v, masks)) for name, v in metrics.items()}
    # A float of any mask: parts of a batch are weighted by it, and averaged as floats are.
    weight = {}
    if own is None and weighted:
        own = jnp.ones(loss.shape, loss.dtype)
    if own is not None:
        weight = {WEIGHT: own.sum(dtype=jnp.result_type(own, loss.dtype, jnp.float32))}
    return masked_mean(loss, own), {**means, **weight}


def _mask_of(values: Any, masks: Mapping[int, Array | None]) -> Array | None:
    """The mask of the size of the first axis; None for metrics that are not per example."""
    shape = jnp.shape(values)
    return masks.get(shape[0]) if shape else None


def _described(result: Any) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in result)}"
    return type(result).__name__
