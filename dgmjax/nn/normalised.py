"""Networks of adversarial games: how weights and activations are normalised, and the MLP."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.actnorm import moments
from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.masks import weights_of
from dgmjax.nn.dense import Dense
from dgmjax.nn.equalised import Equalised, pixel_norm
from dgmjax.nn.spectral import Spectral
from dgmjax.types import Activation, Array

Weights = Literal["plain", "spectral", "equalised"]
Normalisation = Literal["none", "batch", "layer", "pixel"]

WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda layer: layer,
    "spectral": Spectral,
    "equalised": Equalised,
}
RUNNING = "batch_stats"
EPSILON = 1e-5
leaky_relu: Activation = partial(nn.leaky_relu, negative_slope=0.2)
"""x above 0 and 0.2 x below, the activation of critics."""


def weighted(layer: nn.Module, weights: Weights) -> nn.Module:
    """The layer with its weights normalised in one of the ways of `Weights`."""
    require(weights in WRAPPERS, "weights", f"must be one of {sorted(WRAPPERS)}", repr(weights))
    return WRAPPERS[weights](layer)


class Normalise(nn.Module):
    """`h[..., C]` normalised over the batch, over the event's channels, or not at all.

    Batch normalisation takes the statistics of the batch where the collection `batch_stats` is
    mutable, as in training, and the running ones elsewhere; rows of padding do not enter. Running
    statistics are those of the parameters of the last steps, not of their moving average.

    Sources: Ioffe & Szegedy, "Batch Normalization", 2015, https://arxiv.org/abs/1502.03167; Ba,
    Kiros & Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450.
    """

    kind: Normalisation = "none"
    momentum: float = 0.9

    @nn.compact
    def __call__(self, h: Array) -> Array:
        kinds = sorted(get_args(Normalisation))
        require(self.kind in kinds, "normalisation", f"must be one of {kinds}", repr(self.kind))
        if self.kind == "batch":
            return self._over_batch(h)
        if self.kind == "layer":
            return nn.LayerNorm()(h)
        return pixel_norm(h) if self.kind == "pixel" else h

    def _over_batch(self, h: Array) -> Array:
        size = h.shape[-1:]
        mean = self.variable(RUNNING, "mean", jnp.zeros, size)
        variance = self.variable(RUNNING, "variance", jnp.ones, size)
        scale = self.param("scale", nn.initializers.ones, size)
        bias = self.param("bias", nn.initializers.zeros, size)
        now, wide = (mean.value, variance.value), as_float(h)
        if self.is_mutable_collection(RUNNING):
            now = moments(wide, weights_of(h))
            if not self.is_initializing():
                rule = "must have at least two vectors for statistics of a batch"
                remedy = "Train on larger batches, or with another `normalisation`."
                require(math.prod(h.shape[:-1]) >= 2, "h", rule, f"shape {h.shape}", remedy)
                # Not part of any derivative: `flax.linen.BatchNorm` would keep tracers of the
                # slope that a gradient penalty takes inside of the loss.
                for running, value in zip((mean, variance), now):
                    kept = self.momentum * running.value
                    running.value = kept + (1.0 - self.momentum) * jax.lax.stop_gradient(value)
        out = (wide - now[0]) * jax.lax.rsqrt(now[1] + EPSILON) * scale + bias
        return out.astype(jnp.result_type(h, 0.0))


class NormalisedMLP(nn.Module):
    """`x[..., *in]` -> `[..., *output]`: dense layers, each normalised before its activation.

    Attributes:
      hidden: units of each hidden layer.
      output: shape of the output event; None for the last hidden layer (features of a critic).
      weights: of all layers.
      normalisation: after hidden layers.
      event_ndims: trailing axes of `x` that make one input.
      bounded: the output ends in a hyperbolic tangent (a generator of images in (-1, 1)).
    """

    hidden: tuple[int, ...]
    output: tuple[int, ...] | None
    activation: Activation = nn.relu
    weights: Weights = "plain"
    normalisation: Normalisation = "none"
    event_ndims: int = 1
    bounded: bool = False

    @property
    def values(self) -> str:
        """The data rule that its output keeps, see `data.checks`."""
        return "signed" if self.bounded else "real"

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require_sizes(hidden=tuple(self.hidden), output=tuple(self.output or ()))
        batch = x.shape[: x.ndim - self.event_ndims]
        h = with_classes(x.reshape(*batch, math.prod(x.shape[len(batch) :])), context)
        for units in self.hidden:
            h = weighted(Dense(units), self.weights)(h)
            h = self.activation(Normalise(self.normalisation)(h))
        if self.output is None:
            return h
        h = weighted(Dense(math.prod(self.output)), self.weights)(h)
        return (jnp.tanh(h) if self.bounded else h).reshape(*batch, *self.output)


def with_classes(z: Array, context: Array | None) -> Array:
    """`[..., D + C]` of `z[..., D]` and, where one is given, `context[..., C]`."""
    if context is None:
        return z
    return jnp.concatenate([z, jnp.broadcast_to(context, (*z.shape[:-1], context.shape[-1]))], -1)


def maxout(h: Array, pieces: int) -> Array:
    """`[..., F]` -> `[..., F / pieces]`: the largest of `pieces` numbers in a row.

    Source: Goodfellow, Warde-Farley, Mirza, Courville & Bengio, "Maxout Networks", 2013, section
    3, https://arxiv.org/abs/1302.4389.

    >>> maxout(jnp.array([1.0, 4.0, 2.0, 3.0]), 2).tolist()
    [4.0, 3.0]
    """
    rule = f"must divide the units, {h.shape[-1]}"
    require(pieces >= 1 and h.shape[-1] % pieces == 0, "pieces", rule, pieces)
    return h.reshape(*h.shape[:-1], -1, pieces).max(-1)


class Critic(nn.Module):
    """v(x) = w . phi(x) + b and, given classes, v(x, y) = v(x) + e_y . phi(x) (projection).

    Attributes:
      features: phi, `x[..., *event]` -> `[..., F]`.
      outputs: of v; 1 for games of values.
      weights: of w and of the embedding e.

    Source: Miyato & Koyama, "cGANs with Projection Discriminator", 2018, Eq. 4,
    https://arxiv.org/abs/1802.05637.
    """

    features: nn.Module
    outputs: int = 1
    weights: Weights = "plain"

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require_sizes(outputs=self.outputs)
        h = self.features(x)
        value = weighted(Dense(self.outputs), self.weights)(h)
        if context is None:
            return value
        embedding = weighted(Dense(h.shape[-1], use_bias=False), self.weights)
        return value + (embedding(context) * h).sum(-1, keepdims=True)
