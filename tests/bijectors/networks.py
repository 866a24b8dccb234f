"""Small networks without any library, for the tests of bijectors."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np


class Module:
    """The `apply` of a Flax module, for methods whose first argument is the variables."""

    def apply(self, variables, *args, method=None):
        return getattr(self, method or "run")(variables, *args)


@dataclasses.dataclass(frozen=True)
class Autoregressive(Module):
    """params_i = b_i + sum_{j<i} tanh(x_j) W_ji + context C_i."""

    size: int
    num_params: int
    context_size: int = 0

    def init(self, key, scale=1.0):
        shapes = {
            "w": (self.size, self.size, self.num_params),
            "b": (self.size, self.num_params),
            "c": (self.context_size, self.size, self.num_params),
        }
        keys = jax.random.split(key, 3)
        return {
            name: scale * jax.random.normal(k, shape)
            for k, (name, shape) in zip(keys, shapes.items())
        }

    def _bias(self, variables, context):
        if context is None:
            return variables["b"]
        return variables["b"] + jnp.einsum("...c,cip->...ip", context, variables["c"])

    def run(self, variables, x, context=None):
        mask = np.triu(np.ones((self.size, self.size), np.float32), 1)[..., None]
        w = variables["w"] * mask.astype(variables["w"].dtype)
        h = jnp.einsum("...j,jip->...ip", jnp.tanh(x).astype(w.dtype), w)
        return h + self._bias(variables, context)

    def init_carry(self, variables, batch_shape, context=None):
        bias = self._bias(variables, context)
        return jnp.broadcast_to(bias, (*batch_shape, self.size, self.num_params))

    def step(self, variables, carry, previous, index):
        row = jnp.take(variables["w"], index - 1, axis=0)
        added = jnp.tanh(previous)[..., None, None].astype(row.dtype) * row
        carry = jnp.where(index > 0, carry + added, carry)
        return carry, jnp.take(carry, index, axis=-2)


@dataclasses.dataclass(frozen=True)
class Dense(Module):
    """One tanh layer on the flattened event: `[..., *in_shape]` to `[..., *out_shape]`."""

    in_shape: tuple
    out_shape: tuple
    context_size: int = 0

    def init(self, key, scale=1.0):
        fan_in = int(np.prod(self.in_shape)) + self.context_size
        size = int(np.prod(self.out_shape))
        keys = jax.random.split(key, 2)
        return {
            "w": scale * jax.random.normal(keys[0], (fan_in, size)),
            "b": scale * jax.random.normal(keys[1], (size,)),
        }

    def run(self, variables, x, context=None):
        batch = x.shape[: x.ndim - len(self.in_shape)]
        h = jnp.tanh(x).reshape(*batch, math.prod(self.in_shape))
        if context is not None:
            h = jnp.concatenate([h, context], axis=-1)
        h = h.astype(variables["w"].dtype) @ variables["w"] + variables["b"]
        return h.reshape(*batch, *self.out_shape)
