"""`fit`: training from a learner and arrays, resumable to the bit."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dgmjax.data.batches import Batches
from dgmjax.data.transform import Transform
from dgmjax.devices import processes
from dgmjax.devices.mesh import Rules, StateLayout, check_divides, default_mesh
from dgmjax.errors import require
from dgmjax.runs.folder import RunFolder
from dgmjax.training.checks import check_training_data
from dgmjax.training.interrupt import Interruption
from dgmjax.training.learner import Learner, State
from dgmjax.training.loop import FitResult, Loop, Schedule
from dgmjax.training.progress import Progress
from dgmjax.training.replay import Replay
from dgmjax.training.steps import ResidentSteps, StreamedSteps
from dgmjax.training.store import Store
from dgmjax.types import Key, PyTree

__all__ = ["FitResult", "fit"]

RESIDENT_BYTES = 2 * 1024**3
"""Data up to this size stay on the device unless `stream` says otherwise."""


def fit(
    learner: Learner,
    data: Mapping[str, np.ndarray],
    *,
    key: Key,
    steps: int,
    batch_size: int,
    transform: Transform | None = None,
    mesh: Mesh | None = None,
    fsdp_rules: Rules = (),
    stream: bool | None = None,
    log_every: int = 100,
    evaluate_every: int | None = None,
    checkpoint_every: int | None = None,
    validate: Callable[[State], Mapping[str, float]] | None = None,
    select: str = "loss",
    patience: int | None = None,
    on_evaluation: Callable[[State, int], None] | None = None,
    max_skipped: int = 20,
    rewinds: int = 0,
    replay_every: int | None = None,
    start: Callable[[PyTree], PyTree] | None = None,
    run: RunFolder | None = None,
    background_saves: bool = False,
    keep: int = 2,
    keep_every: int | None = None,
    on_disk_error: Literal["stop", "continue"] = "stop",
    quiet: bool = True,
) -> FitResult:
    """Trains `learner` on `data` for `steps` steps, or resumes the run in `run`.

    Chunks of steps are one compiled call over data that stay on the device (`stream=False`), or
    batches come from the host (`stream=True`); both see the same batches, a pure function of
    (key, step). Each batch is divided over `mesh`, the state is whole on every device of its axis
    `data` and divided over those of `fsdp`; buffers are donated. A second call with the same
    learner object does not compile again. Several processes (`devices.processes`) call it
    with the same arguments.

    Args:
      learner: see `training.learner.Learner`; `learner.with_gradients(...)` for gradients in
        parts, in bfloat16, or equal on any number of devices.
      data: training arrays of equal leading length; `x` is the data.
      key: of the whole run: initialisation, order of the data, transforms and steps.
      steps: total number of steps (of the run, not of this call).
      batch_size: examples a batch; must be divisible by the devices of the mesh.
      transform: of a batch, `(batch, key) -> batch`, applied inside the compiled step.
      mesh: devices; one device where None, or all of several processes.
      fsdp_rules: how arrays are divided over `fsdp`, see `devices.mesh.StateLayout`.
      stream: None streams data above `RESIDENT_BYTES`.
      log_every: steps between logged metrics (means over these steps).
      evaluate_every: steps between validations; an epoch where None.
      checkpoint_every: steps between checkpoints; a kill costs at most so many steps. Where None,
        at the first evaluation, then at each one since which training took two hundred times
        as long as the last checkpoint did.
      validate: `state -> metrics` on the validation split; `select` names the one to minimise.
      patience: stop after so many validations in a row without improvement.
      on_evaluation: called at each evaluation, for figures (by process 0).
      max_skipped: after so many non-finite steps in a row, go back or stop.
      rewinds: how often training may go back to the newest checkpoint. It then goes on after the
        last bad batch, without the batches since that checkpoint.
      replay_every: run one step in so many twice and compare the bits (`training.replay`).
      start: from the learner's initial parameters to those that training begins with (a pretrained
        encoder, clusters fitted to codes); not called where a run is resumed. Its time counts as
        training. Every process calls it, and must get the same, which is checked.
      run: folder for metrics and checkpoints; nothing is written where None.
      background_saves: training goes on while a checkpoint is written, which pays where that takes
        long; a kill then costs at most two intervals of checkpoints.
      keep: checkpoints kept, besides the best.
      keep_every: also keep one every so many steps.
      on_disk_error: whether training stops when a checkpoint cannot be written, or continues.
      quiet: no progress line.

    Raises:
      TrainingDiverged: `max_skipped` non-finite steps in a row, and no rewind left.
      HardwareFault: the same step gave different bits.
      DgmjaxError: arguments or data that do not fit.
    """
    require(max_skipped >= 1, "max_skipped", "must be at least 1", max_skipped)
    require(rewinds == 0 or run is not None, "rewinds", "must be 0 without a `run`", rewinds)
    mesh = default_mesh() if mesh is None else mesh
    check_divides(mesh, batch_size)
    gradients = getattr(learner, "gradients", None)
    if gradients is not None:
        gradients.check(batch_size)
    check_training_data(getattr(learner, "module", None), data, transform)
    init_key, order_key, data_key = jax.random.split(key, 3)
    batches = Batches(data, batch_size, seed=int(jax.random.bits(order_key)))
    if stream is None:
        stream = sum(array.nbytes for array in data.values()) > RESIDENT_BYTES
    layout = StateLayout(mesh, tuple(fsdp_rules))
    runner = (StreamedSteps if stream else ResidentSteps)(
        learner, transform, layout, batches, data_key
    )
    every = max(1, batches.steps_per_epoch // learner.batches_per_step)
    every = every if evaluate_every is None else evaluate_every
    loop = Loop(
        learner=learner,
        runner=runner,
        schedule=Schedule(steps, log_every, every, checkpoint_every, replay_every),
        store=Store.of(run, keep, keep_every, on_disk_error, background_saves),
        validate=validate,
        select=select,
        patience=patience,
        on_evaluation=on_evaluation,
        max_skipped=max_skipped,
        rewinds=rewinds,
        replay=Replay(replay_every) if replay_every is not None else None,
        progress=Progress(
            steps,
            batch_size * learner.batches_per_step,
            quiet=quiet or not processes.is_main(),
        ),
        begin=None if start is None else partial(begun_with, start),
    )
    try:
        with Interruption() as interruption:
            loop.start(init_key)
            return loop.train(interruption)
    finally:
        loop.close()


def begun_with(start: Callable[[PyTree], PyTree], state: State) -> State:
    """The initial state with other parameters, of the same names, shapes and types."""
    params = start(jax.device_get(state.params))
    given, wanted = jax.eval_shape(lambda: params), jax.eval_shape(lambda: state.params)
    rule = "must return parameters of the names, shapes and types that it is given"
    require(given == wanted, "start", rule, given, f"Those are {wanted}.")
    params = jax.tree.map(jnp.asarray, params)
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, ema=ema)
