"""Independent sites of one family: what decoders and site-wise likelihoods return."""

import math

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.base import Distribution, sum_event
from dgmjax.errors import require
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key


class Factorised(Distribution):
    """p(x) = prod_s family(params_s).prob(x_s) over the sites of an event.

    Like `distrax.Independent(family(params), n)`, but the sites are one axis while it computes:
    XLA vectorises along the last axis, and that of an image is its channels. Measured on a CPU,
    500 log-likelihoods of 28x28x1 pixels take 0.5 ms so, and 27 ms over the image's axes.

    Args:
      family: see `dgmjax.distributions.families`.
      params: `[..., *sites, family.num_params]`.
      event_shape: shape of x: the sites, and then the channels of a site where the family's
        `event_ndims` is 1.
    """

    def __init__(self, family, params: Array, event_shape: tuple[int, ...]):
        super().__init__()
        self.family, self._event_shape = family, tuple(event_shape)
        shape = (*self._sites, family.num_params)
        require(
            tuple(params.shape[params.ndim - len(shape) :]) == shape,
            "params",
            f"must end in {shape} for events of shape {self._event_shape}",
            f"shape {tuple(params.shape)}",
        )
        self.params = as_float(params)  # a density is not computed in bfloat16

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.params.shape[: self.params.ndim - 1 - len(self._sites)])

    @property
    def _sites(self) -> tuple[int, ...]:
        return self._event_shape[: len(self._event_shape) - self.family.event_ndims]

    @property
    def _site_shape(self) -> tuple[int, ...]:
        return self._event_shape[len(self._sites) :]

    @property
    def flat(self):
        """The distribution of the sites, batch shape `[..., number of sites]`."""
        # One axis of sites: XLA on CPU vectorises along the last axis, which may be as short as one
        # channel in an image.
        shape = (*self.batch_shape, math.prod(self._sites), self.family.num_params)
        return self.family(self.params.reshape(shape))

    def log_prob(self, value: Array) -> Array:
        return sum_event(self._flat_log_prob(value), 1)

    def site_log_prob(self, value: Array) -> Array:
        """log p of each site, `[..., *sites]`: those of the event, without channels in a site."""
        flat = self._flat_log_prob(value)
        return flat.reshape(*flat.shape[:-1], *self._sites)

    def _flat_log_prob(self, value: Array) -> Array:
        batch = require_event(value, self._event_shape, "value")
        flat = value.reshape(*batch, math.prod(self._sites), *self._site_shape)
        return self.flat.log_prob(flat)

    def _event(self, flat: Array) -> Array:
        batch = flat.shape[: flat.ndim - 1 - self.family.event_ndims]
        return flat.reshape(*batch, *self._event_shape)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self._event(self.flat.sample(seed=key, sample_shape=sample_shape))

    def mean(self) -> Array:
        """The mean of every site, `[..., *event_shape]`."""
        return self._event(self.flat.mean())

    def mode(self) -> Array:
        """The mode of every site, `[..., *event_shape]`."""
        return self._event(self.flat.mode())

    def entropy(self) -> Array:
        """Sum of the sites' entropies, in nats."""
        return sum_event(self.flat.entropy(), 1)


def decoded_shape(family, event_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the parameters of an event, `(*sites, num_params)`: the output of a decoder.

    >>> from dgmjax.distributions.families import Bernoulli, OneHotCategorical
    >>> decoded_shape(Bernoulli(), (4, 4, 1)), decoded_shape(OneHotCategorical(3), (4, 4, 3))
    ((4, 4, 1, 1), (4, 4, 3))
    """
    # A family of whole pixels has one set of parameters for all channels of a pixel.
    sites = event_shape[: len(event_shape) - family.event_ndims]
    return (*sites, family.num_params)


def factorised(family, params: Array, event_ndims: int) -> Factorised:
    """`Factorised` over events of a rank, whose sites are the axes of `params` before its last.

    >>> from dgmjax.distributions.families import Categorical
    >>> import jax.numpy as jnp
    >>> factorised(Categorical(5), jnp.zeros((7, 3, 2, 5)), event_ndims=2).event_shape
    (3, 2)
    """
    sites = params.shape[params.ndim - 1 - event_ndims + family.event_ndims : -1]
    return Factorised(family, params, (*sites, *family.site_shape))
