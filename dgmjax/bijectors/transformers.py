"""Bijector families: unconstrained parameters `[..., num_params]` to elementwise bijectors.

What a coupling or autoregressive layer does to one entry, given the parameters that its network
predicts for it. Parameters of zero give the identity. Families are hashable and compare by
value, so they are part of a bijector's structure.
"""

import dataclasses
from typing import Protocol

import jax.numpy as jnp

from dgmjax.bijectors.affine import ElementwiseAffine
from dgmjax.bijectors.base import Bijector, as_float
from dgmjax.bijectors.logistic_mixture import ElementwiseLogisticMixture
from dgmjax.bijectors.spline import ElementwiseSpline, Tails, checked_tails, num_spline_params
from dgmjax.errors import require
from dgmjax.types import Array


class Transformer(Protocol):
    """A bijector family."""

    @property
    def num_params(self) -> int:
        """How many numbers describe the bijector of one entry."""

    def __call__(self, params: Array) -> Bijector:
        """`params[..., num_params]` to a bijector of scalars (event_ndims 0), batch `[...]`."""


def _check(params: Array, num_params: int, family: object) -> Array:
    params = as_float(params)
    require(
        params.ndim >= 1 and params.shape[-1] == num_params,
        "params",
        f"must have a last dimension of {num_params} for {family}",
        f"shape {params.shape}",
    )
    return params


@dataclasses.dataclass(frozen=True)
class Shift:
    """x = z + params[..., 0]: additive, volume-preserving.

    Source: Dinh, Krueger & Bengio, "NICE: Non-linear Independent Components Estimation", 2014,
    Eq. 5, https://arxiv.org/abs/1410.8516.
    """

    @property
    def num_params(self) -> int:
        return 1

    def __call__(self, params: Array) -> ElementwiseAffine:
        return ElementwiseAffine(_check(params, 1, self)[..., 0])


@dataclasses.dataclass(frozen=True)
class Affine:
    """x = params[..., 0] + exp(s) z with s = bound tanh(params[..., 1] / bound).

    The log-scale is smoothly bounded so that no parameter over- or underflows a float32; near
    zero it is the parameter itself.

    Args:
      bound: largest absolute log-scale, in nats. The default 5 allows one layer to stretch by
        148 either way.

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, Eq. 4,
    https://arxiv.org/abs/1605.08803.
    """

    bound: float = 5.0

    def __post_init__(self) -> None:
        require(0 < self.bound <= 40, "bound", "must lie in (0, 40]", self.bound)

    @property
    def num_params(self) -> int:
        return 2

    def __call__(self, params: Array) -> ElementwiseAffine:
        params = _check(params, 2, self)
        # tanh and no clip: beyond a clip the gradient would be 0, and a parameter could not come
        # back.
        log_scale = self.bound * jnp.tanh(params[..., 1] / self.bound)
        return ElementwiseAffine(params[..., 0], log_scale)


@dataclasses.dataclass(frozen=True)
class RationalQuadraticSpline:
    """A monotone rational-quadratic spline with `num_bins` bins; see `ElementwiseSpline`.

    Args:
      num_bins: at least 2.
      bound: the spline lives on [-bound, bound].
      tails: "linear" (the identity outside) or "circular" (periodic; for angles, bound = pi), or
        a tuple of one for each entry that is transformed.
      min_bin: least size of a bin, as a share of the average.
    """

    num_bins: int
    bound: float = 3.0
    tails: Tails = "linear"
    min_bin: float = 0.1

    def __post_init__(self) -> None:
        require(self.num_bins >= 2, "num_bins", "must be at least 2", self.num_bins)
        object.__setattr__(self, "tails", checked_tails(self.tails))

    @property
    def num_params(self) -> int:
        return num_spline_params(self.num_bins, self.tails)

    def __call__(self, params: Array) -> ElementwiseSpline:
        params = _check(params, self.num_params, self)
        return ElementwiseSpline(params, self.num_bins, self.bound, self.tails, self.min_bin)


@dataclasses.dataclass(frozen=True)
class MixtureOfLogisticsCDF:
    """z = logit F(x), F a mixture of logistics; see `ElementwiseLogisticMixture`.

    Densities are cheap; sampling solves a scalar equation for each entry.
    """

    num_components: int
    mean_bound: float = 10.0
    scale_bound: float = 1.5

    def __post_init__(self) -> None:
        require(
            self.num_components >= 1, "num_components", "must be at least 1", self.num_components
        )

    @property
    def num_params(self) -> int:
        return 3 * self.num_components

    def __call__(self, params: Array) -> ElementwiseLogisticMixture:
        params = _check(params, self.num_params, self)
        return ElementwiseLogisticMixture(
            params, self.num_components, self.mean_bound, self.scale_bound
        )
