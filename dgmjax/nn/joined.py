"""Multi-layer perceptron of several inputs."""

from collections.abc import Sequence

import flax.linen as nn

from dgmjax.errors import require, require_sizes
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array


class JoinedMLP(nn.Module):
    """A perceptron that reads several vectors: `(x_1[..., F_1], x_2[..., F_2], ...)`.

    It computes what `MLP` would of the concatenation, but the first layer is a sum, W_1 x_1 + W_2
    x_2 + ... + b, of which each term has the batch shape of its own input. Where one input is
    shared by all classes and another by all examples, no product is made twice.

    Attributes:
      hidden: units of each hidden layer, at least one.
      output: shape of the output event.
      activation: applied after every hidden layer.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> network = JoinedMLP((8,), (2,))
    >>> x, y = jnp.ones((5, 3)), jnp.eye(4)[:, None]
    >>> variables = network.init(jax.random.key(0), x, y)
    >>> network.apply(variables, x, y).shape
    (4, 5, 2)
    """

    hidden: tuple[int, ...]
    output: tuple[int, ...]
    activation: Activation = nn.relu

    @nn.compact
    def __call__(self, *inputs: Array) -> Array:
        return self._rest(self._first(inputs))

    def _first(self, inputs: Sequence[Array]) -> Array:
        require_sizes(hidden=tuple(self.hidden), output=tuple(self.output))
        require(len(self.hidden) >= 1, "hidden", "must have at least one layer", self.hidden)
        require(len(inputs) >= 1, "inputs", "must be at least one array", "none")
        features = [x.shape[-1] for x in inputs]
        # As wide a start as if the inputs were one: each term has its share of the variance.
        init = nn.initializers.variance_scaling(1.0 / sum(features), "fan_in", "truncated_normal")
        terms = []
        for index, x in enumerate(inputs):
            scaled = lambda key, shape, dtype, n=x.shape[-1]: init(key, shape, dtype) * n**0.5
            layer = nn.Dense(self.hidden[0], index == 0, kernel_init=scaled, name=f"input_{index}")
            terms.append(layer(x))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return self.activation(total)

    def _rest(self, h: Array) -> Array:
        return MLP(tuple(self.hidden[1:]), tuple(self.output), self.activation, name="rest")(h)
