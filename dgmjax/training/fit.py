"""Training of a learner on arrays, resumable to the bit."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.batches import Batches
from dgmjax.data.fingerprints import digest_of
from dgmjax.data.transform import Transform
from dgmjax.devices import processes
from dgmjax.devices.mesh import StateLayout
from dgmjax.errors import TrainingDiverged, require, require_sizes
from dgmjax.runs.folder import RunFolder
from dgmjax.training.checks import check_training_data
from dgmjax.training.execution import Execution, Validation
from dgmjax.training.interrupt import Interruption
from dgmjax.training.learner import Learner, State
from dgmjax.training.loop import FitResult, Loop, Ran, Request, Schedule, timed
from dgmjax.training.progress import Progress
from dgmjax.training.steps import ResidentSteps, StreamedSteps, run_seeds
from dgmjax.training.store import Store
from dgmjax.types import Key, PyTree

__all__ = ["FitResult", "Job", "fit", "fit_together"]

RESIDENT_BYTES = 2 * 1024**3
"""Data up to this size stay on the device unless `execution.stream` says otherwise."""


def fit(
    learner: Learner,
    data: Mapping[str, np.ndarray],
    *,
    key: Key,
    steps: int,
    batch_size: int,
    transform: Transform | None = None,
    run: RunFolder | None = None,
    execution: Execution | None = None,
    validation: Validation | None = None,
    start: Callable[[PyTree], PyTree] | None = None,
    quotas: Sequence[int] | None = None,
) -> FitResult:
    """Trains `learner` on `data` for `steps` steps, or resumes the run in `run`.

    Chunks of steps are one compiled call over data that stay on the device, or batches come from
    the host (`execution.stream`); both see the same batches, a pure function of (key, step). Each
    batch is divided over `execution.mesh`, the state is whole on every device of its axis `data`
    and divided over those of `fsdp`; buffers are donated. A second call with the same learner
    object does not compile again. Several processes (`devices.processes`) call it with the same
    arguments.

    Args:
      learner: see `training.learner.Learner`. The gradient strategy is that of `execution`, or, if
        its options are at their defaults, that of `learner.with_gradients(...)`.
      data: training arrays of equal leading length; `x` is the data.
      key: of the whole run: initialisation, order of the data, transforms and steps.
      steps: total number of steps (of the run, not of this call).
      batch_size: examples per batch; any number, even one that the devices do not divide.
      transform: of a batch, `(batch, key) -> batch`, applied inside the compiled step.
      run: folder for metrics and checkpoints; nothing is written if None.
      execution: devices, gradients, logs, checkpoints, faults; the defaults if None.
      validation: evaluation during training; none if None.
      start: from the learner's initial parameters to those that training begins with (a pretrained
        encoder, clusters fitted to codes); not called when a run is resumed. Its time counts as
        training. Every process calls it, and must get the same, which is checked.
      quotas: rows of a batch from each group of `data["group"]`, see `data.Batches`.

    Raises:
      TrainingDiverged: `max_skipped` non-finite steps in a row, and no rewind left.
      HardwareFault: the same step gave different bits.
      DgmjaxError: arguments or data that do not fit.
      RunError: `run` has more steps behind it, or another key, batch size or data.

    >>> import optax
    >>> from dgmjax import models, objectives
    >>> from dgmjax.training import Execution, Player, gradient_learner
    >>> nll = objectives.negative_log_likelihood
    >>> learner = gradient_learner(models.MAF(2, 1, (4,)), {"model": Player(nll, optax.sgd(0.1))})
    >>> points = {"x": np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)}
    >>> settings = Execution(log_every=5)
    >>> result = fit(learner, points, key=jax.random.key(0), steps=10, batch_size=8,
    ...              execution=settings)
    >>> [line["step"] for line in result.history]
    [5, 10]
    """
    job = Job(key, run, validation or Validation(), start)
    loop, init_key = _loop(learner, data, job, steps, batch_size, transform, execution, quotas)
    # Whatever ends training, checkpoints in the background are written before the process goes on.
    try:
        with Interruption() as interruption:
            loop.start(init_key)
            return loop.train(interruption)
    finally:
        loop.close()


@dataclasses.dataclass(frozen=True)
class Job:
    """What is a seed's own among several that are trained together: see `fit` for the four."""

    key: Key
    run: RunFolder | None = None
    validation: Validation = dataclasses.field(default_factory=Validation)
    start: Callable[[PyTree], PyTree] | None = None


def fit_together(
    learner: Learner,
    data: Mapping[str, np.ndarray],
    jobs: Sequence[Job],
    *,
    steps: int,
    batch_size: int,
    transform: Transform | None = None,
    execution: Execution | None = None,
    quotas: Sequence[int] | None = None,
) -> list[FitResult]:
    """`fit` of several seeds on the same data, whose steps are one compiled program.

    The steps are vectorised over the seeds (`jax.vmap`), on one device. Each seed has its own order
    of the data, noise, logs, checkpoints and best step, as if it were alone; numbers agree with
    those of `fit` to the rounding of its matrix products. A run that was interrupted may also be
    resumed alone, and a seed that stops early leaves the others. Seconds are those of a seed's
    share.

    Raises:
      TrainingDiverged: a seed had too many non-finite steps in a row; after the others' end.
      DgmjaxError: several devices, streamed data or replayed steps are asked for.
    """
    require(len(jobs) >= 1, "jobs", "must hold at least one seed", "none")
    execution = execution or Execution()
    remedy = "Train the seeds one after the other."
    devices = execution.make_mesh().size
    require(devices == 1, "mesh", "must be one device for seeds together", devices, remedy)
    replays = execution.replay_every
    require(replays is None, "replay_every", "must be None for seeds together", replays, remedy)
    loops, rounds = [], []
    with contextlib.ExitStack() as closing, Interruption() as interruption:
        for number, job in enumerate(jobs):
            one = dataclasses.replace(execution, quiet=execution.quiet or number > 0)
            loop, init_key = _loop(learner, data, job, steps, batch_size, transform, one, quotas)
            resident = isinstance(loop.runner, ResidentSteps)
            require(resident, "stream", "must be False for seeds together", True, remedy)
            closing.callback(loop.close)
            loop.start(init_key)
            loops.append(loop)
            rounds.append(loop.rounds(interruption))
        return _in_lockstep(loops, rounds)


def _in_lockstep(loops: Sequence[Loop], rounds: Sequence[Any]) -> list[FitResult]:
    """Drives loops whose next step is the same; those that are behind catch up first."""
    waiting: dict[int, Request] = {}
    results: dict[int, FitResult] = {}
    failures: list[TrainingDiverged] = []

    def advance(number: int, ran: Ran | None) -> None:
        waiting.pop(number, None)
        try:
            waiting[number] = rounds[number].send(ran)
        except StopIteration as end:
            results[number] = end.value
        except TrainingDiverged as failure:
            failures.append(failure)

    for number in range(len(rounds)):
        advance(number, None)
    while waiting:
        step = min(request.step for request in waiting.values())
        group = [number for number, request in waiting.items() if request.step == step]
        for number, ran in zip(group, _ran_together(loops, waiting, group), strict=True):
            advance(number, ran)
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(rounds))]


def _ran_together(
    loops: Sequence[Loop], waiting: Mapping[int, Request], group: Sequence[int]
) -> list[Ran]:
    requests = [waiting[number] for number in group]
    runners: Any = [loops[number].runner for number in group]
    states = [request.state for request in requests]
    sums = [request.sums for request in requests]
    count = min(request.limit for request in requests)

    def run(request: Request) -> tuple[Any, Any, int]:
        return run_seeds(runners, states, sums, request.step, count)

    ran = timed(run, requests[0])
    share = ran.seconds / len(group)
    pairs = zip(cast("list[State]", ran.state), cast("list[PyTree]", ran.sums), strict=True)
    return [Ran(state, total, ran.taken, share) for state, total in pairs]


def _loop(
    learner: Learner,
    data: Mapping[str, np.ndarray],
    job: Job,
    steps: int,
    batch_size: int,
    transform: Transform | None,
    execution: Execution | None,
    quotas: Sequence[int] | None,
) -> tuple[Loop, Key]:
    """The loop of a call of `fit`, and the key of its initial state."""
    execution, validation, run = execution or Execution(), job.validation, job.run
    require_sizes(steps=steps, batch_size=batch_size)
    rewinds = execution.rewinds
    require(rewinds == 0 or run is not None, "rewinds", "must be 0 without a `run`", rewinds)
    mesh = execution.make_mesh()
    if execution.chooses_gradients:
        learner = learner.with_gradients(execution.gradients(mesh))
    learner.gradients.check(batch_size)
    check_training_data(learner.module, data, transform)
    # Keys of their own: the order of the data does not change with what a model draws at its start.
    init_key, order_key, data_key = jax.random.split(job.key, 3)
    order_seed = int(jax.random.bits(order_key))
    batches = Batches(data, batch_size, order_seed, quotas=quotas)
    if run is not None:
        run.check_steps(steps)
        _note(run, job.key, batch_size, data)
    stream = execution.stream
    if stream is None:
        stream = sum(array.nbytes for array in data.values()) > RESIDENT_BYTES
    layout = StateLayout(mesh, tuple(execution.fsdp_rules))
    runner = (StreamedSteps if stream else ResidentSteps)(
        learner, transform, layout, batches, data_key
    )
    epoch = max(1, batches.steps_per_epoch // learner.batches_per_step)
    loop = Loop(
        learner=learner,
        runner=runner,
        schedule=Schedule.of(steps, execution, validation, epoch),
        execution=execution,
        validation=validation,
        store=Store.of(run, execution),
        progress=Progress(
            steps,
            batch_size * learner.batches_per_step,
            quiet=execution.quiet or not processes.is_main(),
        ),
        begin=None if job.start is None else partial(begun_with, job.start),
    )
    return loop, init_key


def _note(run: RunFolder, key: Key, batch_size: int, data: Mapping[str, np.ndarray]) -> None:
    """Keeps what a run is a function of, or compares it with what the run has kept."""
    known = {"batch_size": batch_size, "key": np.asarray(jax.random.key_data(key)).tolist()}
    kept = run.options.get("training") or {}
    # An experiment keeps the fingerprints of all of its splits.
    if "data" in kept or "data" not in run.options:
        known["data"] = digest_of(data)
    # One process writes; where there is something to compare, all of them stop at a difference.
    if kept or processes.is_main():
        run.note_training(known)


def begun_with(start: Callable[[PyTree], PyTree], state: State) -> State:
    """The initial state with other parameters, of the same names, shapes and types."""
    params = start(jax.device_get(state.params))
    given, wanted = jax.eval_shape(lambda: params), jax.eval_shape(lambda: state.params)
    rule = "must return parameters of the names, shapes and types that it is given"
    require(given == wanted, "start", rule, given, f"Those are {wanted}.")
    params = jax.tree.map(jnp.asarray, params)
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, ema=ema)
