"""Perceptron over vectors at a time: the denoising network of the plane and of latent codes."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.mlp import MLP
from dgmjax.nn.time_embedding import checked_labels, fourier_features, one_batch
from dgmjax.types import Activation, Array


class TimeMLP(nn.Module):
    """`x[..., D]`, `t[...]` -> `[..., D]`: an MLP of x, Fourier features of t, and the class.

    The features are slow enough for the output to be smooth in time, so that ODEs along it need few
    steps.

    Attributes:
      hidden: units of each hidden layer.
      activation: smooth, since densities need its second derivatives.
      frequencies: of the features of time, from 1 to `fastest` radians per unit.
      fastest: of the frequencies.
      num_classes: the context is then the class, -1 for none; 0 where classes are not read.
      label_dropout: share of the labels that training hides, see `nn.TimeEmbedding`.
      zero_output: start with an output of zero.

    >>> network = TimeMLP((8,))
    >>> variables = network.init(jax.random.key(0), jnp.zeros((3, 2)), jnp.zeros(3))
    >>> network.apply(variables, jnp.zeros((5, 3, 2)), 0.5).shape
    (5, 3, 2)
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    activation: Activation = nn.silu
    frequencies: int = 4
    fastest: float = 12.0
    num_classes: int = 0
    label_dropout: float = 0.1
    zero_output: bool = False

    @nn.compact
    def __call__(self, x: Array, t: Array, context: Array | None = None) -> Array:
        require_sizes(frequencies=self.frequencies)
        x = as_float(x)
        x, t, label, batch = one_batch(x, t, context, 1)
        read = [x, fourier_features(t, 2 * self.frequencies, self.fastest).astype(x.dtype)]
        if self.num_classes:
            label = jnp.full(len(x), -1) if label is None else label
            label = checked_labels(label, self.num_classes)
            if self.label_dropout and self.has_rng("dropout"):
                hidden = jax.random.bernoulli(
                    self.make_rng("dropout"), self.label_dropout, label.shape
                )
                label = jnp.where(hidden, -1, label)
            read.append(jax.nn.one_hot(label, self.num_classes, dtype=x.dtype))  # -1: all zeros
        else:
            remedy = "Give the network `num_classes`."
            require(label is None, "context", "must be None without classes", "labels", remedy)
        mlp = MLP(self.hidden, x.shape[-1:], self.activation, zero_output=self.zero_output)
        out = mlp(jnp.concatenate(read, -1))
        return out.reshape(*batch, out.shape[-1])
