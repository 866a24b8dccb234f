"""Critics that look at several events together."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.masks import counting, weights_of
from dgmjax.types import Array


class Packed(nn.Module):
    """v(x_1, ..., x_m): a critic of m events of one kind, `x[B, *event]` -> `[B, F]`.

    Rows of the batch are packed in their order, m after m, and joined along the last axis of the
    event (channels of images); each gets the value of its pack. Data that lack a mode differ in
    packs more than they do one by one, so that a generator loses more by leaving modes out.

    A gradient penalty looks at each event by itself and has no meaning here: a row's slope is m
    times that of its pack. Rows of padding (a mask) must fill whole packs.

    Attributes:
      critic: `x[N, *event[:-1], m C]` -> `[N, F]`.
      size: m, which must divide the batch.
      event_ndims: axes of an event, 3 for images.

    Source: Lin, Khetan, Fanti & Oh, "PacGAN: The Power of Two Samples in Generative Adversarial
    Networks", 2018, section 2, https://arxiv.org/abs/1712.04086.

    >>> pairs = Packed(lambda x: x.sum(-1, keepdims=True), 2, event_ndims=1)
    >>> pairs.apply({}, jnp.array([[1.0], [2.0], [3.0], [4.0]])).tolist()
    [[3.0], [3.0], [7.0], [7.0]]
    """

    critic: nn.Module
    size: int
    event_ndims: int = 3
    of_packs: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(size=self.size, event_ndims=self.event_ndims)
        rule = f"must be a batch [B, *event] of events with {self.event_ndims} axes"
        require(x.ndim == self.event_ndims + 1, "x", rule, f"shape {x.shape}")
        remedy = "Choose a batch of whole packs."
        require(
            len(x) % self.size == 0,
            "x",
            f"must have a multiple of {self.size} rows",
            len(x),
            remedy,
        )
        together = jnp.moveaxis(x.reshape(-1, self.size, *x.shape[1:]), 1, -2)
        joined = together.reshape(*together.shape[:-2], self.size * x.shape[-1])
        mask = weights_of(x)
        with counting(None if mask is None else mask.reshape(-1, self.size).min(1)):
            values = self.critic(joined)
        return jnp.repeat(values, self.size, axis=0)
