"""Training loop of one call of `fit`: steps, logs, validation, checkpoints."""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from dgmjax.devices import processes
from dgmjax.errors import TrainingDiverged, require
from dgmjax.training.execution import Execution, Validation
from dgmjax.training.interrupt import Interruption
from dgmjax.training.learner import Learner, State
from dgmjax.training.progress import Progress
from dgmjax.training.replay import Replay, fingerprint
from dgmjax.training.steps import (
    ResidentSteps,
    StreamedSteps,
    initial_state,
    prepared,
    zero_metrics,
)
from dgmjax.training.store import Store
from dgmjax.types import Key, PyTree


class FitResult(NamedTuple):
    """Result of `fit`.

    Attributes:
      state: after the last step, or the best by validation where a validation was given.
      history: the logged metrics, one dict per log step: means over the steps since the last log,
        without those skipped; NaN if all were.
      best_step: step of the best validation value (the last step without validation).
      interrupted: stopped by SIGINT (Ctrl-C), SIGTERM or SIGHUP, after saving.
      seconds: of the steps themselves, over all resumptions.
      compile_seconds: of the first call of this process.
    """

    state: State
    history: list[dict[str, Any]]
    best_step: int
    interrupted: bool
    seconds: float
    compile_seconds: float


class Request(NamedTuple):
    """What a loop asks for: at most `limit` steps from `step`."""

    state: State
    sums: PyTree
    step: int
    limit: int


class Ran(NamedTuple):
    """The state and sums after `taken` steps, which took `seconds`."""

    state: State
    sums: PyTree
    taken: int
    seconds: float


def timed(run: Callable[[Request], tuple[State, PyTree, int]], request: Request) -> Ran:
    """The steps that a loop asks for."""
    started = time.perf_counter()
    with processes.named_losses():
        state, sums, taken = run(request)
        # Calls return before the device is done. Without waiting, times would be those of queueing,
        # and an interruption would come many steps late.
        jax.block_until_ready(sums)
    return Ran(state, sums, taken, time.perf_counter() - started)


SAVING_SHARE = 0.005
"""Share of the time that checkpoints may take where no interval is set."""


@dataclass(frozen=True)
class Schedule:
    """Intervals of logs, evaluations, checkpoints and replays, in steps; None for no interval."""

    steps: int
    log_every: int
    evaluate_every: int
    checkpoint_every: int | None
    replay_every: int | None

    @classmethod
    def of(cls, steps: int, execution: Execution, validation: Validation, epoch: int) -> "Schedule":
        """The schedule of a run; `epoch` is the number of steps of an epoch."""
        return cls(
            steps,
            execution.log_every,
            validation.every or epoch,
            execution.checkpoint_every,
            execution.replay_every,
        )

    def __post_init__(self):
        for name, value in vars(self).items():
            require(value is None or value >= 1, name, "must be at least 1", value)

    def until_next(self, step: int) -> int:
        """Steps until something has to be done."""
        events = self.log_every, self.evaluate_every, self.checkpoint_every, self.replay_every
        # The step that is run twice, the first after a multiple, is a call of its own.
        single = [1] if self.replay_every is not None and step % self.replay_every == 0 else []
        waits = (every - step % every for every in events if every is not None)
        return min(self.steps - step, *single, *waits)


@dataclass
class Progression:
    """State of training on the host, saved with every checkpoint.

    `logged` is the step of the last log, and `skipped` how many steps were skipped until then.
    """

    best_value: float = math.inf
    best_step: int = -1
    stale_evaluations: int = 0
    seconds: float = 0.0
    rewinds: int = 0
    logged: int = 0
    skipped: int = 0


class LastSave(NamedTuple):
    """Time of the last checkpoint, in seconds of training, and the seconds that it took."""

    at: float = 0.0
    took: float = 0.0


@dataclass
class Loop:
    """The state of one call of `fit`."""

    learner: Learner
    runner: ResidentSteps | StreamedSteps
    schedule: Schedule
    execution: Execution
    validation: Validation
    store: Store
    progress: Progress
    begin: Callable[[State], State] | None
    host: Progression = field(default_factory=Progression)
    step: int = 0
    saved: LastSave = field(default_factory=LastSave)

    def __post_init__(self):
        every = self.execution.replay_every
        self.replay = None if every is None else Replay(every)

    def start(self, init_key: Key) -> None:
        """Sets the first state: a new one, or that of the newest valid checkpoint."""
        started = time.perf_counter()
        runner, per_step = self.runner, self.learner.batches_per_step
        batch, data_key = runner.batches.batch(0), runner.data_key
        first = (self.learner, runner.transform, init_key, batch, data_key)
        shapes = initial_state.eval_shape(*first)  # it cannot be nested in `jax.eval_shape`
        step_batch = jax.eval_shape(
            lambda b, key: prepared(b, runner.transform, key, 0), batch, data_key
        )
        if per_step > 1:
            stacked = lambda a: jax.ShapeDtypeStruct((per_step, *a.shape), a.dtype)
            step_batch = jax.tree.map(stacked, step_batch)
        self.zeros = zero_metrics(self.learner, shapes, step_batch, runner.layout)
        self.shardings = runner.layout.shardings(shapes)
        self.shapes = shapes
        self.store.open()
        if self._restore():
            self.progress.message(f"Resumed from the checkpoint at step {self.step}.")
        else:
            state = initial_state(*first)
            if self.begin is not None:
                begun = time.perf_counter()
                with processes.alone():  # each process by itself, from the same numbers
                    state = self.begin(state)
                # A process with other parameters would train on without any error.
                bits = int(fingerprint(state.params).sum()) % 2**31
                remedy = "Take randomness from the seed of the run only."
                processes.require_same("start", bits, remedy)
                self.host.seconds += time.perf_counter() - begun
                started += self.host.seconds
            self.tree = {"state": processes.global_copy(state, self.shardings)}
            self.tree["sums"] = self.zeros()
        self.store.resumed(self.step)
        self.progress.compile_seconds += time.perf_counter() - started

    def _restore(self) -> bool:
        """The newest valid checkpoint, if there is one."""
        place = lambda a, sharding: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)
        sums = jax.tree.map(lambda a: place(a, a.sharding), self.zeros())
        template = {"state": jax.tree.map(place, self.shapes, self.shardings), "sums": sums}
        restored = self.store.restore(template)
        if restored is not None:
            self.tree, host, self.step = restored
            # Older checkpoints do not say when the last log was.
            logged = self.step - self.step % self.schedule.log_every
            self.host = Progression(**{"logged": logged, "skipped": self._skipped(), **host})
        return restored is not None

    def train(self, interruption: Interruption) -> FitResult:
        """Steps until the end, an early stop, or an interruption."""
        rounds = self.rounds(interruption)
        try:
            request = next(rounds)
            with self.progress.busy("compiling the training step"):
                ran = timed(self._run, request)
            while True:
                request = rounds.send(ran)
                ran = timed(self._run, request)
        except StopIteration as end:
            return end.value

    def rounds(self, interruption: Interruption) -> Generator[Request, Ran, FitResult]:
        """`train` without the steps themselves, which whoever drives the generator runs.

        Several loops in lockstep so share one compiled call.
        """
        schedule, compiled, chunk = self.schedule, False, 1
        stopped = self._exhausted()
        while self.step < schedule.steps and not stopped:
            count = min(schedule.until_next(self.step), chunk)
            tree = self.tree
            ran = yield Request(tree["state"], tree["sums"], self.step, count)
            self.tree = {"state": ran.state, "sums": ran.sums}
            taken, seconds = ran.taken, ran.seconds
            self.step += taken
            if compiled:
                self.host.seconds += seconds
                self.progress.update(self.step, taken, seconds, self._last_losses())
                # Calls of about a second: long enough to cost nothing, short enough to stop.
                wished = max(1, min(4 * chunk, int(taken / max(seconds, 1e-6))))
                chunk = processes.agree(wished)
            else:
                self.progress.compile_seconds += seconds
                compiled = True
            last = self.step == schedule.steps
            if self.step % schedule.log_every == 0 or last:
                self._log()
            rewound = self._rewind_or_stop()
            # Validation comes before the checkpoint, which then holds its result: a resumed run
            # neither repeats nor misses it.
            evaluating = self.step % schedule.evaluate_every == 0 or last
            if evaluating:
                stopped = self._evaluate()
            # A signal may reach one process only, and all have to stop at the same step.
            told = processes.any_process(interruption.received is not None) and not last
            due = self._checkpoint_is_due(evaluating)
            if due or told or last or stopped or rewound:
                self._save()
            if told:
                return self._finish(interrupted=True)
        return self._finish(interrupted=False)

    def _run(self, request: Request) -> tuple[State, PyTree, int]:
        """At most `limit` steps in one compiled call, and how many those were."""
        if self.replay is None:
            return self.runner.run(*request)
        tree = {"state": request.state, "sums": request.sums}
        return self.replay.run(self.runner, tree, request.step, request.limit)

    def _last_losses(self) -> dict[str, float]:
        """The loss of each player, by the name of its metric."""
        last = self.store.history[-1] if self.store.history else {}
        return {k: v for k, v in last.items() if k.endswith("loss") and "validation" not in k}

    def _log(self) -> None:
        sums, skipped = jax.device_get((self.tree["sums"], self.tree["state"].skipped))
        # Skipped steps add zeros to the sums (see `GradientLearner.step`), so they leave the count,
        # too.
        averaged = self.step - self.host.logged - (int(skipped) - self.host.skipped)
        mean = lambda total: float(total) / averaged if averaged else math.nan
        means = {name: mean(total) for name, total in sums.items()}
        self.tree["sums"] = self.zeros()
        self.host.logged, self.host.skipped = self.step, int(skipped)
        rate = self.progress.rate
        self.store.write(self.step, {**means, "skipped": int(skipped), "examples_per_second": rate})

    def _skipped(self) -> int:
        return int(self.tree["state"].skipped)

    def _rewind_or_stop(self) -> bool:
        """Goes back, or stops, after too many non-finite steps in a row; True if it went back."""
        in_row = int(self.tree["state"].skipped_in_row)
        if in_row < self.execution.max_skipped:
            return False
        bad = f"The loss or its gradient was not finite in the last {in_row} steps (until step "
        if self.host.rewinds >= self.execution.rewinds:
            raise TrainingDiverged(
                f"{bad}{self.step}), so training stopped; those steps changed nothing. Lower the "
                "learning rate, clip the gradient, or look at the data."
            )
        # The best parameters so far stay the best, though they may be newer than the checkpoint.
        now, host = self.step, replace(self.host, rewinds=self.host.rewinds + 1)
        sums, skipped = self.tree["sums"], self._skipped()
        self.store.wait()
        if not self._restore():
            raise TrainingDiverged(f"{bad}{now}), and there is no checkpoint yet to go back to.")
        self.progress.message(
            f"{bad}{now}). Went back to the state of step {self.step}; the batches until {now} are "
            "left out."
        )
        # Only the step number moves on. From the old one the same batches and the same noise would
        # lead to the same place.
        step = processes.global_copy(np.int32(now), self.shardings.step)
        self.tree = {"state": replace(self.tree["state"], step=step), "sums": sums}
        host.skipped += self._skipped() - skipped  # the state's count went back with it
        self.step, self.host = now, host
        if self.replay is not None:
            self.replay.forget()
        return True

    def _evaluate(self) -> bool:
        """Validates and keeps the best parameters; True where patience has run out."""
        validation = self.validation
        if validation.validate is None and validation.on_evaluation is None:
            return False
        state = self.tree["state"]
        local = processes.to_host(state) if processes.part()[1] > 1 else state
        if validation.validate is not None:
            metrics = {name: float(v) for name, v in validation.validate(local).items()}
            self._select(metrics)
        if validation.on_evaluation is not None and processes.is_main():
            with processes.alone():
                validation.on_evaluation(local, self.step)
        return self._exhausted()

    def _select(self, metrics: dict[str, float]) -> None:
        """Saves the state if it is the best so far."""
        select = self.validation.select
        require(
            select in metrics,
            "select",
            f"must name a validation metric, one of {sorted(metrics)}",
            repr(select),
        )
        value = metrics[select]
        if value < self.host.best_value:
            self.host.best_value, self.host.best_step = value, self.step
            self.host.stale_evaluations = 0
            seconds = {"seconds": self.host.seconds}
            self.store.save_best(self.step, self.tree["state"], seconds)
        else:
            self.host.stale_evaluations += 1
        self.store.write(self.step, {f"validation/{name}": v for name, v in metrics.items()})
        self.progress.message(
            f"step {self.step}: validation {select} {value:.4f}"
            f" (best {self.host.best_value:.4f} at step {self.host.best_step})"
        )

    def _exhausted(self) -> bool:
        patience = self.validation.patience
        return patience is not None and self.host.stale_evaluations >= patience

    def _checkpoint_is_due(self, evaluating: bool) -> bool:
        """True at the set interval; without one, at evaluations, as `SAVING_SHARE` allows."""
        if self.schedule.checkpoint_every is not None:
            return self.step % self.schedule.checkpoint_every == 0
        # A decision by the clock, and clocks differ: process 0 decides for all.
        cheap = SAVING_SHARE * (self.host.seconds - self.saved.at) >= self.saved.took
        return evaluating and bool(processes.agree(int(cheap)))

    def _save(self) -> None:
        started = time.perf_counter()
        self.store.save(self.step, self.tree, vars(self.host))
        self.saved = LastSave(self.host.seconds, time.perf_counter() - started)

    def _finish(self, interrupted: bool) -> FitResult:
        self.store.wait()
        state, best_step = self.tree["state"], self.step
        if self.host.best_step >= 0 and not interrupted:
            state, best_step = self.store.best(state)
            if best_step != self.host.best_step:
                self.progress.message(
                    f"The best parameters, of step {self.host.best_step}, are not on the disk: "
                    f"those of step {best_step} take their place."
                )
        return FitResult(
            state=state,
            history=self.store.whole_history(),
            best_step=best_step,
            interrupted=interrupted,
            seconds=self.host.seconds,
            compile_seconds=self.progress.compile_seconds,
        )

    def close(self) -> None:
        """Ends the progress line and the background threads of the checkpoints."""
        self.progress.close()
        self.store.close()
