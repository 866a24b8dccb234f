"""Batch normalisation as a layer of a flow, with given statistics."""

import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.actnorm import ActNorm
from dgmjax.bijectors.base import Bijector, as_float, is_concrete
from dgmjax.bijectors.composition import compose
from dgmjax.errors import require
from dgmjax.types import Array


class BatchNorm(Bijector):
    """x = (z - beta) exp(-gamma) sqrt(variance + epsilon) + mean, for each channel.

    inverse: z = (x - mean) / sqrt(variance + epsilon) exp(gamma) + beta,
             log_det = (number of positions) * sum_c (gamma_c - log(variance_c + epsilon) / 2)

    Pure: the statistics are arguments, those of the batch while training and running averages
    afterwards. The log-determinant is that of the map with these statistics held fixed.

    Args:
      mean, variance: `[C]`, of the data side.
      beta, gamma: `[C]`, learned; zero by default.
      epsilon: added to the variance.
      event_ndims: 1 for vectors `[C]`, 3 for images `[H, W, C]`.

    Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, appendix B, https://arxiv.org/abs/1705.07057.
    """

    def __init__(
        self,
        mean: Array,
        variance: Array,
        beta: Array | None = None,
        gamma: Array | None = None,
        epsilon: float = 1e-5,
        event_ndims: int = 1,
    ) -> None:
        mean, variance = as_float(mean), as_float(variance)
        require(epsilon > 0, "epsilon", "must be positive", epsilon)
        if is_concrete(variance):
            require(
                bool((np.asarray(variance) >= 0).all()),
                "variance",
                "must not be negative",
                variance,
            )
        zeros = jnp.zeros_like(mean)
        beta = zeros if beta is None else as_float(beta)
        gamma = zeros if gamma is None else as_float(gamma)
        super().__init__(event_ndims_in=event_ndims, is_constant_jacobian=True)
        # (z - beta) exp(-gamma), then times the standard deviation plus the mean: two shifts and
        # scales, whose log-determinants are those of `ActNorm`.
        self.bijector = compose(
            ActNorm(-beta * jnp.exp(-gamma), -gamma, event_ndims),
            ActNorm(mean, 0.5 * jnp.log(variance + epsilon), event_ndims),
        )

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self.bijector.forward_and_log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self.bijector.inverse_and_log_det(y)
