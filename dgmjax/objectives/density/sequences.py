"""Exact likelihood of padded sequences; padding does not count."""

import jax.numpy as jnp

from dgmjax.contracts import check_batch, is_initialising, original_units
from dgmjax.distributions.base import sum_event
from dgmjax.errors import DataError, require
from dgmjax.masks import kept
from dgmjax.types import Array, Batch, Key, Metrics


def padded_sequence_nll(model, batch: Batch, key: Key | None = None) -> tuple[Array, Metrics]:
    """-sum_{t < length} log p(x_t | x_<t, y), in nats per sequence.

    The conditionals up to the end do not read the padding, so this is the exact likelihood of
    the sequence, given its length.

    Args:
      model: `model(context)` returns a `distributions.Autoregressive` over `[T]`, and
        `model.context(label)` the context of a class (`models.ClassConditional`).
      batch: `x[B, T]`, `length[B]` and `label[B]`.

    Returns:
      loss `[B]`, and as metrics `nll_nats` (the same) and `nats_per_site`, whose average over a
      batch is that over its sequences, not over their sites.
    """
    del key
    check_batch(batch)
    for name in ("length", "label"):
        require(name in batch, "batch", f"must hold `{name}`", sorted(batch), "", DataError)
    length, steps = batch["length"], jnp.arange(jnp.shape(batch["x"])[-1])
    lasts = steps < length[:, None]
    x = kept(batch["x"], lasts)
    context = model.context(batch["label"])
    if is_initialising(model):  # starts at the marginals
        nll = -model.log_prob(x, context)
    else:
        distribution = model(context)
        per_site = distribution.family(distribution.params(x)).log_prob(x)
        nll = -sum_event(jnp.where(lasts, per_site, 0.0), 1)
    nll = nll - original_units(batch)
    return nll, {"nll_nats": nll, "nats_per_site": nll / jnp.maximum(length, 1)}
