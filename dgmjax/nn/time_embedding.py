"""Embeddings of time and class, which networks over noisy data read in every block."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.dense import Dense
from dgmjax.nn.dropout import require_rate
from dgmjax.types import Array

NO_CLASS = -1
"""The label of an example of which no class is told."""


def fourier_features(t: Array, num: int, fastest: float = 1000.0) -> Array:
    """[cos(w_i t), sin(w_i t)] for w_i from 1 to `fastest` in equal ratios: `[..., num]`.

    Args:
      t: times `[...]`; of the order of 1.
      num: of features, even.
      fastest: the highest frequency, in radians per unit of time.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.5,
    https://arxiv.org/abs/1706.03762.

    >>> fourier_features(jnp.zeros(3), 4).tolist()[0]
    [1.0, 1.0, 0.0, 0.0]
    """
    require(num >= 2 and num % 2 == 0, "num", "must be an even number of at least 2", num)
    angles = as_float(t)[..., None] * fastest ** jnp.linspace(0.0, 1.0, num // 2)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


class TimeEmbedding(nn.Module):
    """V silu(W f(t) + b) + E_y: Fourier features f of the time, and a vector of the class y.

    For classifier-free guidance a share of the labels is replaced by "no class" in training (when
    a key "dropout" is given, see `nn.Dropout`), so that one network learns p(x | y) and p(x).

    Attributes:
      width: of the result `[..., width]`, even.
      num_classes: classes 0 .. num_classes - 1, and -1 for none; 0 where classes are not read.
      label_dropout: share of the labels that training hides.

    Source: Ho & Salimans, "Classifier-Free Diffusion Guidance", 2022, section 3.2,
    https://arxiv.org/abs/2207.12598.
    """

    width: int
    num_classes: int = 0
    label_dropout: float = 0.1

    @nn.compact
    def __call__(self, t: Array, label: Array | None = None) -> Array:
        require_sizes(width=self.width)
        require_rate("label_dropout", self.label_dropout)
        h = Dense(self.width)(fourier_features(t, self.width))
        h = Dense(self.width)(nn.silu(h))
        if not self.num_classes:
            remedy = "Give the network `num_classes`."
            require(label is None, "context", "must be None without classes", "labels", remedy)
            return h
        # The last row is that of "no class": -1 counts from the end. The vectors are as large as
        # those of the time, as in Dhariwal & Nichol 2021: at a fiftieth of that size a network has
        # not begun to tell classes apart after a thousand steps.
        init = nn.initializers.normal(1.0)
        table = self.param("classes", init, (self.num_classes + 1, self.width))
        if label is None:
            return h + table[NO_CLASS]
        return h + table[self._hidden(checked_labels(label, self.num_classes))]

    def _hidden(self, label: Array) -> Array:
        if not self.label_dropout or not self.has_rng("dropout"):
            return label
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1.0 - self.label_dropout, label.shape)
        return jnp.where(kept, label, NO_CLASS)


def checked_labels(label: Array, num_classes: int) -> Array:
    """Labels as int32.

    Raises:
      DgmjaxError: they are not whole numbers in -1 .. num_classes - 1, where they are known (not
        under `jit`).
    """
    if not isinstance(label, jax.core.Tracer):
        given = np.asarray(label)
        wrong = given[~((given >= NO_CLASS) & (given < num_classes) & (given == given // 1))]
        rule = f"must hold whole numbers in -1 .. {num_classes - 1}"
        require(wrong.size == 0, "context", rule, wrong.ravel()[:3].tolist())
    return jnp.asarray(label).astype(jnp.int32)


def one_batch(x: Array, t: Array | None, label: Array | None, event_ndims: int) -> tuple:
    """x, t and labels with one batch axis, and the batch shape of x, to which all broadcast.

    Raises:
      DgmjaxError: x has fewer axes than an event, or a time or label for something else.
    """
    fits = x.ndim >= event_ndims
    rule = f"must have {event_ndims} axes of an event after those of the batch"
    require(fits, "x", rule, f"shape {x.shape}")
    batch, event = x.shape[: x.ndim - event_ndims], x.shape[x.ndim - event_ndims :]

    def flat(name: str, value: Array | None) -> Array | None:
        if value is None:
            return None
        shape = jnp.shape(value)
        like = len(shape) <= len(batch) and all(
            n in (1, m) for n, m in zip(shape[::-1], batch[::-1])
        )
        require(like, name, f"must broadcast to the batch of x, {batch}", f"shape {shape}")
        return jnp.broadcast_to(value, batch).reshape(-1)

    num = math.prod(batch)
    return x.reshape(num, *event), flat("t", t), flat("context", label), batch
