"""Coarse to fine: a density of a low resolution, and one of the high resolution given it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from dgmjax.models.base import DensityModel
from dgmjax.types import Array, Key


class CoarseToFine(DensityModel):
    """p(x) = p(y) p(x | y) with y = reduce(x), a known function of x.

    As x determines y, log p(x) = log p(y) + log p(x | y) is exact, and both terms are nats: those
    of the low resolution, and those that the high resolution adds. p(x | y) is not told that
    reduce(x) = y; mass that it gives to other x only lowers log p(x).

    Attributes:
      coarse: density model of y.
      fine: density model of x given a context.
      encoder: y -> the context of `fine`.
      reduce: x -> y; hashable, so that equal models compile once.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016
    (Multi-Scale PixelRNN), https://arxiv.org/abs/1601.06759.
    """

    coarse: nn.Module
    fine: nn.Module
    encoder: nn.Module
    reduce: Callable[[Array], Array]

    @property
    def family(self) -> Any:
        """The family of a site of x, where the model of x names it."""
        return getattr(self.fine, "family", None)

    def __call__(self, context: Array | None = None):
        """p(x | y) of a low resolution `context[..., *low]`."""
        return self.fine(None if context is None else self.encoder(context))

    def log_probs(self, x: Array) -> tuple[Array, Array]:
        """(log p(y), log p(x | y)) of y = reduce(x), in nats."""
        y = self.reduce(x)
        return self.coarse.log_prob(y), self.log_prob(x, y)

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x | y) of a low resolution y, or log p(x) where none is given."""
        if context is None:
            coarse, fine = self.log_probs(x)
            return coarse + fine
        return self.fine.log_prob(x, self.encoder(context))

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        **options: Any,
    ) -> Array:
        """Samples of x given y, or of x.

        Args:
          **options: of the densities' `sample`, such as a temperature.
        """
        if context is not None:
            return self.fine.sample(key, sample_shape, self.encoder(context), **options)
        coarse_key, key = jax.random.split(key)
        y = self.coarse.sample(coarse_key, sample_shape, **options)
        return self.fine.sample(key, (), self.encoder(y), **options)
