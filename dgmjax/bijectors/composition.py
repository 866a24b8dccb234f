"""Bijectors one after the other, in the order in which they are written."""

from typing import Any

import distrax
import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_ndims, sum_last
from dgmjax.bijectors.rematerialisation import rematerialised
from dgmjax.errors import require
from dgmjax.types import Array


class Composition(Bijector):
    """x = (f_L o ... o f_1)(z), log_det = sum_l log|det J f_l|. Made by `compose`.

    Members may see events of different rank (an elementwise affine after a masked
    autoregressive layer, say): the event is the largest that any member needs, and the
    log-determinants of the others are summed over the dimensions that are left.
    """

    def __init__(self, *bijectors: Any) -> None:
        require(len(bijectors) > 0, "bijectors", "must hold at least one bijector", "none")
        for position, bijector in enumerate(bijectors):
            require(
                isinstance(bijector, distrax.Bijector),
                f"bijectors[{position}]",
                "must be a distrax.Bijector",
                type(bijector).__name__,
            )
        rank, needed = 0, 0
        for bijector in bijectors:
            # `rank` is what the members before this one have added to the rank of an event: it must
            # start high enough that each finds the rank it needs.
            needed = max(needed, bijector.event_ndims_in - rank)
            rank += bijector.event_ndims_out - bijector.event_ndims_in
        super().__init__(
            event_ndims_in=needed,
            event_ndims_out=needed + rank,
            is_constant_jacobian=all(b.is_constant_jacobian for b in bijectors),
            is_constant_log_det=all(b.is_constant_log_det for b in bijectors),
        )
        self.bijectors = tuple(bijectors)

    def forward(self, x: Array) -> Array:
        x = as_float(x)
        check_ndims(self, x, self.event_ndims_in)
        for bijector in self.bijectors:
            x = bijector.forward(x)
        return x

    def inverse(self, y: Array) -> Array:
        y = as_float(y)
        check_ndims(self, y, self.event_ndims_out)
        for bijector in reversed(self.bijectors):
            y = bijector.inverse(y)
        return y

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        x = as_float(x)
        check_ndims(self, x, self.event_ndims_in)
        rank, total = self.event_ndims_in, jnp.zeros((), x.dtype)
        for bijector in self.bijectors:
            batch = x.shape[: x.ndim - bijector.event_ndims_in]
            x, log_det = rematerialised(_forward)(bijector, x)
            total = total + _reduce(log_det, batch, rank - bijector.event_ndims_in)
            rank += bijector.event_ndims_out - bijector.event_ndims_in
        return x, total

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        y = as_float(y)
        check_ndims(self, y, self.event_ndims_out)
        rank, total = self.event_ndims_out, jnp.zeros((), y.dtype)
        for bijector in reversed(self.bijectors):
            batch = y.shape[: y.ndim - bijector.event_ndims_out]
            y, log_det = rematerialised(_inverse)(bijector, y)
            total = total + _reduce(log_det, batch, rank - bijector.event_ndims_out)
            rank += bijector.event_ndims_in - bijector.event_ndims_out
        return y, total


def _forward(bijector: distrax.Bijector, x: Array) -> tuple[Array, Array]:
    return bijector.forward_and_log_det(x)


def _inverse(bijector: distrax.Bijector, y: Array) -> tuple[Array, Array]:
    return bijector.inverse_and_log_det(y)


def _reduce(log_det: Array, batch: tuple[int, ...], ndims: int) -> Array:
    """Sums over `ndims` dimensions; a constant log-determinant is spread over them first."""
    shape = jnp.broadcast_shapes(jnp.shape(log_det), batch)
    return sum_last(jnp.broadcast_to(log_det, shape), ndims)


def compose(*bijectors: distrax.Bijector) -> Composition:
    """`compose(first, ..., last).forward` applies `first` first (unlike `distrax.Chain`).

    >>> import distrax
    >>> add_then_double = compose(distrax.ScalarAffine(1.0), distrax.ScalarAffine(0.0, 2.0))
    >>> float(add_then_double.forward(3.0))
    8.0
    """
    return Composition(*bijectors)
