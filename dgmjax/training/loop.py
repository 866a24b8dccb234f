"""The training loop of one call of `fit`: steps, logs, validation, checkpoints, the end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dgmjax.errors import CheckpointError, TrainingDiverged, require
from dgmjax.training.checkpoint import Checkpoints
from dgmjax.training.interrupt import Interruption
from dgmjax.training.learner import Learner, State
from dgmjax.training.mesh import replicated
from dgmjax.training.progress import Progress
from dgmjax.training.run import RunFolder
from dgmjax.training.steps import (
    ResidentSteps,
    StreamedSteps,
    initial_state,
    prepared,
    zero_metrics,
)
from dgmjax.types import Key


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
      state: after the last step, or the best by validation where a validation was given.
      history: the logged metrics, a dict a log step.
      best_step: step of the best validation value (the last step without validation).
      interrupted: stopped by Ctrl-C or SIGTERM, after saving.
      seconds: of the steps themselves, over all resumptions.
      compile_seconds: of the first call of this process.
    """

    state: State
    history: list[dict[str, Any]]
    best_step: int
    interrupted: bool
    seconds: float
    compile_seconds: float


@dataclass
class Progression:
    """What training remembers on the host; saved with every checkpoint."""

    best_value: float = math.inf
    best_step: int = -1
    stale_evaluations: int = 0
    seconds: float = 0.0


@dataclass
class Loop:
    """The state of one call of `fit`."""

    learner: Learner
    runner: ResidentSteps | StreamedSteps
    steps: int
    log_every: int
    every: int
    validate: Callable | None
    select: str
    patience: int | None
    on_evaluation: Callable | None
    max_skipped: int
    run: RunFolder | None
    progress: Progress
    keep: int
    host: Progression = field(default_factory=Progression)
    latest: Checkpoints | None = None
    best: Checkpoints | None = None
    best_state: Any = None
    history: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0

    def start(self, init_key: Key, mesh: Mesh) -> None:
        """The state to begin with: new, or that of the newest valid checkpoint."""
        started = time.perf_counter()
        runner, per_step = self.runner, self.learner.batches_per_step
        batch, data_key = runner.batches.batch(0), runner.data_key
        new_state = partial(initial_state, self.learner, runner.transform)
        shapes = jax.eval_shape(new_state, init_key, batch, data_key)
        step_batch = jax.eval_shape(
            lambda b, key: prepared(b, runner.transform, key, 0), batch, data_key
        )
        if per_step > 1:
            stacked = lambda a: jax.ShapeDtypeStruct((per_step, *a.shape), a.dtype)
            step_batch = jax.tree.map(stacked, step_batch)
        self.zeros = zero_metrics(self.learner, shapes, step_batch, replicated(mesh))
        if self.run is not None:
            self.latest = Checkpoints(self.run.checkpoints / "latest", self.keep)
            self.best = Checkpoints(self.run.checkpoints / "best", 2)
            tree = {"state": shapes, "sums": self.zeros()}
            self._restore(self.latest, tree, replicated(mesh))
            self.run.truncate_metrics(self.step)
        if self.step == 0:
            state = jax.device_put(new_state(init_key, batch, data_key), replicated(mesh))
            self.tree = {"state": state, "sums": self.zeros()}
        self.progress.compile_seconds += time.perf_counter() - started

    def _restore(self, checkpoints: Checkpoints, template, sharding) -> None:
        target = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), template
        )
        restored = checkpoints.restore(target)
        if restored is not None:
            self.tree, host, self.step = restored
            self.host = Progression(**host)
            self.progress.message(f"Resumed from the checkpoint at step {self.step}.")

    def train(self, interruption: Interruption) -> FitResult:
        """Steps until the end, an early stop, or an interruption."""
        compiled, chunk = False, 1
        stopped = self._exhausted()
        while self.step < self.steps and not stopped:
            limit = min(self._next(self.log_every), self._next(self.every), self.steps) - self.step
            started = time.perf_counter()
            tree, taken = self.tree, min(limit, chunk)
            state, sums, taken = self.runner.run(tree["state"], tree["sums"], self.step, taken)
            self.tree = {"state": state, "sums": sums}
            jax.block_until_ready(sums)
            seconds = time.perf_counter() - started
            self.step += taken
            if compiled:
                self.host.seconds += seconds
                self.progress.update(self.step, taken, seconds, self._last_loss())
                # Calls of about a second: long enough to cost nothing, short enough to stop.
                chunk = max(1, min(4 * chunk, int(taken / max(seconds, 1e-6))))
            else:
                self.progress.compile_seconds += seconds
                compiled = True
            if self.step % self.log_every == 0 or self.step == self.steps:
                self._log()
            if self.step % self.every == 0 or self.step == self.steps:
                self._check_finite()
                stopped = self._evaluate()
                self._save()
            if interruption.received is not None and self.step < self.steps:
                self._save()
                return self._finish(interrupted=True)
        return self._finish(interrupted=False)

    def _next(self, every: int) -> int:
        return self.step - self.step % every + every

    def _last_loss(self) -> float | None:
        return self.history[-1].get("loss") if self.history else None

    def _log(self) -> None:
        count = self.step % self.log_every or self.log_every
        sums, skipped = jax.device_get((self.tree["sums"], self.tree["state"].skipped))
        means = {name: float(total) / count for name, total in sums.items()}
        self.tree["sums"] = self.zeros()
        means["skipped"] = int(skipped)
        self._write({**means, "examples_per_second": self.progress.rate})
        self._check_finite()

    def _write(self, values: dict[str, float]) -> None:
        self.history.append({"step": self.step, **values})
        if self.run is not None:
            self.run.write_metrics(self.step, **values)

    def _check_finite(self) -> None:
        in_row = int(self.tree["state"].skipped_in_row)
        if in_row >= self.max_skipped:
            raise TrainingDiverged(
                f"The loss or its gradient was not finite in the last {in_row} steps (until step "
                f"{self.step}), so training stopped; those steps changed nothing. Lower the "
                "learning rate, clip the gradient, or look at the data."
            )

    def _evaluate(self) -> bool:
        """Validates and remembers the best; True where patience is at its end."""
        if self.validate is not None:
            metrics = {name: float(v) for name, v in self.validate(self.tree["state"]).items()}
            require(
                self.select in metrics,
                "select",
                f"must name a validation metric, one of {sorted(metrics)}",
                repr(self.select),
            )
            value = metrics[self.select]
            if value < self.host.best_value:
                self.host.best_value, self.host.best_step = value, self.step
                self.host.stale_evaluations = 0
                self._save_best()
            else:
                self.host.stale_evaluations += 1
            self._write({f"validation/{name}": v for name, v in metrics.items()})
            self.progress.message(
                f"step {self.step}: validation {self.select} {value:.4f}"
                f" (best {self.host.best_value:.4f} at step {self.host.best_step})"
            )
        if self.on_evaluation is not None:
            self.on_evaluation(self.tree["state"], self.step)
        return self._exhausted()

    def _exhausted(self) -> bool:
        return self.patience is not None and self.host.stale_evaluations >= self.patience

    def _save_best(self) -> None:
        state = self.tree["state"]
        if self.best is not None:
            self.best.save(self.step, state, {"seconds": self.host.seconds})
        else:
            self.best_state = jax.tree.map(jnp.copy, state)

    def _save(self) -> None:
        if self.latest is not None:
            self.latest.save(self.step, self.tree, vars(self.host))

    def _finish(self, interrupted: bool) -> FitResult:
        state, best_step = self.tree["state"], self.step
        if self.latest is not None:
            self.latest.wait()
        if self.host.best_step >= 0 and not interrupted:
            best_step = self.host.best_step
            state = self._best_state()
        return FitResult(
            state=state,
            history=self.history if self.run is None else self.run.read_metrics(),
            best_step=best_step,
            interrupted=interrupted,
            seconds=self.host.seconds,
            compile_seconds=self.progress.compile_seconds,
        )

    def _best_state(self) -> State:
        if self.best is None:
            return self.best_state
        self.best.wait()
        restored = self.best.restore(jax.tree.map(_struct, self.tree["state"]))
        if restored is None:
            raise CheckpointError(
                f"`run` must hold the best checkpoint that training wrote; got none in "
                f"{self.best.folder}. Start anew with another --run-dir."
            )
        return restored[0]

    def close(self) -> None:
        """Ends the progress line and the background threads of the checkpoints."""
        self.progress.close()
        for checkpoints in (self.latest, self.best):
            if checkpoints is not None:
                checkpoints.close()


def _struct(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)
