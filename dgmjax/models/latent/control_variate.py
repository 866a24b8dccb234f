"""Control variates of score-function gradients, with parameters of their own: REBAR and RELAX."""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.conditioner import Conditioner
from dgmjax.errors import require
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.nn.autoregressive.binding import bind_network
from dgmjax.types import Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["log_temperature", "scale", "network"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class ControlVariate:
    """c(zeta) = scale (f(soften(zeta, T)) + r(x, soften(zeta, T))), as a pytree of its parameters.

    Attributes:
      log_temperature: log T.
      scale: eta.
      network: r, or None for 0.
    """

    log_temperature: Array
    scale: Array
    network: Conditioner | None

    @property
    def temperature(self) -> Array:
        """T, between 0.01 and 100."""
        # Learned as log T, which no step makes negative. Relaxations divide by T: at its lower
        # bound they are hard already, and below it their gradients would only overflow.
        return jnp.exp(jnp.clip(self.log_temperature, math.log(0.01), math.log(100.0)))

    def residual(self, x: Array, z: Array) -> Array | float:
        """r(x, z), `[B]`, of relaxed latents `z[B, ...]`."""
        return 0.0 if self.network is None else self.network(_joined(x, z))[..., 0]


class WithControlVariate(Wrapper):
    """A latent-variable model with a control variate for `relax`, which trains both.

    Attributes:
      model: whose posterior has independent Bernoulli or one-hot categorical latents.
      network: r, from x and the relaxed latents, flattened and joined, `[B, D]`, to `[B, 1]`: an
        `MLP(hidden, (1,))`. With one this is RELAX, without REBAR.
      temperature: T at the start, above 0.
      scale: eta at the start.

    Sources: Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein, "REBAR: Low-variance, Unbiased
    Gradient Estimates for Discrete Latent Variable Models", 2017, section 3,
    https://arxiv.org/abs/1703.07370; Grathwohl, Choi, Wu, Roeder & Duvenaud, "Backpropagation
    through the Void: Optimizing Control Variates for Black-box Gradient Estimation", 2018,
    section 3, https://arxiv.org/abs/1711.00123.
    """

    network: nn.Module | None = None
    temperature: float = 0.5
    scale: float = 1.0

    def setup(self):
        require(self.temperature > 0, "temperature", "must be positive", self.temperature)
        constant = lambda value: lambda key: jnp.full((), value, jnp.float32)
        self.log_temperature = self.param("log_temperature", constant(math.log(self.temperature)))
        self.eta = self.param("scale", constant(self.scale))

    def make_all(self) -> Any:
        """Makes every parameter, those of the control variate too."""
        made = super().make_all()
        if made is not None:
            self.control_variate(made[1], made[0])
        return made

    def control_variate(self, x: Array, z: Array) -> ControlVariate:
        """The control variate; x and z (latents of them, `[B, ...]`) give the shapes."""
        network = None
        if self.network is not None:
            if self.is_initializing():
                self.network(_joined(x, z))
            network = bind_network(self.network)
        return ControlVariate(self.log_temperature, self.eta, network)


def _joined(x: Array, z: Array) -> Array:
    flat = [array.reshape(len(array), -1).astype(jnp.float32) for array in (x, z)]
    return jnp.concatenate(flat, -1)
