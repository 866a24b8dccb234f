"""Samplers of denoising models: from noise to data along a process, as one compiled scan.

A sampler is a row `(calls, step)`: what a step costs in network calls, and how it moves x from time
t to an earlier time s. The model enters as functions of (x, t); Flax is not needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import scan
from dgmjax.errors import require, require_sizes
from dgmjax.inference.ode import TABLEAUS, num_calls, runge_kutta_step
from dgmjax.noising.conversions import Parts
from dgmjax.noising.gaussian import GaussianProcess, Spacing, check_spacing
from dgmjax.types import Array, Key

CORRECTION = 0.16
"""Signal-to-noise ratio of the corrector's Langevin step, that of Song et al. for images."""


class Denoising(NamedTuple):
    """What samplers know of a model.

    Attributes:
      process: of the data.
      parts: `(x, t)` to the expected data and noise.
      velocity: `(x, t)` to the expected velocity.
      temperature: factor of the scale of all noise; 1 for the model itself.
    """

    process: GaussianProcess
    parts: Callable[[Array, Array], Parts]
    velocity: Callable[[Array, Array], Array]
    temperature: Array | float = 1.0


Step = Callable[[Denoising, Key, Array, Array, Array], Array]
"""`(denoising, key, x, t, s)` to x at s < t."""


class Row(NamedTuple):
    """A sampler: network calls of a step, and the step."""

    calls: int
    step: Step


def _denoised_step(share: float) -> Step:
    """x_s = signal_s data + sqrt(noise_s^2 - v) noise + sqrt(v) n, with v a share of that of q.

    The variance of q(x_s | x_t, x_0) is noise_{t|s}^2 noise_s^2 / noise_t^2, where
    noise_{t|s}^2 = noise_t^2 - (signal_t / signal_s)^2 noise_s^2.
    """

    def step(model: Denoising, key: Key, x: Array, t: Array, s: Array) -> Array:
        parts, (signal_t, noise_t) = model.parts(x, t), model.process.coefficients(t)
        signal_s, noise_s = model.process.coefficients(s)
        if not share:
            return signal_s * parts.data + noise_s * parts.noise
        gained = noise_t**2 - (signal_t / signal_s * noise_s) ** 2
        variance = share**2 * jnp.maximum(gained, 0.0) * (noise_s / noise_t) ** 2
        kept = jnp.sqrt(jnp.maximum(noise_s**2 - variance, 0.0))
        fresh = model.temperature * jnp.sqrt(variance) * jax.random.normal(key, x.shape, x.dtype)
        return signal_s * parts.data + kept * parts.noise + fresh

    return step


def _renoised_step(model: Denoising, key: Key, x: Array, t: Array, s: Array) -> Array:
    """signal_s data + noise_s n with fresh noise n: the multistep sampler of consistency models."""
    signal, noise = model.process.coefficients(s)
    fresh = model.temperature * jax.random.normal(key, x.shape, x.dtype)
    return signal * model.parts(x, t).data + noise * fresh


def _ode_step(method: str) -> Step:
    def step(model: Denoising, key: Key, x: Array, t: Array, s: Array) -> Array:
        return runge_kutta_step(model.velocity, x, t, s - t, TABLEAUS[method])

    return step


def _corrected_step(model: Denoising, key: Key, x: Array, t: Array, s: Array) -> Array:
    """An ancestral step, then a Langevin step at s: x + e score + sqrt(2 e) n, e = 2 (r noise)^2.

    With the score -noise / noise_s nothing is divided by noise_s, which is 0 at the data.
    """
    predict_key, correct_key = jax.random.split(key)
    x = _denoised_step(1.0)(model, predict_key, x, t, s)
    noise = model.process.coefficients(s)[1]
    fresh = model.temperature * jax.random.normal(correct_key, x.shape, x.dtype)
    moved = x + 2.0 * CORRECTION * noise * (fresh - CORRECTION * model.parts(x, s).noise)
    return jnp.where(noise > 0.0, moved, x)


SamplerName = Literal[
    "ancestral", "ddim", "consistency", "predictor_corrector", "euler", "midpoint", "heun", "rk4"
]
SAMPLERS: dict[str, Row] = {
    "ancestral": Row(1, _denoised_step(1.0)),
    "ddim": Row(1, _denoised_step(0.0)),
    "consistency": Row(1, _renoised_step),
    "predictor_corrector": Row(2, _corrected_step),
    **{name: Row(num_calls(name, 1), _ode_step(name)) for name in TABLEAUS},
}
"""Samplers by name: "ancestral" is that of DDPM, "ddim" its deterministic form, and the methods of
`inference.ode` follow the probability-flow ODE.

Sources: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, algorithm 2,
https://arxiv.org/abs/2006.11239; Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2021,
Eq. 12, https://arxiv.org/abs/2010.02502; Song et al., "Score-Based Generative Modeling through
Stochastic Differential Equations", 2021, section 4, https://arxiv.org/abs/2011.13456; Karras,
Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
algorithm 1, https://arxiv.org/abs/2206.00364.
"""


@dataclass(frozen=True)
class Sampler:
    """A sampler, and how many steps it takes.

    Attributes:
      name: in `SAMPLERS`.
      num_steps: at least 1.
      spacing: of the steps, see `GaussianProcess.steps`.

    >>> Sampler("heun", 25).num_calls
    50
    """

    name: SamplerName = "heun"
    num_steps: int = 50
    spacing: Spacing = "time"

    def __post_init__(self) -> None:
        require(
            self.name in SAMPLERS, "name", f"must be one of {sorted(SAMPLERS)}", repr(self.name)
        )
        require_sizes(num_steps=self.num_steps)
        check_spacing(self.spacing)

    @property
    def num_calls(self) -> int:
        """Network calls of a sample."""
        return SAMPLERS[self.name].calls * self.num_steps

    def times(self, process: GaussianProcess, ends: tuple[Any, Any]) -> Array:
        """From the end of the span, noise, to its start, the data: `[num_steps + 1]`."""
        first, last = ends
        return process.steps(last, first, self.num_steps, self.spacing)


def run_sampler(
    sampler: Sampler, model: Denoising, key: Key, x: Array, ends: tuple[Any, Any]
) -> Array:
    """Data from noise `x[*batch, *event]` at the later of the two `ends`."""
    times = sampler.times(model.process, ends).astype(x.dtype)
    step = SAMPLERS[sampler.name].step

    def body(x: Array, inputs: tuple[Array, Array, Key]) -> tuple[Array, None]:
        t, s, key = inputs
        return step(model, key, x, t, s), None

    return scan(body, x, (times[:-1], times[1:], jax.random.split(key, sampler.num_steps)))[0]
