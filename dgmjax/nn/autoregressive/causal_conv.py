"""One-dimensional dilated causal convolution with a ring buffer of past inputs.

Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, section 2.1,
https://arxiv.org/abs/1609.03499.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from dgmjax.errors import require
from dgmjax.nn.convolution import convolution
from dgmjax.types import Array, PyTree


class CausalConv(nn.Module):
    """y_t = b + sum_{i < kernel_size} W_i h_{t - dilation (kernel_size - 1 - i)}, zeros before 0.

    `h[*batch, T, C] -> [*batch, T, features]` for any length T. The incremental state is a ring
    of `dilation * (kernel_size - 1) + 1` past inputs: linear in the receptive field, not in T.

    Attributes:
      features: number of outputs.
      kernel_size, dilation: taps and the distance between them.
      strict: the last tap reads t - 1 instead of t.
      use_bias: add b.
      dtype: of the computation; that of the parameters if None.
    """

    features: int
    kernel_size: int = 2
    dilation: int = 1
    strict: bool = False
    use_bias: bool = True
    dtype: jnp.dtype | None = None

    @nn.compact
    def _params(self, channels: int) -> list[Any]:
        require(self.kernel_size >= 1, "kernel_size", "must be at least 1", self.kernel_size)
        require(self.dilation >= 1, "dilation", "must be at least 1", self.dilation)
        shape = (self.kernel_size, channels, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        zeros = nn.initializers.zeros
        bias = self.param("bias", zeros, (self.features,)) if self.use_bias else None
        return promote_dtype(kernel, bias, dtype=self.dtype)

    @property
    def reach(self) -> int:
        """How far back the convolution reads."""
        return self.dilation * (self.kernel_size - 1)

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        kernel, bias = self._params(h.shape[-1])
        length = h.shape[-2]
        flat = h.reshape(math.prod(h.shape[:-2]), length, h.shape[-1]).astype(kernel.dtype)
        if self.kernel_size == 1:  # a matrix product is faster
            out = (flat.reshape(-1, h.shape[-1]) @ kernel[0]).reshape(
                len(flat), length, self.features
            )
        else:
            padding = ((self.reach, 0),)
            out = convolution(flat, kernel, padding=padding, dilation=(self.dilation,))
        if self.strict:  # not by padding the input: see `masked_conv.convolve`
            out = jnp.pad(out[:, :-1], ((0, 0), (1, 0), (0, 0)))
        out = out if bias is None else out + bias
        return out.reshape(*h.shape[:-1], self.features)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        channels: int = self.get_variable("params", "kernel").shape[1]
        dtype = self._params(channels)[0].dtype
        return jnp.zeros((self.reach + 1, *batch_shape, channels), dtype)

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        kernel, bias = self._params(h.shape[-1])
        h = h.astype(kernel.dtype)
        # Written, then read: the compiler updates such a buffer in place. One product of all taps
        # is faster than one a tap.
        size = self.reach + 1
        carry = jax.lax.dynamic_update_index_in_dim(carry, h, index % size, 0)
        # h_s stands in slot s % size. Tap k reads s = t - reach + k dilation, and -reach is 1
        # modulo size.
        slots = [(index + 1 + self.dilation * tap) % size for tap in range(self.kernel_size - 1)]
        past = [jax.lax.dynamic_index_in_dim(carry, slot, 0, keepdims=False) for slot in slots]
        out = jnp.concatenate([*past, h], -1) @ kernel.reshape(-1, self.features)
        return carry, out if bias is None else out + bias
