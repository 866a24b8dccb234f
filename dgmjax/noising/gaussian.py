"""Gaussian processes and interpolants: x_t = signal(t) x_0 + noise(t) eps, in one mechanism."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import DgmjaxError, require, require_sizes
from dgmjax.noising.schedules import Linear, Schedule, log_signal
from dgmjax.types import Array

_CHECKED = 65
"""Times at which a process is checked to lose signal."""


Spacing = Literal["time", "log_snr", "edm"]
"""What is equal about the steps of `GaussianProcess.steps`."""


def check_spacing(spacing: str) -> None:
    """Raises `DgmjaxError` unless it is a `Spacing`."""
    known = get_args(Spacing)
    require(spacing in known, "spacing", f"must be one of {known}", repr(spacing))


class Coefficients(NamedTuple):
    """A process at some times: its two factors, and their derivatives with respect to time."""

    signal: Array
    noise: Array
    signal_rate: Array
    noise_rate: Array

    def like(self, x: Array) -> "Coefficients":
        """With axes of size 1 appended, so that they broadcast against `x[*times, *event]`."""
        return Coefficients(*(aligned(part, x) for part in self))


def aligned(values: Array, x: Array) -> Array:
    """Values `[*batch]` that broadcast against `x[*batch, *event]`."""
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


@dataclass(frozen=True)
class GaussianProcess:
    """q(x_t | x_0) = N(signal(t) x_0, noise(t)^2 I), from the data (t = 0) to noise (t = 1).

    The same marginals belong to the stochastic equation dx = f(t) x dt + g(t) dw with

    f = signal' / signal,  g^2 = 2 noise (noise' - f noise).

    With another distribution of eps it is an interpolant between the data and that distribution.

    Attributes:
      coefficients: t to (signal, noise); differentiable, hashable, and such that signal / noise
        falls strictly.
      span: times between which samplers and bounds run. At its ends both factors have finite
        derivatives and logarithms, as far as an algorithm needs them.
      bounded_span: times between which the log of signal / noise is finite, for bounds.

    Raises:
      DgmjaxError: the ratio signal / noise does not fall, or times that are not in [0, 1].

    Sources: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole, "Score-Based Generative Modeling
    through Stochastic Differential Equations", 2021, https://arxiv.org/abs/2011.13456; Albergo,
    Boffi & Vanden-Eijnden, "Stochastic Interpolants: A Unifying Framework for Flows and
    Diffusions", 2023, https://arxiv.org/abs/2303.08797.

    >>> process = straight()
    >>> x0 = jnp.ones((3, 2))
    >>> q = process.marginal(x0, jnp.array([0.0, 0.25, 1.0]))
    >>> q.mean()[:, 0].tolist(), q.stddev()[:, 0].tolist()
    ([1.0, 0.75, 0.0], [0.0, 0.25, 1.0])
    """

    coefficients: Callable[[Array], tuple[Array, Array]]
    span: tuple[float, float] = (0.0, 1.0)
    bounded_span: tuple[float, float] = (1e-3, 1.0 - 1e-3)

    def __post_init__(self) -> None:
        for name in ("span", "bounded_span"):
            first, last = getattr(self, name)
            inside = 0.0 <= first < last <= 1.0
            require(
                inside, name, "must be two times in [0, 1], the first below the last", (first, last)
            )
        with jax.ensure_compile_time_eval():
            values = self.log_snr(jnp.linspace(*self.bounded_span, _CHECKED))
        if not isinstance(values, jax.core.Tracer):  # a learnt schedule within its model
            falls = bool(np.isfinite(values).all() and (np.diff(np.asarray(values)) < 0).all())
            rule = "must have a ratio signal / noise that is finite and falls with time"
            require(falls, "coefficients", rule, np.asarray(values)[:: _CHECKED // 4].tolist())

    def at(self, t: Array) -> Coefficients:
        """Both factors at `t[...]`, and their derivatives."""
        t = as_times(t)
        (signal, noise), (signal_rate, noise_rate) = jax.jvp(
            lambda t: tuple(self.coefficients(t)), (t,), (jnp.ones_like(t),)
        )
        return Coefficients(signal, noise, signal_rate, noise_rate)

    def log_snr(self, t: Array | float) -> Array:
        """log signal(t)^2 / noise(t)^2, `[...]`."""
        signal, noise = self.coefficients(jnp.asarray(t, jnp.result_type(float)))
        return 2.0 * (jnp.log(signal) - jnp.log(noise))

    def log_snr_and_rate(self, t: Array) -> tuple[Array, Array]:
        """The log signal-to-noise ratio and its derivative, which is negative."""
        t = as_times(t)
        return jax.jvp(self.log_snr, (t,), (jnp.ones_like(t),))

    def time_of(self, log_snr: Array) -> Array:
        """The time at which the log signal-to-noise ratio has a value, by bisection of the span.

        Values beyond the ends of `bounded_span` give these ends.
        """
        log_snr = as_times(log_snr)
        low, high = (jnp.full_like(log_snr, end) for end in self.bounded_span)

        def body(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            early = self.log_snr(middle) > log_snr
            return jnp.where(early, middle, low), jnp.where(early, high, middle)

        low, high = jax.lax.fori_loop(0, 30, body, (low, high))
        return (low + high) / 2

    def steps(self, start: Any, end: Any, num_steps: int, spacing: Spacing = "time") -> Array:
        """Ends of `num_steps` steps from one time to another, in either direction.

        Args:
          start, end: times.
          num_steps: at least 1.
          spacing: what is equal about the steps: "time"; "log_snr", their share of the log
            signal-to-noise ratio; or "edm", of s^(1/7) with s = noise / signal. The last two lie
            within `bounded_span`, but for the ends themselves.

        Returns:
          `[num_steps + 1]`.

        >>> times = variance_preserving().steps(0.0, 1.0, 4, "log_snr")
        >>> [round(float(time), 2) for time in times]
        [0.0, 0.01, 0.19, 0.68, 1.0]
        """
        require_sizes(num_steps=num_steps)
        check_spacing(spacing)
        uniform = jnp.linspace(0.0, 1.0, num_steps + 1)
        if spacing == "time":
            return start + (end - start) * uniform
        ends = (self.log_snr(jnp.clip(time, *self.bounded_span)) for time in (start, end))
        if spacing == "log_snr":
            first, last = ends
            times = self.time_of(first + (last - first) * uniform)
        else:
            first, last = (jnp.exp(-log_snr / 14.0) for log_snr in ends)
            times = self.time_of(-14.0 * jnp.log(first + (last - first) * uniform))
        return times.at[0].set(start).at[-1].set(end)

    def marginal(self, x0: Array, t: Array) -> distrax.Distribution:
        """q(x_t | x_0) of `x0[*batch, *event]` at `t[*batch]`."""
        check_times(t)
        check_time_shape(t, x0)
        at = self.at(t).like(x0)
        normal = distrax.Normal(at.signal * x0, jnp.broadcast_to(at.noise, x0.shape))
        return distrax.Independent(normal, x0.ndim - jnp.ndim(t))

    def interpolate(self, x0: Array, noise: Array, t: Array) -> Array:
        """signal(t) x_0 + noise(t) eps, of the shape of x_0."""
        check_times(t)
        check_time_shape(t, x0)
        same = jnp.shape(noise) == jnp.shape(x0)
        rule = f"must have the shape {jnp.shape(x0)} of `x0`"
        require(same, "noise", rule, jnp.shape(noise))
        at = self.at(t).like(x0)
        return at.signal * x0 + at.noise * noise

    def drift(self, x: Array, t: Array) -> Array:
        """f(t) x, the drift of the stochastic equation; infinite where the signal is 0."""
        at = self.at(t).like(x)
        return at.signal_rate / at.signal * x

    def diffusion(self, t: Array) -> Array:
        """g(t) >= 0, the scale of the noise of the stochastic equation, of the shape of t."""
        return jnp.sqrt(self.squared_diffusion(t))

    def squared_diffusion(self, t: Array) -> Array:
        """g(t)^2 = -noise(t)^2 d/dt log signal(t)^2 / noise(t)^2."""
        at = self.at(t)
        squared = 2.0 * at.noise * (at.noise_rate - at.signal_rate / at.signal * at.noise)
        # noise = sqrt(1 - signal^2) starts with an infinite slope: there
        # noise noise' = -signal signal'.
        steep = ~jnp.isfinite(at.noise_rate)
        return jnp.where(steep, -2.0 * at.signal * at.signal_rate, squared)


def as_times(t: Any) -> Array:
    """Times as floating-point numbers."""
    t = jnp.asarray(t)
    return t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(jnp.result_type(float))


def check_times(t: Any) -> None:
    """Raises `DgmjaxError` for times outside of [0, 1], where they are known (not under `jit`)."""
    if isinstance(t, jax.core.Tracer):
        return
    given = np.asarray(t)
    wrong = given[~((given >= 0.0) & (given <= 1.0))]
    remedy = "0 is the data and 1 is noise."
    require(wrong.size == 0, "t", "must be in [0, 1]", wrong.ravel()[:3].tolist(), remedy)


def check_time_shape(t: Any, x: Any, name: str = "t") -> None:
    """Raises `DgmjaxError` unless times are one number, or one for each row of `x`."""
    shape, whole = jnp.shape(t), jnp.shape(x)
    fits = shape == whole[: len(shape)]
    rule = f"must have the first axes of the shape {whole} that it belongs to, or none"
    require(fits, name, rule, f"shape {shape}")


@dataclass(frozen=True)
class _Preserving:
    schedule: Schedule

    def __call__(self, t: Array) -> tuple[Array, Array]:
        log = self.schedule(t)
        return jnp.exp(log), jnp.sqrt(-jnp.expm1(2.0 * log))


@dataclass(frozen=True)
class _SubPreserving:
    schedule: Schedule

    def __call__(self, t: Array) -> tuple[Array, Array]:
        log = self.schedule(t)
        return jnp.exp(log), -jnp.expm1(2.0 * log)


@dataclass(frozen=True)
class _Exploding:
    smallest: float
    largest: float

    def __call__(self, t: Array) -> tuple[Array, Array]:
        log_range = np.log(self.largest / self.smallest)
        return jnp.ones_like(t), self.smallest * jnp.exp(t * log_range)


@dataclass(frozen=True)
class _OfLogSNR:
    log_snr: Callable[[Array], Array]

    def __call__(self, t: Array) -> tuple[Array, Array]:
        return _Preserving(lambda t: log_signal(self.log_snr(t)))(t)


def _line(t: Array) -> tuple[Array, Array]:
    return 1.0 - t, t


def _quarter_circle(t: Array) -> tuple[Array, Array]:
    return quarter_cosine(t), jnp.sin(jnp.pi / 2 * t)


def quarter_cosine(t: Array) -> Array:
    """cos(pi t / 2) of times in [0, 1]: from 1 to 0, both exact, as is the slope at t = 0."""
    # The rounded pi / 2 is past the zero of the cosine, so that the late half is a sine.
    early, late = jnp.cos(jnp.pi / 2 * t), jnp.sin(jnp.pi / 2 * (1.0 - t))
    return jnp.where(t < 0.5, early, late)


def variance_preserving(schedule: Schedule | None = None) -> GaussianProcess:
    """signal = exp(schedule(t)), noise^2 = 1 - signal^2: data of variance 1 keep it.

    Args:
      schedule: log signal; `schedules.Linear()` if None.
    """
    # At t = 0 the derivative of noise = sqrt(1 - signal^2) is infinite.
    return GaussianProcess(
        _Preserving(schedule or Linear()), (1e-4, 1.0 - 1e-3), (1e-4, 1.0 - 1e-3)
    )


def of_log_snr(log_snr: Callable[[Array], Array]) -> GaussianProcess:
    """The variance-preserving process of a log signal-to-noise ratio, such as a learnt one.

    signal^2 = sigmoid(log_snr(t)), noise^2 = sigmoid(-log_snr(t)).
    """
    return GaussianProcess(_OfLogSNR(log_snr), (0.0, 1.0), (0.0, 1.0))


def sub_variance_preserving(schedule: Schedule | None = None) -> GaussianProcess:
    """signal = exp(schedule(t)), noise = 1 - signal^2: less noise than `variance_preserving`."""
    return GaussianProcess(_SubPreserving(schedule or Linear()), (1e-3, 1.0), (1e-3, 1.0))


def variance_exploding(smallest: float = 0.01, largest: float = 50.0) -> GaussianProcess:
    """signal = 1, noise = smallest (largest / smallest)^t.

    Args:
      smallest, largest: positive; the largest is about the largest distance of two examples.
    """
    sound = 0 < smallest < largest
    require(sound, "smallest", f"must be positive and below largest = {largest}", smallest)
    return GaussianProcess(_Exploding(smallest, largest), (0.0, 1.0), (0.0, 1.0))


def straight() -> GaussianProcess:
    """x_t = (1 - t) x_0 + t eps: the straight line of flow matching and rectified flow.

    Source: Lipman, Chen, Ben-Hamu, Nickel & Le, "Flow Matching for Generative Modeling", 2023,
    section 4.1 (optimal-transport path), https://arxiv.org/abs/2210.02747.
    """
    return GaussianProcess(_line)


def trigonometric() -> GaussianProcess:
    """x_t = cos(pi t / 2) x_0 + sin(pi t / 2) eps: variance preserving, and smooth at both ends.

    Source: Albergo & Vanden-Eijnden, "Building Normalizing Flows with Stochastic Interpolants",
    2023, Eq. 5, https://arxiv.org/abs/2209.15571.
    """
    return GaussianProcess(_quarter_circle)


PROCESSES: dict[str, Callable[..., GaussianProcess]] = {
    "variance_preserving": variance_preserving,
    "sub_variance_preserving": sub_variance_preserving,
    "variance_exploding": variance_exploding,
    "straight": straight,
    "trigonometric": trigonometric,
}
"""Processes by name."""


def process_of(name: str, **options: Any) -> GaussianProcess:
    """The process of a name in `PROCESSES`."""
    if name not in PROCESSES:
        raise DgmjaxError(f"`process` must be one of {sorted(PROCESSES)}; got {name!r}.")
    return PROCESSES[name](**options)
