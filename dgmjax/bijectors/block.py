"""Blocks: an elementwise bijector, or one of small events, over larger events."""

import math

import distrax

from dgmjax.bijectors.base import Bijector, as_float, check_ndims
from dgmjax.errors import require
from dgmjax.types import Array


class Block(Bijector):
    """x = f(z) on each of the last `ndims` batch axes; log_det is summed over them.

    Args:
      bijector: f, of events of any rank.
      ndims: how many axes become part of the event.

    >>> from dgmjax.bijectors import Sigmoid
    >>> Block(Sigmoid(), 1).event_ndims_in
    1
    """

    def __init__(self, bijector: distrax.Bijector, ndims: int) -> None:
        require(
            isinstance(bijector, distrax.Bijector),
            "bijector",
            "must be a bijector",
            type(bijector).__name__,
        )
        require(ndims >= 0, "ndims", "must not be negative", ndims)
        super().__init__(
            event_ndims_in=ndims + bijector.event_ndims_in,
            event_ndims_out=ndims + bijector.event_ndims_out,
            is_constant_jacobian=bijector.is_constant_jacobian,
            is_constant_log_det=bijector.is_constant_log_det,
        )
        self.bijector, self.ndims = bijector, int(ndims)

    def forward(self, x: Array) -> Array:
        check_ndims(self, x, self.event_ndims_in)
        return self.bijector.forward(x)

    def inverse(self, y: Array) -> Array:
        check_ndims(self, y, self.event_ndims_out)
        return self.bijector.inverse(y)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        check_ndims(self, x, self.event_ndims_in)
        y, log_det = self.bijector.forward_and_log_det(x)
        return y, self._summed(log_det)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        check_ndims(self, y, self.event_ndims_out)
        x, log_det = self.bijector.inverse_and_log_det(y)
        return x, self._summed(log_det)

    def _summed(self, log_det: Array) -> Array:
        """The sum over the last `ndims` axes, as one axis."""
        if not self.ndims:
            return as_float(log_det)
        batch, event = log_det.shape[: -self.ndims], log_det.shape[-self.ndims :]
        return as_float(log_det).reshape(*batch, math.prod(event)).sum(-1)
