"""Forecast of a run: parameters, memory and time, from a few steps that leave nothing behind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgmjax.lab.experiment import Experiment
from dgmjax.training.execution import Execution
from dgmjax.training.fit import fit

if TYPE_CHECKING:
    from dgmjax.lab.session import TrainRequest

STEPS = 40
"""Steps that are timed; the first call, which compiles, is timed apart."""


@dataclass(frozen=True)
class Forecast:
    """What training would take.

    Attributes:
      parameters: numbers that are trained or averaged over batches.
      state_bytes: of parameters, averages and optimiser.
      data_bytes: of the training split, which stays on the device where it fits.
      working_bytes: of one step beyond these; None where the compiler does not say.
      compile_seconds: of the first step.
      step_seconds: of a step.
      steps: of the run.
    """

    parameters: int
    state_bytes: int
    data_bytes: int
    working_bytes: int | None
    compile_seconds: float
    step_seconds: float
    steps: int

    @property
    def seconds(self) -> float:
        """Of all steps and the compilation; measuring and drawing come on top."""
        return self.compile_seconds + self.steps * self.step_seconds

    def lines(self) -> list[str]:
        """The forecast in words, one line each."""
        working = "not known" if self.working_bytes is None else _bytes(self.working_bytes)
        return [
            f"parameters     {self.parameters:,}",
            f"memory         {_bytes(self.state_bytes)} parameters and optimiser, "
            f"{_bytes(self.data_bytes)} data, {working} for a step",
            f"time           {1e3 * self.step_seconds:.3g} ms a step, {self.steps:,} steps: "
            f"{_duration(self.seconds)}, {self.compile_seconds:.1f} s of it compilation",
        ]


def forecast(request: "TrainRequest") -> Forecast:
    """Trains for `STEPS` steps in memory, on the devices and with the options of the request."""
    experiment = request.absolute().build()
    experiment.check()
    learner = experiment.learner()
    split = experiment.dataset.splits["train"]
    batch = {name: array[: experiment.batch_size] for name, array in split.items()}
    state = jax.eval_shape(
        lambda key: learner.init(key, experiment.transform(batch, key)), jax.random.key(0)
    )
    result = _few_steps(experiment, request.execution)
    return Forecast(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        state_bytes=sum(_size(leaf) for leaf in jax.tree.leaves(state)),
        data_bytes=sum(array.nbytes for array in split.values()),
        working_bytes=_working_bytes(learner, experiment, state, batch),
        compile_seconds=result.compile_seconds,
        step_seconds=result.seconds / (STEPS - 1),
        steps=experiment.steps if request.steps is None else request.steps,
    )


def write_profile(experiment: Experiment, folder: Path, execution: Execution) -> Path:
    """A trace of `STEPS` steps, for Perfetto or TensorBoard; compiled before it begins.

    Source: JAX documentation, "Profiling computation",
    https://docs.jax.dev/en/latest/profiling.html.
    """
    _few_steps(experiment, execution)
    with jax.profiler.trace(str(folder)):
        _few_steps(experiment, execution)
    return folder


def _few_steps(experiment: Experiment, execution: Execution) -> Any:
    quiet = replace(
        execution, quiet=True, log_every=STEPS, checkpoint_every=None, rewinds=0, replay_every=None
    )
    return fit(
        experiment.learner(),
        experiment.dataset.splits["train"],
        key=jax.random.key(0),
        steps=STEPS,
        batch_size=experiment.batch_size,
        transform=experiment.transform,
        execution=quiet,
    )


def _working_bytes(
    learner: Any, experiment: Experiment, state: Any, batch: Mapping[str, np.ndarray]
) -> int | None:
    per_step = learner.batches_per_step
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: experiment.transform(batch, key))
    if per_step > 1:
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct((per_step, *a.shape), a.dtype), shapes)
    analysis = jax.jit(learner.step).lower(state, shapes).compile().memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def _size(leaf: Any) -> int:
    itemsize = 8 if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize
    return int(leaf.size * itemsize)


def _bytes(number: float) -> str:
    """A number of bytes in words.

    >>> _bytes(2_500_000), _bytes(900)
    ('2.5 MB', '900 B')
    """
    power = min(int(math.log(max(number, 1), 1000)), 4)
    return f"{number / 1000**power:.3g} {['B', 'kB', 'MB', 'GB', 'TB'][power]}"


def _duration(seconds: float) -> str:
    """A number of seconds in words.

    >>> _duration(42.3), _duration(600.0), _duration(9000.0)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
