"""Dropout that is active exactly when a key for its noise is given."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array


def require_rate(argument: str, value: float) -> None:
    """Raises `DgmjaxError` unless `value` is a rate of dropout, in [0, 1)."""
    require(0.0 <= value < 1.0, argument, "must be in [0, 1)", value)


class Dropout(nn.Module):
    """h m / (1 - rate) with m ~ Bernoulli(1 - rate) for each number, in training; else h.

    A learner passes a key named "dropout" in every training step, and evaluation and sampling
    pass none: nothing has to be switched.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, "Dropout: A Simple Way to
    Prevent Neural Networks from Overfitting", 2014, section 4,
    https://jmlr.org/papers/v15/srivastava14a.html.

    >>> x = jnp.ones((2, 3))
    >>> Dropout(0.5).apply({}, x).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    >>> noisy = Dropout(0.5).apply({}, x, rngs={"dropout": jax.random.key(0)})
    >>> sorted(set(noisy.ravel().tolist()))
    [0.0, 2.0]
    """

    rate: float

    def __call__(self, h: Array) -> Array:
        require_rate("rate", self.rate)
        if self.rate == 0.0 or not self.has_rng("dropout"):
            return h
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1.0 - self.rate, h.shape)
        return jnp.where(kept, h / (1.0 - self.rate), 0.0)
