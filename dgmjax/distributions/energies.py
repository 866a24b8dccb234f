"""Four energies of the plane that no simple density fits: targets for reverse-KL training."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require
from dgmjax.types import Array

WALL, WALL_WIDTH = 4.0, 0.2


@dataclass(frozen=True)
class Energy:
    """U1 to U4: p(z) = exp(-U(z)) / Z.

    With w1 = sin(pi z1 / 2), w2 = 3 exp(-((z1 - 1) / 0.6)^2 / 2), w3 = 3 sigmoid((z1 - 1) / 0.3):

    U1 = ((|z| - 2) / 0.4)^2 / 2 - log(exp(-((z1 - 2) / 0.6)^2 / 2) + exp(-((z1 + 2) / 0.6)^2 / 2))
    U2 = ((z2 - w1) / 0.4)^2 / 2
    U3 = -log(exp(-((z2 - w1) / 0.35)^2 / 2) + exp(-((z2 - w1 + w2) / 0.35)^2 / 2))
    U4 = -log(exp(-((z2 - w1) / 0.4)^2 / 2) + exp(-((z2 - w1 + w3) / 0.35)^2 / 2))

    U2 to U4 never end along z1, so their exp(-U) has no finite integral; the paper shows them on
    [-4, 4]. Here ((|z1| - 4) / 0.2)^2 / 2 is added where |z1| > 4: inside nothing changes, and Z
    exists.

    Args:
      number: 1 to 4.

    Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows", 2015, Table 1,
    https://arxiv.org/abs/1505.05770.
    """

    number: int

    def __post_init__(self) -> None:
        require(self.number in (1, 2, 3, 4), "number", "must be 1, 2, 3 or 4", self.number)

    def __call__(self, z: Array) -> Array:
        """U(z) for `z[..., 2]`, shape `[...]`."""
        first, second = z[..., 0], z[..., 1]
        if self.number == 1:
            square = jnp.sum(z * z, axis=-1)
            # The norm has no gradient at 0; U is as good as flat there.
            norm = jnp.sqrt(jnp.maximum(square, 1e-12))
            both = jnp.logaddexp(_bell(first - 2.0, 0.6), _bell(first + 2.0, 0.6))
            return -_bell(norm - 2.0, 0.4) - both
        height = second - jnp.sin(0.5 * jnp.pi * first)
        wall = -_bell(jnp.maximum(jnp.abs(first) - WALL, 0.0), WALL_WIDTH)
        if self.number == 2:
            return wall - _bell(height, 0.4)
        if self.number == 3:
            branch = 3.0 * jnp.exp(_bell(first - 1.0, 0.6))
            return wall - jnp.logaddexp(_bell(height, 0.35), _bell(height + branch, 0.35))
        branch = 3.0 * jax.nn.sigmoid((first - 1.0) / 0.3)
        return wall - jnp.logaddexp(_bell(height, 0.4), _bell(height + branch, 0.35))

    def log_density(self, z: Array) -> Array:
        """-U(z): the log-density up to log Z."""
        return -self(z)

    def log_normaliser(self, resolution: int = 2001, reach: float = 9.0) -> float:
        """log Z = log int exp(-U(z)) dz, by the trapezoid rule in float64 on [-reach, reach]^2.

        For integrands that are smooth and vanish at the ends the rule converges faster than any
        power of the step; 2001 points per side reach about 1e-10.
        """
        require(resolution >= 3, "resolution", "must be at least 3", resolution)
        # In strips of rows, since the whole grid in float64 takes hundreds of megabytes.
        with jax.enable_x64(True):
            line = np.linspace(-reach, reach, resolution)
            total = 0.0
            for rows in np.array_split(line, max(resolution // 100, 1)):
                grid = np.stack(np.meshgrid(rows, line, indexing="ij"), -1)
                total += float(np.exp(np.asarray(self.log_density(jnp.asarray(grid)))).sum())
        return float(np.log(total) + 2 * np.log(line[1] - line[0]))


def _bell(x: Array, width: float) -> Array:
    return -0.5 * (x / width) ** 2
