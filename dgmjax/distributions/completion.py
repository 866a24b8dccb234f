"""Forced sites: the given part of an event that is to be completed."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.shapes import require_event
from dgmjax.types import Array


class Forced(NamedTuple):
    """Sites that keep their value: `values[*batch, D, *site]` where `mask[*batch, D]`."""

    values: Array
    mask: Array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.mask.shape[:-1]


def forced_sites(
    observed: Any, mask: Any, event_shape: tuple[int, ...], site_ndims: int = 0
) -> Forced:
    """The given sites of an event, in raster order.

    Args:
      observed: `[*batch, *event_shape]`; without a mask `[*batch, n, *event_shape[1:]]`, the
        first n entries of the first axis (characters, rows of an image).
      mask: booleans `[*batch, *sites]`, true where `observed` is given, or None. The batch axes
        of both broadcast. A site is an entry of the event, or a vector of channels where
        `site_ndims` is 1.

    Raises:
      DataError: shapes that do not fit, more entries than the event has, a mask that is not
        boolean.

    >>> forced_sites(np.ones(2), None, (3,)).mask.tolist()
    [True, True, False]
    """
    num_dims = len(event_shape)
    sites, site = event_shape[: num_dims - site_ndims], event_shape[num_dims - site_ndims :]
    observed = jnp.asarray(observed)
    if mask is None:
        observed, mask = _prefix(observed, event_shape, sites)
    mask = mask if hasattr(mask, "dtype") else np.asarray(mask)
    require_event(observed, event_shape, "observed", error=DataError)
    boolean = mask.dtype == np.bool_
    require(boolean, "mask", "must be boolean", f"dtype {mask.dtype}", "", DataError)
    shape = tuple(mask.shape[max(mask.ndim - len(sites), 0) :])
    rule = f"must end in the shape of the sites, {sites}"
    require(shape == sites, "mask", rule, f"shape {tuple(mask.shape)}", "", DataError)
    batches = observed.shape[: observed.ndim - num_dims], mask.shape[: mask.ndim - len(sites)]
    fit = all(a == b or 1 in (a, b) for a, b in zip(batches[0][::-1], batches[1][::-1]))
    rule = f"must have batch axes that broadcast with those of `observed`, {batches[0]}"
    require(fit, "mask", rule, batches[1], "", DataError)
    batch = jnp.broadcast_shapes(*batches)
    count = math.prod(sites)
    values = jnp.broadcast_to(observed, (*batch, *event_shape)).reshape(*batch, count, *site)
    mask = jnp.broadcast_to(mask, (*batch, *sites)).reshape(*batch, count)
    return Forced(values.astype(jnp.float32), mask)


def _prefix(
    observed: Array, event_shape: tuple[int, ...], sites: tuple[int, ...]
) -> tuple[Array, np.ndarray]:
    """`observed` padded with zeros to the event shape, and the mask of the given sites."""
    num_dims = len(event_shape)
    rule = f"must have at least {num_dims} axes, those of the event {event_shape}"
    require(observed.ndim >= num_dims, "observed", rule, observed.shape, "", DataError)
    require(len(sites) > 0, "mask", "must be given where the event is one site", "none")
    given = observed.shape[observed.ndim - num_dims]
    require(
        given <= event_shape[0]
        and tuple(observed.shape[observed.ndim - num_dims + 1 :]) == event_shape[1:],
        "observed",
        f"must be at most the first {event_shape[0]} entries of an event of shape {event_shape}",
        f"shape {observed.shape}",
        "Shorten it, or give a `mask` of the sites that are known.",
        DataError,
    )
    axis = observed.ndim - num_dims
    # The zeros are never read: the mask is false there.
    widths = [(0, event_shape[0] - given if i == axis else 0) for i in range(observed.ndim)]
    known = np.arange(event_shape[0]) < given
    mask = np.broadcast_to(known.reshape(-1, *[1] * (len(sites) - 1)), sites)
    return jnp.pad(observed, widths), mask
