"""DRAW: a recurrent VAE that draws an image on a canvas, a little in every step."""

import math
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.factorised import Factorised
from dgmjax.distributions.families import Bernoulli, Normal
from dgmjax.distributions.sequential import Sequential
from dgmjax.errors import require, require_sizes
from dgmjax.models.base import StandardNormal
from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.nn.dense import Dense
from dgmjax.nn.gaussian_window import WindowHead
from dgmjax.nn.recurrent import Recurrent
from dgmjax.nn.steps import bind_steps, join
from dgmjax.shapes import require_event
from dgmjax.types import Array, PyTree


class DrawCell(nn.Module):
    """A step of DRAW: emit q(z_t | x, z_<t), then absorb z_t and draw on the canvas.

    The carry holds the states of both LSTMs and the canvas `[..., height * width * channels]`, of
    logits.

    Attributes:
      event_shape: `(height, width, channels)`.
      latent: dimensions of z_t.
      hidden: units of each LSTM.
      window: sizes of the grids that read and write; None without attention.
    """

    event_shape: tuple[int, int, int]
    latent: int
    hidden: int
    window: tuple[int, int] | None

    def setup(self):
        height, width, channels = self.event_shape
        self.encoder, self.decoder = Recurrent(self.hidden), Recurrent(self.hidden)
        self.posterior_head = Dense(2 * self.latent)
        self.canvas = self.param("canvas", nn.initializers.zeros, (math.prod(self.event_shape),))
        if self.window is None:
            self.write_head = Dense(math.prod(self.event_shape))
            self.image = Dense(4 * self.hidden, use_bias=False)
            return
        reads, writes = self.window
        self.read_window = WindowHead(reads, height, width)
        self.write_window = WindowHead(writes, height, width)
        self.write_head = Dense(writes * writes * channels)

    def init_carry(self, batch_shape: tuple[int, ...]) -> PyTree:
        """Empty memories and the learned first canvas."""
        return {
            "encoder": self.encoder.init_carry(batch_shape),
            "decoder": self.decoder.init_carry(batch_shape),
            "canvas": jnp.broadcast_to(self.canvas, (*batch_shape, *self.canvas.shape)),
        }

    def seen(self, x: Array) -> PyTree:
        """What every step sees of images `[*batch, pixels]`.

        Without attention the encoder reads all of x in every step: its share of the gates is
        one matrix product for all steps.
        """
        return {"x": x, "gates": self.image(x) if self.window is None else 0.0}

    def _read(self, x: Array, error: Array, h: Array) -> Array:
        """What the encoder reads, in one step, of the image and of the canvas's error."""
        if self.window is None:
            return error
        window = self.read_window(h)
        patches = [
            window.read(image.reshape(*image.shape[:-1], *self.event_shape)) for image in (x, error)
        ]
        flat = lambda patch: patch.reshape(*patch.shape[:-3], math.prod(patch.shape[-3:]))
        return join(*map(flat, patches))

    def _write(self, h: Array) -> Array:
        """What is added to the canvas, `[..., height * width * channels]`."""
        drawn = self.write_head(h)
        if self.window is None:
            return drawn
        size = self.window[1]
        patch = drawn.reshape(*drawn.shape[:-1], size, size, self.event_shape[-1])
        size = math.prod(self.event_shape)
        return self.write_window(h).write(patch).reshape(*drawn.shape[:-1], size)

    def emit(self, carry: PyTree, seen: PyTree, inputs: None) -> tuple[PyTree, Array]:
        """Parameters of q(z_t | x, z_<t) `[..., latent, 2]`; see `seen` for what is seen of x."""
        h = carry["decoder"][0]
        # The canvas holds logits, the image intensities: they are compared as intensities.
        error = seen["x"] - jax.nn.sigmoid(carry["canvas"])
        # W (x, error, h) = W_x x + W' (error, h): the first term, the costliest, is the same in all
        # steps.
        gates = self.encoder.inputs(join(self._read(seen["x"], error, h), h)) + seen["gates"]
        state = self.encoder.update(carry["encoder"], gates)
        params = self.posterior_head(state[0])
        shaped = params.reshape(*params.shape[:-1], self.latent, 2)
        return {**carry, "encoder": state}, shaped

    def absorb(self, carry: PyTree, seen: PyTree, inputs: None, value: Array) -> PyTree:
        """The state after z_t, with a new canvas."""
        state, h = self.decoder.step(carry["decoder"], value, jnp.int32(0))
        return {**carry, "decoder": state, "canvas": carry["canvas"] + self._write(h)}

    def create(self, x: Array) -> None:
        """Makes every parameter; the first canvas starts at the logits of the mean image."""
        if x.size and x.ndim > 1:
            flat = as_float(x.reshape(-1, x.shape[-1]))
            self.put_variable("params", "canvas", Bernoulli().marginal(flat)[..., 0])
        seen = self.seen(x)
        carry, params = self.emit(self.init_carry(x.shape[:-1]), seen, None)
        self.absorb(carry, seen, None, params[..., 0])


class DRAW(LatentVariableModel):
    """p(z) p(x | canvas_T(z)) with z = (z_1 .. z_T), canvas_t = canvas_{t-1} + write(h_t).

    Prior: N(0, I) over `[T, latent]`. Posterior: z_t given a reading of x and of the error
    x - sigmoid(canvas_{t-1}), and the decoder's state; a `Sequential`, whose KL divergence is in
    closed form along the path (`objectives.elbo`). Likelihood: Bernoulli pixels with the last
    canvas as logits. With a `window`, reading and writing go through a grid of Gaussian filters
    that the decoder moves.

    Attributes:
      event_shape: `(height, width, channels)` of binary images.
      latent: dimensions of z_t.
      num_steps: T.
      hidden: units of the encoder's and of the decoder's LSTM.
      window: sides N of the grids that read and write, `(2, 5)` for MNIST in the paper; None
        without attention, where they see the whole image.

    Source: Gregor, Danihelka, Graves, Rezende & Wierstra, "DRAW: A Recurrent Neural Network For
    Image Generation", 2015, Eq. 3 to 8 and 17 to 29, https://arxiv.org/abs/1502.04623.

    >>> draw = DRAW((4, 4, 1), latent=3, num_steps=2, hidden=5, window=(2, 2))
    >>> x = jnp.zeros((6, 4, 4, 1))
    >>> variables = draw.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")
    >>> draw.apply(variables, jnp.zeros((6, 2, 3)), method="canvases").shape
    (6, 2, 4, 4, 1)
    """

    event_shape: tuple[int, int, int]
    latent: int
    num_steps: int
    hidden: int
    window: tuple[int, int] | None = None

    def setup(self):
        require(len(self.event_shape) == 3, "event_shape", "must be an image's", self.event_shape)
        require_sizes(event_shape=tuple(self.event_shape))
        sizes = {"num_steps": self.num_steps, "latent": self.latent, "hidden": self.hidden}
        require_sizes(**sizes, window=tuple(self.window or ()))
        self.cell = DrawCell(self.event_shape, self.latent, self.hidden, self.window)

    @property
    def observation(self) -> Bernoulli:
        """The family of a pixel."""
        return Bernoulli()

    def _steps(self, x: Array | None = None) -> Any:
        if self.is_initializing() and (x is not None or not self.has_variable("params", "cell")):
            self.cell.create(jnp.zeros(math.prod(self.event_shape)) if x is None else x)
        return bind_steps(self.cell, context=None if x is None else self.cell.seen(x))

    def prior(self) -> distrax.Distribution:
        """N(0, I) over `[T, latent]`."""
        return StandardNormal((self.num_steps, self.latent), parent=None)()

    def posterior(self, x: Array) -> Sequential:
        """q(z | x) over `[T, latent]` for `x[*batch, *event]`."""
        batch = require_event(x, self.event_shape)
        steps = self._steps(x.reshape(*batch, math.prod(self.event_shape)))
        return Sequential(steps, Normal(), (self.num_steps, self.latent), batch)

    def likelihood(self, z: Array) -> Factorised:
        """p(x | z): Bernoulli pixels, the last canvas as logits."""
        _, last = self._steps().states(z, z.ndim - 2)
        return self._pixels(last["canvas"])

    def _pixels(self, canvas: Array) -> Factorised:
        logits = canvas.reshape(*canvas.shape[:-1], *self.event_shape, 1)
        return Factorised(Bernoulli(), logits, self.event_shape)

    def canvases(self, z: Array) -> Array:
        """Logits of the pixels after every step, `[..., T, *event]`."""
        before, last = self._steps().states(z, z.ndim - 2)
        # `states` gives the carry before each step: shifted by one, and with the last one, these
        # are the canvases after each.
        after = jnp.concatenate([before["canvas"][1:], last["canvas"][None]])
        steps = jnp.moveaxis(after, 0, z.ndim - 2)
        return steps.reshape(*steps.shape[:-1], *self.event_shape)
