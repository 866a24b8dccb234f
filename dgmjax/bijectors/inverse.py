"""Inverses of bijectors."""

import distrax

from dgmjax.bijectors.base import Bijector
from dgmjax.errors import require
from dgmjax.types import Array


class Inverse(Bijector):
    """x = f^-1(z). `Inverse(MaskedAutoregressive(...))` is an inverse autoregressive flow.

    Source: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
    Eq. 9 and 10, for that use, https://arxiv.org/abs/1606.04934.
    """

    def __init__(self, bijector: distrax.Bijector) -> None:
        require(
            isinstance(bijector, distrax.Bijector),
            "bijector",
            "must be a distrax.Bijector",
            type(bijector).__name__,
        )
        super().__init__(
            event_ndims_in=bijector.event_ndims_out,
            event_ndims_out=bijector.event_ndims_in,
            is_constant_jacobian=bijector.is_constant_jacobian,
            is_constant_log_det=bijector.is_constant_log_det,
        )
        self.bijector = bijector

    def forward(self, x: Array) -> Array:
        return self.bijector.inverse(x)

    def inverse(self, y: Array) -> Array:
        return self.bijector.forward(y)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self.bijector.inverse_and_log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self.bijector.forward_and_log_det(y)
