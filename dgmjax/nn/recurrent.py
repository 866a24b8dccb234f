"""Recurrent causal layers over sequences: LSTM and GRU.

Sources: Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997,
https://doi.org/10.1162/neco.1997.9.8.1735; forget gate: Gers, Schmidhuber & Cummins, "Learning to
Forget: Continual Prediction with LSTM", 2000, https://doi.org/10.1162/089976600300015015; GRU: Cho
et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation", 2014, https://arxiv.org/abs/1406.1078.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.carry import scan
from dgmjax.errors import require
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, PyTree


def lstm_update(gates: Array, cell: Array) -> tuple[Array, Array]:
    """New hidden state and cell `[..., F]` from gates `[..., 4 F]` before their nonlinearities.

    c' = sigmoid(f) c + sigmoid(i) tanh(g),  h' = sigmoid(o) tanh(c'),  gates = (i, f, g, o).
    """
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(cell), cell


def lstm_bias(key, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Zero, but 1 for the forget gates: a cell that has learned nothing remembers."""
    del key
    features = shape[0] // 4
    return jnp.zeros(shape, dtype).at[features : 2 * features].set(1.0)


class Recurrent(nn.Module):
    """h_t = cell(W x_t + b, h_{t-1}) with h_{-1} = 0, as a causal layer `[..., T, C]`.

    "lstm": gates W x_t + b + R h_{t-1}, see `lstm_update`. "gru": r = sigmoid(W_r x + R_r h + b_r),
    z = sigmoid(W_z x + R_z h + b_z), n = tanh(W_n x + b_n + r (R_n h + b')), h' = (1 - z) n + z h.
    W x_t + b of all sites is one matrix product; only R h is computed step by step.

    Attributes:
      features: F, units.
      cell: "lstm" or "gru".
    """

    features: int
    cell: str = "lstm"

    def setup(self):
        require(self.cell in ("lstm", "gru"), "cell", "must be 'lstm' or 'gru'", repr(self.cell))
        require(self.features >= 1, "features", "must be at least 1", self.features)
        self.lstm = self.cell == "lstm"
        wide = self.features * (4 if self.lstm else 3)
        init = lstm_bias if self.lstm else nn.initializers.zeros
        self.inputs = Dense(wide, bias_init=init)
        shape = (self.features, wide)
        # Orthogonal: powers of the recurrent matrix neither grow nor vanish at the start.
        self.kernel = self.param("kernel", nn.initializers.orthogonal(), shape)
        if not self.lstm:
            self.bias = self.param("bias", nn.initializers.zeros, (self.features,))

    def update(self, state: tuple[Array, ...], inputs: Array) -> tuple[Array, ...]:
        """The next state, hidden units first, given W x + b (`self.inputs(x)`)."""
        total = state[0] @ self.kernel
        if self.lstm:
            return lstm_update(inputs + total, state[1])
        # The reset gate acts after the product R_n h + b': all three products are then one matrix.
        reset, update, new = jnp.split(inputs, 3, axis=-1)
        from_reset, from_update, from_new = jnp.split(total, 3, axis=-1)
        update = nn.sigmoid(update + from_update)
        new = jnp.tanh(new + nn.sigmoid(reset + from_reset) * (from_new + self.bias))
        return ((1.0 - update) * new + update * state[0],)

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        require(h.ndim >= 2, "h", "must be sequences [..., T, C]", f"shape {h.shape}")
        batch, num = h.shape[:-2], math.prod(h.shape[:-2])
        # Time goes first, since a scan runs over the first axis.
        inputs = self.inputs(h.reshape(num, *h.shape[-2:]).swapaxes(0, 1))

        def body(state: tuple[Array, ...], inputs: Array) -> tuple[tuple[Array, ...], Array]:
            state = self.update(state, inputs)
            return state, state[0]

        _, out = scan(body, self.init_carry((num,)), inputs)
        return out.swapaxes(0, 1).reshape(*batch, h.shape[-2], self.features)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        zeros = jnp.zeros((*batch_shape, self.features))
        return (zeros, zeros) if self.lstm else (zeros,)

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Any]:
        carry = self.update(carry, self.inputs(h))
        return carry, carry[0]
