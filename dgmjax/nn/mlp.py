"""Multi-layer perceptron."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.nn.dense import check_width, start_bias
from dgmjax.types import Activation, Array


class MLP(nn.Module):
    """Dense layers with an activation between them: `x[..., *in]` -> `[..., *output]`.

    Attributes:
      hidden: units of each hidden layer.
      output: shape of the output event, e.g. `(28, 28, 1, 1)`.
      activation: applied after every hidden layer.
      event_ndims: trailing axes of `x` that make one input; they are flattened.
      zero_output: start with an output of zero (a flow layer then starts as the identity).
      activate_output: apply the activation to the output as well (features, not parameters).
      skip: every layer after the first also reads the input (generative skip connections).
      dtype: of the computation; parameters stay float32.
    """

    hidden: tuple[int, ...]
    output: tuple[int, ...]
    activation: Activation = nn.relu
    event_ndims: int = 1
    zero_output: bool = False
    activate_output: bool = False
    dtype: jnp.dtype | None = None
    skip: bool = False

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require_sizes(hidden=tuple(self.hidden), output=tuple(self.output))
        require(
            x.ndim >= self.event_ndims,
            "x",
            f"must have at least event_ndims={self.event_ndims} axes",
            f"shape {x.shape}",
        )
        batch = x.shape[: x.ndim - self.event_ndims]
        # One batch axis: products over several cost more, above all their gradients.
        h = x.reshape(math.prod(batch), math.prod(x.shape[len(batch) :]))
        if context is not None:
            wide = jnp.broadcast_to(context, (*batch, context.shape[-1]))
            h = jnp.concatenate([h, wide.reshape(len(h), context.shape[-1])], -1)
        check_width(self, ("Dense_0",), h.shape[-1], x)
        first = h
        # Skip connections join the input again before every layer but the first, which reads it
        # anyway.
        again = lambda h: jnp.concatenate([h, first], -1) if self.skip else h
        for layer, units in enumerate(self.hidden):
            h = self.activation(nn.Dense(units, dtype=self.dtype)(again(h) if layer else h))
        h = again(h) if self.hidden else h
        init = nn.initializers.zeros if self.zero_output else nn.initializers.lecun_normal()
        h = nn.Dense(math.prod(self.output), dtype=self.dtype, kernel_init=init)(h)
        h = self.activation(h) if self.activate_output else h
        return h.reshape(*batch, *self.output)

    def start_at_marginals(self, family: Any, x: Array) -> None:
        """Sets the output bias to the marginals of `x[N, *event]`; while initialising."""
        start_bias(self, (f"Dense_{len(self.hidden)}",), family.marginal(x), x)
