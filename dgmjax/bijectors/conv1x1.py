"""Invertible 1x1 convolutions: one linear map of the channels, at every position."""

import distrax

from dgmjax.bijectors.base import Bijector, as_float, check_ndims, sum_last
from dgmjax.errors import require
from dgmjax.types import Array


class Invertible1x1Convolution(Bijector):
    """x[h, w, :] = W z[h, w, :], log_det = H W log|det W|.

    Args:
      linear: the map of the channels: `Linear(W)` (plain), `LU(...)` (cheaper log-determinant
        and inverse), `Householder(...)`, `Permutation(...)`: any bijector of vectors.

    Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
    section 3.2, https://arxiv.org/abs/1807.03039.
    """

    def __init__(self, linear: distrax.Bijector) -> None:
        require(
            isinstance(linear, distrax.Bijector)
            and linear.event_ndims_in == linear.event_ndims_out == 1,
            "linear",
            "must be a bijector of vectors (event_ndims 1), such as `Linear` or `LU`",
            type(linear).__name__,
        )
        super().__init__(event_ndims_in=3, is_constant_jacobian=linear.is_constant_jacobian)
        self.linear = linear

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        x = as_float(x)
        check_ndims(self, x, 3)
        y, log_det = self.linear.forward_and_log_det(x)
        return y, sum_last(log_det, 2)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        y = as_float(y)
        check_ndims(self, y, 3)
        x, log_det = self.linear.inverse_and_log_det(y)
        return x, sum_last(log_det, 2)
