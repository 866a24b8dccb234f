"""Multi-layer perceptron."""

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Activation, Array


class MLP(nn.Module):
    """Dense layers with an activation between them: `x[..., *in]` -> `[..., *output]`.

    Attributes:
      hidden: units of each hidden layer.
      output: shape of the output event, e.g. `(28, 28, 1, 1)`.
      activation: applied after every hidden layer.
      event_ndims: trailing axes of `x` that make one input; they are flattened.
      zero_output: start with an output of zero (a flow layer then starts as the identity).
      dtype: of the computation; parameters stay float32.
    """

    hidden: tuple[int, ...]
    output: tuple[int, ...]
    activation: Activation = nn.relu
    event_ndims: int = 1
    zero_output: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None) -> Array:
        require(
            x.ndim >= self.event_ndims,
            "x",
            f"must have at least event_ndims={self.event_ndims} axes",
            f"shape {x.shape}",
        )
        batch = x.shape[: x.ndim - self.event_ndims]
        h = x.reshape(*batch, -1)
        if context is not None:
            h = jnp.concatenate([h, jnp.broadcast_to(context, (*batch, context.shape[-1]))], -1)
        for units in self.hidden:
            h = self.activation(nn.Dense(units, dtype=self.dtype)(h))
        size = 1
        for n in self.output:
            size *= n
        init = nn.initializers.zeros if self.zero_output else nn.initializers.lecun_normal()
        return nn.Dense(size, dtype=self.dtype, kernel_init=init)(h).reshape(*batch, *self.output)
