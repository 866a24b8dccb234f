"""Image translation: pix2pix of paired images, CycleGAN of unpaired ones, as games of pairs."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import DataError, require
from dgmjax.types import Array, Batch, Key

Pair = tuple[Array, Array]
SOURCES = "sources"
"""The collection of the images of the first batch, which samples translate."""


class Pix2Pix(nn.Module):
    """x = generator(context), and a critic of pairs (context, x) of images.

    The objective is a game of pairs and `objectives.absolute_error(..., of="translations")`, the
    L1 term; that term alone is the regression of x. Noise of the generator, if it is to have any,
    is dropout.

    Attributes:
      generator: images to images: `nn.Translator`.
      critic: of the two images, their channels joined, to values `[..., P]` of patches; P may
        be 1.

    Source: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
    Networks", 2017, Eq. 4, https://arxiv.org/abs/1611.07004.
    """

    generator: nn.Module
    critic: nn.Module
    preserve_adopted_names: ClassVar[bool] = True

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return dict.fromkeys(("x", "context"), getattr(self.generator, "values", "real"))

    def translate(self, context: Array) -> Array:
        """x of images `context[..., H, W, C]`."""
        return as_float(self.generator(context))

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Translations of `context`; where none is given, of images of the first batch."""
        return self.translate(_to_translate(self, key, sample_shape, context))

    def pairs(self, batch: Batch, key: Key) -> tuple[Pair, Pair]:
        """(context, x) of the batch, and (context, generator(context))."""
        context = _context(self, batch)
        return (context, batch["x"]), (context, self.translate(context))

    def translations(self, batch: Batch, key: Key) -> tuple[Array, Array]:
        """Translations of the batch, and what they should be."""
        return self.translate(_context(self, batch)), batch["x"]

    def logit(self, pair: Pair) -> Array:
        """The critic's values `[..., P]` of a pair."""
        return as_float(self.critic(jnp.concatenate(pair, -1)))


class CycleGAN(nn.Module):
    """Two generators that translate `context` to the kind of `x` and back, and a critic of each.

    Rows of a batch are not paired: `context` and `x` are any images of both kinds. Both games are
    one of pairs, whose values are those of both critics; cycles and identities are terms of
    `objectives.absolute_error` with `of` "cycles" and "identities".

    Attributes:
      generator: images of the kind of `context` to the kind of `x`: `nn.Translator`.
      inverse: the other way.
      critic: images of the kind of `x` to values `[..., P]` of patches.
      inverse_critic: of the kind of `context`.

    Source: Zhu, Park, Isola & Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", 2017, section 3, https://arxiv.org/abs/1703.10593.
    """

    generator: nn.Module
    inverse: nn.Module
    critic: nn.Module
    inverse_critic: nn.Module
    preserve_adopted_names: ClassVar[bool] = True

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return {
            "x": getattr(self.generator, "values", "real"),
            "context": getattr(self.inverse, "values", "real"),
        }

    def translate(self, context: Array) -> Array:
        """Images of the kind of `x`."""
        return as_float(self.generator(context))

    def translate_back(self, x: Array) -> Array:
        """Images of the kind of `context`."""
        return as_float(self.inverse(x))

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Translations of `context`; where none is given, of images of the first batch."""
        return self.translate(_to_translate(self, key, sample_shape, context))

    def pairs(self, batch: Batch, key: Key) -> tuple[Pair, Pair]:
        """(context, x) of the batch, and both translated to the other kind."""
        context, x = _context(self, batch), batch["x"]
        return (context, x), (self.translate_back(x), self.translate(context))

    def cycles(self, batch: Batch, key: Key) -> tuple[Pair, Pair]:
        """Both images there and back again, and the images."""
        context, x = _context(self, batch), batch["x"]
        there, back = self.translate(context), self.translate_back(x)
        return (self.translate_back(there), self.translate(back)), (context, x)

    def identities(self, batch: Batch, key: Key) -> tuple[Pair, Pair]:
        """What the generators make of images that are of the wanted kind, and these images."""
        context, x = _context(self, batch), batch["x"]
        return (self.translate_back(context), self.translate(x)), (context, x)

    def logit(self, pair: Pair) -> Array:
        """Values `[..., P]` of both critics, each of its image."""
        context, x = pair
        values = self.inverse_critic(context), self.critic(x)
        return as_float(jnp.concatenate(values, -1))


def _context(model: nn.Module, batch: Batch) -> Array:
    """The images to translate; those of the batch from which parameters are made are kept."""
    rule = "must hold `context`, the images to translate"
    require("context" in batch, "batch", rule, sorted(batch), "", DataError)
    if model.is_initializing():
        model.put_variable(SOURCES, "context", batch["context"])
    return batch["context"]


def _to_translate(
    model: nn.Module, key: Key, shape: tuple[int, ...], context: Array | None
) -> Array:
    """The context of every sample; rows of the first batch, with replacement, where it is None."""
    if context is not None:
        return jnp.broadcast_to(context, (*shape, *context.shape))
    sources: Any = model.get_variable(SOURCES, "context")
    remedy = "Give the images to translate."
    require(sources is not None, "context", "must be given before training", "none", remedy)
    return sources[jax.random.randint(key, shape, 0, len(sources))]
