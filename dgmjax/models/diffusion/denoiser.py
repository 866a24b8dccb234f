"""Denoising model: diffusion, flow matching and continuous flows as one density model."""

import math
from typing import Any, Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.bijectors.conditioner import Conditioner
from dgmjax.distributions.base import Distribution, check_temperature
from dgmjax.distributions.transformed import log_prob_in_batch
from dgmjax.errors import as_sizes, require
from dgmjax.inference.denoising import Denoising, Sampler, run_sampler
from dgmjax.inference.ode import Divergence, Flowed, Solver, flow_and_log_det
from dgmjax.models.base import DensityModel
from dgmjax.nn.time_embedding import checked_labels
from dgmjax.noising.bound import Terms, variational_bound
from dgmjax.noising.conversions import Kind, Parts, check_kind, convert, from_parts, to_parts
from dgmjax.noising.gaussian import GaussianProcess, aligned, check_times, of_log_snr, straight
from dgmjax.noising.preconditioning import Preconditioning
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key

EXACT_DIMENSIONS = 64
"""Dimensions up to which the trace of the Jacobian is exact unless probes are asked for."""

DEFAULT_PROBES = 2
"""Random probes of the trace beyond that. One example's density is then a noisy number."""


class Denoiser(DensityModel):
    """A network over noisy data x_t that, with the process which made them, is a density of x.

    Time runs from the data (t = 0) to noise (t = 1). Whatever the network predicts gives the
    velocity v(x, t), whose ODE dx/dt = v turns data into the base distribution:

    log p(x) = log p_base(x_1) + int_0^1 tr dv/dx dt.

    Trained by `objectives.flow_matching`, it is flow matching; by `objectives.ddpm` or
    `objectives.diffusion_bound`, a diffusion model; by `objectives.continuous_flow`, the likelihood
    along the ODE, a continuous normalizing flow. Density, bound and samplers are the same.

    Up to 64 dimensions the trace is exact. Beyond them it is estimated by `solver.probes` random
    probes, 2 unless more are asked for: the mean over a test set is unbiased, but log p of a single
    example is noisy, and `log_prob_and_error` says how much.

    Attributes:
      event_shape: of x.
      network: `network(x, t, context=None)` -> array of the shape of x; t broadcasts to its batch.
      process: the process; or a module from t to the log signal-to-noise ratio, such as
        `nn.LogSNR`, for a learnt variance-preserving one.
      predicts: what the network returns.
      preconditioning: of the network's input and output, which then is a data prediction.
      base: density module at t = 1, over `event_shape`; N(0, noise(1)^2) if None.
      num_classes: classes of the context, whole numbers with -1 for none; 0 for no context.
      guidance: of `sample`: 1 for the conditional model, more to exaggerate what the class changes.
      sampler: of `sample`.
      solver: of `log_prob`.
      data_range: least and greatest value of the data. Samplers clip the data that they expect to
        it, as DDPM does, and densities do not. Near t = 1 an error of the predicted noise is one of
        the data that is hundreds of times as large, from which samplers hardly recover.
      network_time: what the network is told: t, or the share of the log signal-to-noise ratio of
        the process's `bounded_span` that is lost, "log_snr", in which schedules do not crowd the
        least noise into the first hundredths. Of a learnt process it is always the latter.

    Sources: Song et al., "Score-Based Generative Modeling through Stochastic Differential
    Equations", 2021, section 4.3, https://arxiv.org/abs/2011.13456; Lipman, Chen, Ben-Hamu, Nickel
    & Le, "Flow Matching for Generative Modeling", 2023, https://arxiv.org/abs/2210.02747; Kingma,
    Salimans, Poole & Ho, "Variational Diffusion Models", 2021, https://arxiv.org/abs/2107.00630.

    >>> from dgmjax.nn import TimeMLP
    >>> model = Denoiser((2,), TimeMLP((8,)))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((3, 2)), method="log_prob")
    >>> model.apply(variables, jnp.zeros((3, 2)), method="log_prob").shape
    (3,)
    >>> model.apply(variables, jax.random.key(0), (5,), method="sample").shape
    (5, 2)
    """

    event_shape: tuple[int, ...]
    network: nn.Module
    process: Any = straight()
    predicts: Kind = "velocity"
    preconditioning: Preconditioning | None = None
    base: nn.Module | None = None
    num_classes: int = 0
    guidance: float = 1.0
    sampler: Sampler = Sampler()
    solver: Solver = Solver()
    data_range: tuple[float, float] | None = None
    network_time: Literal["time", "log_snr"] = "time"

    def setup(self):
        as_sizes("event_shape", self.event_shape)
        check_kind(self.predicts)
        rule = "must be 'time' or 'log_snr'"
        require(
            self.network_time in ("time", "log_snr"), "network_time", rule, repr(self.network_time)
        )
        require(self.num_classes >= 0, "num_classes", "must be at least 0", self.num_classes)
        told = self.num_classes > 0 or _is_one(self.guidance)
        require(told, "guidance", "must be 1 without classes", self.guidance)
        known = self.preconditioning is None or self.predicts == "data"
        require(known, "predicts", "must be 'data' with a preconditioning", repr(self.predicts))
        rises = self.data_range is None or self.data_range[0] < self.data_range[1]
        require(rises, "data_range", "must be None or (least, greatest)", self.data_range)

    def data_rules(self, batch: Any) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        of_label = {"label": range(self.num_classes)} if self.num_classes else {}
        return {"x": "real", **of_label}

    @property
    def path(self) -> GaussianProcess:
        """The process, also where its schedule is learnt."""
        known = isinstance(self.process, GaussianProcess)
        return self.process if known else of_log_snr(self.process)

    @property
    def event_ndims(self) -> int:
        """Rank of x."""
        return len(self.event_shape)

    @property
    def num_dims(self) -> int:
        """Number of dimensions of x."""
        return math.prod(self.event_shape)

    @property
    def ends(self) -> tuple[float, float]:
        """Times between which the ODE and the samplers run."""
        # Noise and data determine each other only where there is some of both.
        return self.path.span if self.predicts == "velocity" else self.path.bounded_span

    def __call__(self, context: Array | None = None) -> "Denoised":
        """The distribution of x, given the classes `context[...]`."""
        if self.is_initializing():
            self._make(jnp.zeros((1, *self.event_shape)))
        module, variables = self.unbind()
        return Denoised(Conditioner(module, variables), tuple(self.event_shape), context)

    def predict(
        self,
        x: Array,
        t: Array | float,
        context: Array | None = None,
        kind: Kind | None = None,
        guidance: Array | float = 1.0,
    ) -> Array:
        """Score, noise, data or velocity at `x[*batch, *event]`, of the shape of x.

        Args:
          t: in [0, 1], broadcast to the batch.
          context: classes, -1 for none.
          kind: what to return; `predicts` if None.
          guidance: w of u + w (c - u), with c the prediction of the class and u that of none.
        """
        check_times(t)
        x = self._checked(jnp.asarray(x))
        # Of whole numbers, predictions would be cut to whole numbers.
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else as_float(x)
        t = _time(t, x)
        require(
            context is None or self.num_classes > 0,
            "context",
            "must be None without classes",
            "labels",
            "`num_classes` says how many there are.",
        )
        rule = "must be 1 without a context"
        require(context is not None or _is_one(guidance), "guidance", rule, guidance)
        at = self.path.at(t).like(x)
        value = self._prediction(x, t, context)
        if context is not None and not _is_one(guidance):
            none = self._prediction(x, t, None)
            value = none + guidance * (value - none)
        return convert(value, x, at, self.predicts, self.predicts if kind is None else kind)

    def _prediction(self, x: Array, t: Array, context: Array | None) -> Array:
        given = () if context is None else (context,)
        if self.preconditioning is None:
            return self._called(x, self._network_time(t), *given).astype(x.dtype)
        of, (signal, noise) = self.preconditioning, self.path.coefficients(t)
        scale = noise / signal
        skip, out, inner = (
            aligned(factor(scale, of.deviation), x) for factor in (of.skip, of.out, of.inner)
        )
        clean = x / aligned(signal, x)
        found = self._called(inner * clean, of.time(scale, of.deviation), *given)
        return skip * clean + out * found

    def _called(self, x: Array, *arguments: Any) -> Array:
        found = as_float(self.network(x, *arguments))
        # A smaller output would be broadcast.
        rule = f"must return the shape of x, {x.shape}"
        remedy = "Leave out `num_outputs`."
        require(found.shape == x.shape, "network", rule, f"shape {found.shape}", remedy)
        return found

    def _network_time(self, t: Array) -> Array:
        if isinstance(self.process, GaussianProcess):
            if self.network_time == "time":
                return t
            span = self.process.bounded_span
            first, last = (self.process.log_snr(end) for end in span)
            return (first - self.process.log_snr(jnp.clip(t, *span))) / (first - last)
        # The level of the noise, not the time: a schedule that moves leaves the network alone.
        first, last = self.process.first, self.process.last
        return (first - self.process(t)) / (first - last)

    def parts(self, x: Array, t: Array | float, context: Array | None = None) -> Parts:
        """Expected data and noise at x."""
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else as_float(x)
        value = self.predict(x, t, context)
        at = self.path.at(_time(t, x)).like(x)
        return to_parts(self.predicts, x, value, at)

    def score(self, x: Array, t: Array | float, context: Array | None = None) -> Array:
        """grad log p_t(x)."""
        return self.predict(x, t, context, "score")

    def base_at_end(self, context: Array | None = None) -> Any:
        """The distribution at t = 1."""
        if self.base is not None:
            found, shape = self.base(context), tuple(self.event_shape)
            rule = f"must have the event {shape} of the model"
            require(tuple(found.event_shape) == shape, "base", rule, found.event_shape)
            return found
        scale = jnp.broadcast_to(
            self.path.coefficients(jnp.asarray(self.ends[1]))[1], self.event_shape
        )
        return distrax.Independent(distrax.Normal(jnp.zeros_like(scale), scale), self.event_ndims)

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x | context) in nats, along the probability-flow ODE; probes have a fixed key."""
        return self.log_prob_and_error(x, jax.random.key(0), context)[0]

    def log_prob_and_error(
        self,
        x: Array,
        key: Key,
        context: Array | None = None,
        *,
        start: float | None = None,
        solver: Solver | None = None,
    ) -> tuple[Array, Array | None]:
        """log p(x) in nats, and its standard error where at least two probes estimate the trace.

        Args:
          x: `[*batch, *event]`.
          key: of the probes.
          start: the time of x, that of the data if None.
          solver: another than the model's.
        """
        x = self._checked(as_float(x))
        if self.is_initializing():
            self._make(x, context)
            return log_prob_in_batch(self.base_at_end(None), x), None
        flowed = self.to_noise(x, key, context, start=start, solver=solver)
        base = log_prob_in_batch(self.base_at_end(None), flowed.x)
        return base + flowed.log_det, flowed.standard_error

    def to_noise(
        self,
        x: Array,
        key: Key,
        context: Array | None = None,
        *,
        start: float | None = None,
        solver: Solver | None = None,
        times: Array | None = None,
    ) -> Flowed:
        """Where the ODE carries data, with the log-determinant of its flow.

        Args:
          times: ends of the steps, in place of equal ones.
        """
        x, solver = as_float(x), self.solver if solver is None else solver
        context = self._classes(context)
        exact = solver.probes is None and self.num_dims <= EXACT_DIMENSIONS
        probes = None if exact else solver.probes or DEFAULT_PROBES
        first, last = self.ends
        if times is None:
            start = first if start is None else start
            spacing = solver.spacing
            if spacing == "auto":
                spacing = "time" if self.predicts == "velocity" else "log_snr"
            times = self.path.steps(start, last, solver.num_steps, spacing)
        return flow_and_log_det(
            lambda x, t: self.predict(x, t, context, "velocity"),
            x,
            times.astype(x.dtype),
            solver.method,
            Divergence(probes, key),
            event_ndims=self.event_ndims,
            rematerialise=solver.rematerialise,
        )

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        temperature: Array | float = 1.0,
        guidance: Array | float | None = None,
        sampler: Sampler | None = None,
    ) -> Array:
        """Samples of shape `sample_shape + batch_shape + event_shape`.

        Args:
          context: classes, whose shape is the batch. A model of classes draws them uniformly where
            none are given.
          temperature: factor of the scale of all noise.
          guidance: the model's if None.
          sampler: another than the model's.
        """
        check_temperature(temperature, zero=True)
        key, label_key, base_key = jax.random.split(key, 3)
        if context is None and self.num_classes:
            context = jax.random.randint(label_key, sample_shape, 0, self.num_classes)
            sample_shape = ()
        batch = sample_shape + (() if context is None else jnp.shape(context))
        x = temperature * self.base_at_end(None).sample(seed=base_key, sample_shape=batch)
        return self.to_data(key, x, context, temperature, guidance, sampler)

    def to_data(
        self,
        key: Key,
        x: Array,
        context: Array | None = None,
        temperature: Array | float = 1.0,
        guidance: Array | float | None = None,
        sampler: Sampler | None = None,
    ) -> Array:
        """Samples made of noise `x[*batch, *event]` at t = 1."""
        chosen: Any = self.sampler if sampler is None else sampler
        x = as_float(x)  # times near 1 are 1 in half precision
        context = self._classes(context)
        weight: Any = guidance
        if weight is None:
            weight = 1.0 if context is None else self.guidance
        if self.is_initializing():
            self._make(x, context)
            return x
        model = Denoising(
            self.path,
            lambda x, t: self._expected(x, t, context, weight),
            lambda x, t: self._direction(x, t, context, weight),
            temperature,
        )
        return run_sampler(chosen, model, key, x, self.ends)

    def _expected(self, x: Array, t: Array, context: Array | None, weight: Any) -> Parts:
        """Data, within their range, and the noise that makes x of them."""
        value, at = self.predict(x, t, context, guidance=weight), self.path.at(t).like(x)
        parts = to_parts(self.predicts, x, value, at)
        if self.data_range is None:
            return parts
        data, noisy = jnp.clip(parts.data, *self.data_range), at.noise > 0.0
        noise = (x - at.signal * data) / jnp.where(noisy, at.noise, 1.0)
        return Parts(data, jnp.where(noisy, noise, parts.noise))

    def _direction(self, x: Array, t: Array, context: Array | None, weight: Any) -> Array:
        if self.data_range is None:
            return self.predict(x, t, context, "velocity", weight)
        parts = self._expected(x, t, context, weight)
        return from_parts("velocity", parts, self.path.at(t).like(x))

    def num_calls(self, sampler: Sampler | None = None) -> int:
        """Network calls of a sample, twice as many with guidance."""
        guided = bool(self.num_classes) and not _is_one(self.guidance)
        return (self.sampler if sampler is None else sampler).num_calls * (1 + guided)

    def bound(self, x: Array, key: Key, context: Array | None = None, **options: Any) -> Array:
        """A lower bound on log p(x) in nats, by one draw; options are those of `bound_terms`."""
        return -self.bound_terms(x, key, context, **options).total

    def bound_terms(
        self, x: Array, key: Key, context: Array | None = None, **options: Any
    ) -> Terms:
        """The variational bound of the generative model that denoises step by step.

        Options are those of `noising.variational_bound`: `num_steps`, `times`, `control_variate`.
        """
        require(self.base is None, "base", "must be None for a bound", type(self.base).__name__)
        noise = lambda x, t: self.predict(x, t, context, "noise")
        x = self._checked(as_float(x))
        return variational_bound(self.path, noise, x, key, event_ndims=self.event_ndims, **options)

    def _make(self, x: Array, context: Array | None = None) -> None:
        """Makes all parameters, outside of any loop."""
        self.predict(x, jnp.full((), sum(self.ends) / 2), context)

    def _classes(self, context: Array | None) -> Array | None:
        # Checked here: within a loop over times they are no longer known.
        if context is None or not self.num_classes:
            return context
        return checked_labels(context, self.num_classes)

    def _checked(self, x: Array) -> Array:
        require_event(x, self.event_shape)
        return x


class Denoised(Distribution):
    """The distribution of a `Denoiser`, as a pytree; see there.

    Args:
      model: the denoiser and its variables.
      event_shape: of x.
      context: classes `[*batch]`, or None.
    """

    def __init__(self, model: Conditioner, event_shape: tuple[int, ...], context: Array | None):
        super().__init__()
        self.model, self._event_shape, self.context = model, event_shape, context

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return () if self.context is None else jnp.shape(self.context)

    def _call(self, method: str, *arguments: Any) -> Any:
        return self.model.module.apply(
            self.model.variables, *arguments, self.context, method=method
        )

    def log_prob(self, value: Array) -> Array:
        return self._call("log_prob", value)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self._call("sample", key, sample_shape)


def _time(t: Array | float, x: Array) -> Array:
    """t in the precision of x, float32 at least: float64 times would widen all that follows."""
    return jnp.asarray(t, jnp.promote_types(x.dtype, jnp.float32))


def _is_one(weight: Any) -> bool:
    return isinstance(weight, float | int) and weight == 1.0
