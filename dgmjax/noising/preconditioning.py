"""Preconditioning: what a network reads and returns, so that both have variance about 1.

The data prediction is D = skip(s) y + out(s) F(inner(s) y, time(s)), with y = x_t / signal of noise
scale s = noise / signal. Each row is data: four functions of (s, deviation of the data).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array

Factor = Callable[[Array, float], Array]


@dataclass(frozen=True)
class Preconditioning:
    """Four functions of the noise scale and of the deviation of the data, and that deviation.

    Attributes:
      skip: of the input in the prediction.
      out: of the network in the prediction.
      inner: of the input of the network.
      time: what the network reads as its time, any real number.
      deviation: of the data, positive.
    """

    skip: Factor
    out: Factor
    inner: Factor
    time: Factor
    deviation: float = 0.5

    def __post_init__(self) -> None:
        require(self.deviation > 0, "deviation", "must be positive", self.deviation)

    def weight(self, scale: Array) -> Array:
        """1 / out^2: with it the squared error of the data is that of the network's output."""
        return 1.0 / self.out(scale, self.deviation) ** 2


def _total(s: Array, d: float) -> Array:
    return jnp.sqrt(s**2 + d**2)


PRECONDITIONINGS: dict[str, tuple[Factor, Factor, Factor, Factor]] = {
    "edm": (
        lambda s, d: d**2 / _total(s, d) ** 2,
        lambda s, d: s * d / _total(s, d),
        lambda s, d: 1.0 / _total(s, d),
        lambda s, d: jnp.log(s) / 4.0,
    ),
    "variance_exploding": (
        lambda s, d: jnp.ones_like(s),
        lambda s, d: s,
        lambda s, d: jnp.ones_like(s),
        lambda s, d: jnp.log(s / 2.0),
    ),
}
"""Rows `(skip, out, inner, time)` by name.

Source: Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative
Models", 2022, Table 1, https://arxiv.org/abs/2206.00364.
"""


def preconditioning_of(name: str, deviation: float = 0.5) -> Preconditioning:
    """The preconditioning of a name in `PRECONDITIONINGS`; equal arguments give equal objects.

    >>> edm = preconditioning_of("edm", 0.5)
    >>> round(float(edm.skip(jnp.array(0.5), 0.5)), 4), edm == preconditioning_of("edm", 0.5)
    (0.5, True)
    """
    require(name in PRECONDITIONINGS, "name", f"must be in {sorted(PRECONDITIONINGS)}", repr(name))
    return Preconditioning(*PRECONDITIONINGS[name], deviation)
