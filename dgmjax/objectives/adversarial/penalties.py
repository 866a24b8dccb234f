"""Gradient penalties of critics, composed with any game: where the slope is taken, and its target.

Clipping of weights is no term of a loss: see `training.keep_within`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require
from dgmjax.types import Array, Key, PyTree

Points = Callable[[PyTree, PyTree, Key], PyTree]


@dataclass(frozen=True)
class Penalty:
    """weight (|grad_x critic(x)| - target)^2 at some points x, one for each example.

    Attributes:
      weight: at least 0.
      points: `(data, samples, key) -> x`, events of one shape; a pair of x and its code is one
        event, whose slope has both parts.
      target: the norm that is asked for.
    """

    weight: float
    points: Points
    target: float = 0.0

    def __post_init__(self):
        require(self.weight >= 0, "weight", "must be at least 0", self.weight)

    def __call__(
        self, value: Callable[[PyTree], Array], data: PyTree, samples: PyTree, key: Key
    ) -> Array:
        """`[B]`, for a critic `value(x) -> [B]`.

        If its examples see each other (batch normalisation, minibatch standard deviation), the
        slope is that of the sum of all values.
        """
        data, samples = jax.tree.map(as_float, (data, samples))
        x = self.points(data, samples, key)
        slope = jax.grad(lambda x: value(x).sum())(x)
        squares = [
            jnp.square(leaf).reshape(len(leaf), -1).sum(-1) for leaf in jax.tree.leaves(slope)
        ]
        squared = sum(squares[1:], squares[0])
        if self.target == 0.0:
            return self.weight * squared
        return self.weight * jnp.square(_root(squared) - self.target)


def _root(x: Array) -> Array:
    """sqrt(x) with derivative 0 at 0, where a critic is flat."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def r1(weight: float) -> Penalty:
    """weight / 2 |grad critic|^2 on data: the game converges locally.

    Source: Mescheder, Geiger & Nowozin, "Which Training Methods for GANs do actually Converge?",
    2018, Eq. 9, https://arxiv.org/abs/1801.04406.
    """
    return Penalty(0.5 * weight, lambda data, samples, key: data)


def r2(weight: float) -> Penalty:
    """weight / 2 |grad critic|^2 on samples. Source: as of `r1`, Eq. 10."""
    return Penalty(0.5 * weight, lambda data, samples, key: samples)


def on_lines(weight: float = 10.0, target: float = 1.0) -> Penalty:
    """weight (|grad critic| - 1)^2 at points drawn uniformly between a data point and a sample.

    Source: Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, "Improved Training of Wasserstein
    GANs", 2017, Eq. 3, https://arxiv.org/abs/1704.00028.
    """
    return Penalty(weight, _between, target)


def dragan(weight: float = 10.0, deviation: float = 0.5) -> Penalty:
    """weight (|grad critic| - 1)^2 around data.

    Args:
      deviation: of the normal noise, in standard deviations of all numbers of the batch.

    Source: Kodali, Abernethy, Hays & Kira, "On Convergence and Stability of GANs", 2017, Eq. 4,
    https://arxiv.org/abs/1705.07215. The authors' program draws uniform noise.
    """
    require(deviation > 0, "deviation", "must be positive", deviation)

    def around(data: PyTree, samples: PyTree, key: Key) -> PyTree:
        leaves, structure = jax.tree.flatten(data)
        keys = [key] if len(leaves) == 1 else list(jax.random.split(key, len(leaves)))
        moved = [
            leaf + deviation * leaf.std() * jax.random.normal(key, leaf.shape, leaf.dtype)
            for leaf, key in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, moved)

    return Penalty(weight, around, 1.0)


def _between(data: PyTree, samples: PyTree, key: Key) -> PyTree:
    def between(data: Array, samples: Array) -> Array:
        # The same share for all parts of an event.
        share = jax.random.uniform(key, (len(data),) + (1,) * (data.ndim - 1), data.dtype)
        return share * data + (1.0 - share) * samples

    return jax.tree.map(between, data, samples)
