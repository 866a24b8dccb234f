"""Bijectors as transforms of NumPyro, for its models and its guides."""

import functools
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgmjax.types import Array


def to_numpyro(bijector: distrax.Bijector, codomain: Any = None) -> Any:
    """A `numpyro.distributions.transforms.Transform` that applies a bijector, base to data.

    The transform is a pytree whose leaves are those of the bijector.

    Args:
      bijector: of events of any rank.
      codomain: NumPyro's constraint on the data; reals of the event's rank if None.

    Needs `numpyro` installed. In a model:

        flow = dist.TransformedDistribution(dist.Normal(0, 1).expand([D]).to_event(1),
                                            to_numpyro(bijector))
        numpyro.sample("x", flow, obs=x)
    """
    return _transform_class()(bijector, codomain)


@functools.cache
def _transform_class() -> type:
    """The class of transforms, made on first use: NumPyro is imported only then."""
    from numpyro.distributions import constraints, transforms

    def reals(event_ndims: int) -> Any:
        return constraints.independent(constraints.real, event_ndims)

    class BijectorTransform(transforms.Transform):
        def __init__(self, bijector: distrax.Bijector, codomain: Any = None) -> None:
            self.bijector, self._codomain = bijector, codomain

        @property
        def domain(self) -> Any:
            return reals(self.bijector.event_ndims_in)

        @property
        def codomain(self) -> Any:
            given = self._codomain
            return reals(self.bijector.event_ndims_out) if given is None else given

        def __call__(self, x: Array) -> Array:
            return self.bijector.forward(x)

        def _inverse(self, y: Array) -> Array:
            return self.bijector.inverse(y)

        def call_with_intermediates(self, x: Array) -> tuple[Array, Array]:
            return self.bijector.forward_and_log_det(x)

        def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
            if intermediates is not None:
                return intermediates
            return self.bijector.forward_log_det_jacobian(x)

        def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return _shape(self.bijector.forward, shape)

        def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return _shape(self.bijector.inverse, shape)

        def tree_flatten(self) -> Any:
            return (self.bijector,), (("bijector",), {"_codomain": self._codomain})

        def eq(self, other: object, static: bool = False) -> bool:
            if not isinstance(other, BijectorTransform):
                return False
            return (self.bijector, self._codomain) == (other.bijector, other._codomain)

    return BijectorTransform


def _shape(function: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return jax.eval_shape(function, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
