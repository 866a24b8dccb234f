"""A density that is conditioned on a class, and the marginal over uniform classes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.models.base import DensityModel
from dgmjax.types import Array, Key


class ClassConditional(DensityModel):
    """p(x | y) for classes y in 0 .. num_classes - 1, and p(x) = (1/C) sum_y p(x | y).

    Attributes:
      density: a density model whose context is the one-hot class, `context_features=num_classes`.
      num_classes: C.
    """

    density: nn.Module
    num_classes: int

    def context(self, label: Array) -> Array:
        """One-hot classes `[..., C]`."""
        return jax.nn.one_hot(label, self.num_classes)

    def __call__(self, context: Array | None = None):
        """The distribution of x given one-hot classes."""
        remedy = "log_prob and sample average over the classes where none is given."
        require(context is not None, "context", "must be given", "none", remedy)
        return self.density(context)

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x | y) in nats given the one-hot class, else log p(x), C passes."""
        if self.is_initializing():  # every class through the same parameters
            context = self.context(jnp.zeros((), jnp.int32)) if context is None else context
        if context is not None:
            return self.density.log_prob(x, context)
        return jax.nn.logsumexp(self.log_joint(x), axis=-1)

    def log_joint(self, x: Array) -> Array:
        """log p(x, y) of every class, `[..., C]`: the classifier p(y | x) is its softmax."""
        one = lambda label: self.density.log_prob(x, self.context(label))
        each = jax.lax.map(one, jnp.arange(self.num_classes))
        return jnp.moveaxis(each, 0, -1) - jnp.log(self.num_classes)

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        **options: Any,
    ) -> Array:
        """Samples given one-hot classes, else of classes drawn uniformly.

        Args:
          **options: of the density's `sample`, such as the temperature of an autoregressive model.
        """
        if context is not None:
            return self.density.sample(key, sample_shape, context, **options)
        label_key, key = jax.random.split(key)
        label = jax.random.randint(label_key, sample_shape, 0, self.num_classes)
        return self.density.sample(key, (), self.context(label), **options)
