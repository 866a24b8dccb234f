"""Partitions: the entries of an event that a coupling layer leaves alone, and those it transforms.

A split is a hashable description; `split.partition(event_shape)` makes it concrete.
"""

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import lax

from dgmjax.bijectors.base import StaticArray
from dgmjax.errors import require
from dgmjax.types import Array


class Partition(Protocol):
    """Takes one part of an event, and puts it back. `trailing` dimensions follow the event."""

    @property
    def conditioner_shape(self) -> tuple[int, ...]:
        """Event shape of what the conditioner sees."""

    @property
    def params_shape(self) -> tuple[int, ...]:
        """Event shape of what the conditioner returns, before `num_params`."""

    def kept(self, x: Array) -> Array:
        """`x` to the conditioner's input: the untouched entries."""

    def changed(self, x: Array) -> Array:
        """The entries to transform."""

    def params(self, params: Array) -> Array:
        """The conditioner's output to the parameters of `changed(x)`."""

    def merge(self, x: Array, changed: Array) -> Array:
        """`x` with its transformed entries replaced."""


@dataclasses.dataclass(frozen=True)
class AxisPartition:
    """Every `step`-th of the last axis, or a contiguous run: only static slices and pads."""

    event_shape: tuple[int, ...]
    kept_slice: tuple[int, int, int]
    changed_slice: tuple[int, int, int]

    @property
    def conditioner_shape(self) -> tuple[int, ...]:
        return (*self.event_shape[:-1], len(range(*self.kept_slice)))

    @property
    def params_shape(self) -> tuple[int, ...]:
        return (*self.event_shape[:-1], len(range(*self.changed_slice)))

    def kept(self, x: Array) -> Array:
        return x[..., slice(*self.kept_slice)]

    def changed(self, x: Array) -> Array:
        return x[..., slice(*self.changed_slice)]

    def params(self, params: Array) -> Array:
        return params

    def merge(self, x: Array, changed: Array) -> Array:
        return _place(self.kept(x), self.kept_slice, x.shape[-1]) + _place(
            changed, self.changed_slice, x.shape[-1]
        )


def _place(part: Array, part_slice: tuple[int, int, int], size: int) -> Array:
    """Zeros, with `part` at the slice of the last axis; its gradient is a slice."""
    indices = range(*part_slice)
    edges = (indices[0], size - 1 - indices[-1], part_slice[2] - 1)
    return lax.pad(part, jnp.zeros((), part.dtype), [(0, 0, 0)] * (part.ndim - 1) + [edges])


@dataclasses.dataclass(frozen=True)
class CheckerboardPartition:
    """Pixels of one colour of a chess board, `[H, W, C]` with even W: selects, no gathers."""

    event_shape: tuple[int, ...]
    phase: int

    @property
    def conditioner_shape(self) -> tuple[int, ...]:
        return self.event_shape

    @property
    def params_shape(self) -> tuple[int, ...]:
        return self.event_shape

    def kept(self, x: Array) -> Array:
        return jnp.where(self._mask(), 0, x)

    def changed(self, x: Array) -> Array:
        return self._take(x, axis=x.ndim - 2)

    def params(self, params: Array) -> Array:
        return self._take(params, axis=params.ndim - 3)

    def merge(self, x: Array, changed: Array) -> Array:
        # Both pixels of a pair get the new value, and the mask lets one of them through.
        doubled = jnp.repeat(changed, 2, axis=changed.ndim - 2)
        return jnp.where(self._mask(), doubled, x)

    def _mask(self) -> np.ndarray:
        height, width, _ = self.event_shape
        rows, columns = np.ogrid[:height, :width]
        return ((rows + columns) % 2 == self.phase)[..., None]

    def _take(self, x: Array, axis: int) -> Array:
        """The transformed pixel of each horizontal pair: its place alternates with the row."""
        # The first of a pair has an even column, so it is transformed where row % 2 == phase. In
        # pairs half of the parameters are computed with, and no index is looked up.
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        first, second = jnp.moveaxis(pairs, axis + 1, 0)
        trailing = x.ndim - axis
        odd = np.arange(self.event_shape[0]).reshape((-1,) + (1,) * trailing) % 2
        return jnp.where(odd == self.phase, first, second)


def _indices(mask: np.ndarray) -> np.ndarray:
    return np.flatnonzero(mask).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class MaskPartition:
    """Any boolean mask (True: transformed), by gathers.

    The conditioner sees the untouched entries of a vector, or, for events of higher rank, the
    event with zeros where it is transformed.
    """

    event_shape: tuple[int, ...]
    mask: StaticArray

    @property
    def conditioner_shape(self) -> tuple[int, ...]:
        if len(self.event_shape) == 1:
            return (int((~self.mask.value).sum()),)
        return self.event_shape

    @property
    def params_shape(self) -> tuple[int, ...]:
        if len(self.event_shape) == 1:
            return (int(self.mask.value.sum()),)
        return self.event_shape

    def kept(self, x: Array) -> Array:
        if len(self.event_shape) == 1:
            return x[..., _indices(~self.mask.value)]
        return jnp.where(self.mask.value, 0, x)

    def changed(self, x: Array) -> Array:
        return self._flat(x)[..., _indices(self.mask.value)]

    def params(self, params: Array) -> Array:
        if len(self.event_shape) == 1:
            return params
        batch, last = params.shape[: -len(self.event_shape) - 1], params.shape[-1]
        flat = params.reshape(*batch, self.mask.value.size, last)
        return flat[..., _indices(self.mask.value), :]

    def merge(self, x: Array, changed: Array) -> Array:
        flat = self._flat(x).astype(jnp.result_type(x, changed))
        flat = flat.at[..., _indices(self.mask.value)].set(changed)
        return flat.reshape(x.shape)

    def _flat(self, x: Array) -> Array:
        return x.reshape(*x.shape[: x.ndim - len(self.event_shape)], self.mask.value.size)


@dataclasses.dataclass(frozen=True)
class Split:
    """One of the four usual splits; made by `halves`, `alternating`, `channel`, `checkerboard`."""

    kind: str
    swap: bool = False

    def partition(self, event_shape: tuple[int, ...]) -> Partition:
        """The split of one event shape; raises `DgmjaxError` if a side would be empty."""
        if self.kind == "checkerboard":
            return _checkerboard_partition(event_shape, int(not self.swap))
        if self.kind == "channel":
            require(
                len(event_shape) >= 2,
                "event_shape",
                "must be [..., channels] with at least 2 dimensions for a channel split",
                event_shape,
                "Use `halves` for vectors.",
            )
        size = event_shape[-1] if event_shape else 0
        require(
            size >= 2,
            "event_shape",
            f"must have at least 2 entries in its last dimension for a split by {self.kind}",
            event_shape,
            "One side of the split would be empty.",
        )
        if self.kind == "alternating":
            sides = ((0, size, 2), (1, size, 2))
        else:
            sides = ((0, size // 2, 1), (size // 2, size, 1))
        kept, changed = reversed(sides) if self.swap else sides
        return AxisPartition(tuple(event_shape), kept, changed)


def _checkerboard_partition(event_shape: tuple[int, ...], phase: int) -> Partition:
    require(
        len(event_shape) in (2, 3),
        "event_shape",
        "must be [height, width, channels] or [height, width] for a checkerboard split",
        event_shape,
    )
    height, width = event_shape[:2]
    require(
        height * width >= 2,
        "event_shape",
        "must have at least two pixels for a checkerboard split",
        event_shape,
        "One side of the split would be empty.",
    )
    if len(event_shape) == 3 and width % 2 == 0:
        return CheckerboardPartition(tuple(event_shape), phase)
    mask = np.indices((height, width)).sum(0) % 2 == phase
    mask = mask.reshape(height, width, *[1] * (len(event_shape) - 2))
    return MaskPartition(tuple(event_shape), StaticArray(np.broadcast_to(mask, event_shape)))


def halves(swap: bool = False) -> Split:
    """The second half of the last axis is transformed (the first, if `swap`)."""
    return Split("halves", swap)


def alternating(swap: bool = False) -> Split:
    """Entries 1, 3, 5, ... of the last axis are transformed (0, 2, 4, ..., if `swap`)."""
    return Split("alternating", swap)


def channel(swap: bool = False) -> Split:
    """The second half of an image's channels is transformed (the first, if `swap`)."""
    return Split("channel", swap)


def checkerboard(swap: bool = False) -> Split:
    """Pixels with odd row + column are transformed (with even, if `swap`).

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, section 3.4,
    https://arxiv.org/abs/1605.08803.
    """
    return Split("checkerboard", swap)


def as_partition(split: Any, event_shape: tuple[int, ...]) -> Partition:
    """The partition of a `Split`, of a boolean mask (True: transformed), or of indices.

    Indices are those of the transformed entries, in the row-major flattened event.
    """
    if isinstance(split, Split):
        return split.partition(event_shape)
    values = np.asarray(split)
    size = int(np.prod(event_shape))
    if values.dtype != bool:
        valid = (
            values.ndim == 1 and values.dtype.kind in "iu" and np.unique(values).size == len(values)
        )
        require(
            valid and (values.size == 0 or (values.min() >= 0 and values.max() < size)),
            "split",
            f"must be a split, a boolean mask, or distinct indices within [0, {size})",
            split,
        )
        values = np.isin(np.arange(size), values).reshape(event_shape)
    require(
        values.shape == tuple(event_shape),
        "split",
        f"must have the event shape {tuple(event_shape)}",
        f"a mask of shape {values.shape}",
    )
    require(
        0 < values.sum() < values.size,
        "split",
        "must leave entries on both sides",
        f"{int(values.sum())} of {values.size} entries transformed",
    )
    return MaskPartition(tuple(event_shape), StaticArray(values))
