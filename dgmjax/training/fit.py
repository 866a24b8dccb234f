"""`fit`: training from a learner and arrays, resumable to the bit."""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from dgmjax.data.batches import Batches
from dgmjax.data.transform import Transform
from dgmjax.errors import require
from dgmjax.training.checks import check_training_data
from dgmjax.training.deterministic import VirtualShards
from dgmjax.training.interrupt import Interruption
from dgmjax.training.learner import Learner, State
from dgmjax.training.loop import FitResult, Loop
from dgmjax.training.mesh import check_divides, make_mesh
from dgmjax.training.progress import Progress
from dgmjax.training.run import RunFolder
from dgmjax.training.steps import ResidentSteps, StreamedSteps
from dgmjax.types import Key

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
    stream: bool | None = None,
    log_every: int = 100,
    evaluate_every: int | None = None,
    validate: Callable[[State], Mapping[str, float]] | None = None,
    select: str = "loss",
    patience: int | None = None,
    on_evaluation: Callable[[State, int], None] | None = None,
    max_skipped: int = 20,
    run: RunFolder | None = None,
    keep: int = 2,
    quiet: bool = True,
    num_shards: int | None = None,
) -> FitResult:
    """Trains `learner` on `data` for `steps` steps, or resumes the run in `run`.

    Chunks of steps are one compiled call over data that stay on the device (`stream=False`), or
    batches come from the host (`stream=True`); both see the same batches, a pure function of
    (key, step). The state is replicated over `mesh` and each batch divided over it; buffers are
    donated. A second call with the same learner object does not compile again.

    Args:
      learner: see `training.learner.Learner`.
      data: training arrays of equal leading length; `x` is the data.
      key: of the whole run: initialisation, order of the data, transforms and steps.
      steps: total number of steps (of the run, not of this call).
      batch_size: examples a batch; must be divisible by the devices of the mesh.
      transform: of a batch, `(batch, key) -> batch`, applied inside the compiled step.
      mesh: devices; one device where None.
      stream: None streams data above `RESIDENT_BYTES`.
      log_every: steps between logged metrics (means over these steps).
      evaluate_every: steps between validations and checkpoints; an epoch where None.
      validate: `state -> metrics` on the validation split; `select` names the one to minimise.
      patience: stop after so many validations in a row without improvement.
      on_evaluation: called at each evaluation, for figures.
      max_skipped: stop after so many non-finite steps in a row.
      run: folder for metrics and checkpoints; nothing is written where None.
      keep: checkpoints kept, besides the best.
      quiet: no progress line.
      num_shards: deterministic training over so many virtual shards: equal bit for bit on any
        number of devices that divides it, at some cost in speed (see `training.deterministic`).

    Raises:
      TrainingDiverged: `max_skipped` non-finite steps in a row.
      DgmjaxError: arguments or data that do not fit.
    """
    require(steps >= 1, "steps", "must be at least 1", steps)
    require(log_every >= 1, "log_every", "must be at least 1", log_every)
    require(max_skipped >= 1, "max_skipped", "must be at least 1", max_skipped)
    mesh = make_mesh(1) if mesh is None else mesh
    check_divides(mesh, batch_size)
    if num_shards is not None:
        shards = VirtualShards(mesh, num_shards)
        shards.check(batch_size)
        learner = learner.with_gradients(shards)
    check_training_data(getattr(learner, "module", None), data, transform)
    init_key, order_key, data_key = jax.random.split(key, 3)
    batches = Batches(data, batch_size, seed=int(jax.random.bits(order_key)))
    every = evaluate_every or max(1, batches.steps_per_epoch // learner.batches_per_step)
    require(every >= 1, "evaluate_every", "must be at least 1", evaluate_every)
    if stream is None:
        stream = sum(array.nbytes for array in data.values()) > RESIDENT_BYTES
    runner = (StreamedSteps if stream else ResidentSteps)(
        learner, transform, mesh, batches, data_key
    )
    loop = Loop(
        learner=learner,
        runner=runner,
        steps=steps,
        log_every=log_every,
        every=every,
        validate=validate,
        select=select,
        patience=patience,
        on_evaluation=on_evaluation,
        max_skipped=max_skipped,
        run=run,
        progress=Progress(steps, batch_size * learner.batches_per_step, quiet=quiet),
        keep=keep,
    )
    try:
        with Interruption() as interruption:
            loop.start(init_key, mesh)
            return loop.train(interruption)
    finally:
        loop.close()
