"""Maps from the line to (0, 1) and to the positive numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import Bijector, as_float, require_inside
from dgmjax.errors import require
from dgmjax.types import Array


class Sigmoid(Bijector):
    """x = (sigmoid(z) - margin) / (1 - 2 margin): the line to (0, 1), or a little beyond.

    forward: log_det = -softplus(z) - softplus(-z) - log(1 - 2 margin)
    inverse: z = logit(margin + (1 - 2 margin) x)

    With a margin, data that touch 0 and 1 have a finite logit: with margin 1e-6 (MNIST) or 0.05
    (CIFAR-10) this is the last layer of a flow on pixels in [0, 1].

    A float32 cannot tell a number very near 1 from 1: inverses of points that round to an end of
    the domain are those of the nearest number inside it, and finite. Finite points outside of the
    domain raise `DataError` when they are concrete, and give NaN under a transformation.

    Sources: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, appendix D.2 (logit space), https://arxiv.org/abs/1705.07057; Dinh, Sohl-Dickstein &
    Bengio, "Density Estimation using Real NVP", 2016, section 4.1,
    https://arxiv.org/abs/1605.08803.
    """

    def __init__(self, margin: float = 0.0) -> None:
        require(0 <= margin < 0.5, "margin", "must lie in [0, 0.5)", margin)
        super().__init__(event_ndims_in=0)
        self.margin = float(margin)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        y = (jax.nn.sigmoid(z) - self.margin) / (1 - 2 * self.margin)
        return y, self._log_det(z)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        probability = self.margin + (1 - 2 * self.margin) * x
        # 1 - probability, from 1 - x: the difference itself would have lost its digits near 1.
        rest = self.margin + (1 - 2 * self.margin) * (1 - x)
        # Data that touch the border may lie beyond it by rounding.
        edge = 4 * np.finfo(np.float32).eps
        inside = (probability >= -edge) & (rest >= -edge)
        require_inside(
            "x", x, inside, f"[0, 1] (with margin {self.margin})", "Scale the data first."
        )
        info = jnp.finfo(x.dtype)
        z = jnp.log(_at_least(probability, info.tiny)) - jnp.log(_at_least(rest, info.eps / 2))
        z = jnp.where(inside, z, jnp.nan)
        return z, -self._log_det(z)

    def _log_det(self, z: Array) -> Array:
        return -jax.nn.softplus(z) - jax.nn.softplus(-z) - np.log1p(-2 * self.margin)


class Softplus(Bijector):
    """x = log(1 + e^z): the line to the positive numbers.

    forward: log_det = -softplus(-z)
    inverse: z = x + log(1 - e^-x), log_det = softplus(-z)

    A z below about -87 gives the number 0 in float32, whose inverse is that of the smallest
    positive number. Negative points raise `DataError` when concrete, and give NaN otherwise.
    """

    def __init__(self) -> None:
        super().__init__(event_ndims_in=0)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        return jax.nn.softplus(z), -jax.nn.softplus(-z)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        inside = x >= 0
        require_inside("x", x, inside, "(0, infinity)")
        safe = _at_least(x, jnp.finfo(x.dtype).tiny)
        z = jnp.where(inside, safe + jnp.log(-jnp.expm1(-safe)), jnp.nan)
        return z, jax.nn.softplus(-z)


def _at_least(x: Array, smallest: Any) -> Array:
    return jnp.where(x >= smallest, x, smallest)
