"""Layers of progressive GANs: equalised learning rate, pixel norm, minibatch standard deviation.

Source: Karras, Aila, Laine & Lehtinen, "Progressive Growing of GANs", 2018, sections 3 and 4,
https://arxiv.org/abs/1710.10196.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.masks import weighted_mean, weights_of
from dgmjax.types import Array, PyTree


class Equalised(nn.Module):
    """A layer whose kernels are stored times sqrt(inputs), and divided by it whenever it runs.

    The layer starts as it would without. Stored kernels have entries of one size in all layers, so
    that steps of an optimiser that normalises gradients move all layers by the same share.

    Attributes:
      layer: `Dense`, `Conv`, or any module with kernels `[..., inputs, outputs]`.
    """

    layer: nn.Module

    @nn.compact
    def __call__(self, x: Array) -> Array:
        # A layer that is called again while parameters are made (a critic on data and on samples)
        # has them already; scaled once more, they would grow with every call.
        makes = self.is_initializing() and not self.variables.get("params")
        run = nn.map_variables(
            lambda layer: layer(x),
            trans_in_fn=partial(_scaled, -0.5),
            trans_out_fn=partial(_scaled, 0.5),
            init=makes,
            mutable=makes,
        )
        return run(self.layer)


def _scaled(power: float, variables: PyTree) -> PyTree:
    """Kernels times inputs^power, with the taps of a convolution among its inputs."""
    inputs = lambda kernel: math.prod(kernel.shape[:-1])
    return jax.tree.map(lambda a: a * inputs(a) ** power if a.ndim > 1 else a, variables)


def pixel_norm(x: Array, epsilon: float = 1e-8) -> Array:
    """x over the root mean square of its last axis.

    >>> pixel_norm(jnp.array([3.0, -3.0])).round(4).tolist()
    [1.0, -1.0]
    """
    wide = as_float(x)  # squares of half precision overflow, and lose epsilon
    square = jnp.square(wide).mean(-1, keepdims=True)
    return (wide / jnp.sqrt(square + epsilon)).astype(jnp.result_type(x, 0.0))


def minibatch_deviation(x: Array, epsilon: float = 1e-8) -> Array:
    """`x[B, ..., C]` -> `[B, ..., C + 1]`: the mean over features of their deviation in the batch.

    A critic that reads it sees when samples are all alike. Its values then depend on the batch,
    without rows of padding.

    >>> minibatch_deviation(jnp.array([[1.0], [3.0]])).round(4).tolist()
    [[1.0, 1.0], [3.0, 1.0]]
    """
    weights = weights_of(x)
    centred = x - weighted_mean(x, weights, 0)
    deviation = jnp.sqrt(weighted_mean(jnp.square(centred), weights, 0) + epsilon).mean()
    return jnp.concatenate([x, jnp.broadcast_to(deviation, (*x.shape[:-1], 1))], -1)
