"""Schedules of variance-preserving processes: log of the signal at time t, from 0 downwards.

A schedule is a hashable callable of t in [0, 1]; the noise follows, noise^2 = 1 - signal^2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array

Schedule = Callable[[Array], Array]
"""Time in [0, 1] to the log of the coefficient of the data, at most 0."""

_SMALLEST = 1e-6


@dataclass(frozen=True)
class Linear:
    """log signal = -(t^2 (last - first) / 4 + t first / 2): a rate of noise linear in time.

    The continuous form of the schedule of DDPM, with beta(t) = first + t (last - first).

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole, "Score-Based Generative Modeling
    through Stochastic Differential Equations", 2021, Eq. 33, https://arxiv.org/abs/2011.13456.
    """

    first: float = 0.1
    last: float = 20.0

    def __post_init__(self) -> None:
        require(self.first >= 0, "first", "must be at least 0", self.first)
        require(self.last > 0, "last", "must be positive", self.last)

    def __call__(self, t: Array) -> Array:
        return -(t**2) * (self.last - self.first) / 4 - t * self.first / 2


@dataclass(frozen=True)
class Cosine:
    """signal = cos(pi/2 (t + s) / (1 + s)) / cos(pi/2 s / (1 + s)), with the offset s.

    Source: Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, Eq. 17,
    https://arxiv.org/abs/2102.09672.
    """

    offset: float = 0.008

    def __post_init__(self) -> None:
        require(self.offset >= 0, "offset", "must be at least 0", self.offset)

    def __call__(self, t: Array) -> Array:
        angle = lambda t: jnp.pi / 2 * (t + self.offset) / (1 + self.offset)
        return _log_cosine(angle(t)) - _log_cosine(angle(0.0))


def _log_cosine(angle: Array | float) -> Array:
    """log cos of angles in [0, pi/2]; for small ones their square would be lost in cos = 1."""
    near = angle < jnp.pi / 4
    small, large = jnp.where(near, angle, 0.0), jnp.where(near, jnp.pi / 4, angle)
    # Rounding may carry the angle past pi/2, where the logarithm does not exist.
    of_large = jnp.log(jnp.maximum(jnp.cos(large), _SMALLEST))
    return jnp.where(near, jnp.log1p(-(jnp.sin(small) ** 2)) / 2, of_large)


@dataclass(frozen=True)
class LinearLogSNR:
    """log signal^2 / noise^2 falls linearly from `first` to `last`.

    Source: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, appendix H (the
    baseline of the learnt schedule), https://arxiv.org/abs/2107.00630.
    """

    first: float = 13.3
    last: float = -5.0

    def __post_init__(self) -> None:
        require(self.last < self.first, "last", f"must be below first = {self.first}", self.last)

    def __call__(self, t: Array) -> Array:
        return log_signal(self.first + t * (self.last - self.first))


def log_signal(log_snr: Array) -> Array:
    """log signal of a variance-preserving process whose log signal^2 / noise^2 is given."""
    return -jax.nn.softplus(-log_snr) / 2


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear": Linear,
    "cosine": Cosine,
    "linear_log_snr": LinearLogSNR,
}
"""Schedules by name."""
