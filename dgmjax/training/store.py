"""Store of a training run: metrics, checkpoints, best parameters; in memory without a folder."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.devices import processes
from dgmjax.errors import CheckpointError, RunError
from dgmjax.runs.checkpoints import Checkpoints
from dgmjax.runs.folder import RunFolder
from dgmjax.training.execution import Execution
from dgmjax.types import PyTree

Restored = tuple[PyTree, dict[str, Any], int]

logger = logging.getLogger(__name__)


class Store:
    """Store in memory; `RunStore` is the one in a run folder.

    Every process calls the same methods in the same order.
    """

    def __init__(self):
        self.history: list[dict[str, Any]] = []
        self._best: tuple[PyTree, int] | None = None

    @staticmethod
    def of(run: RunFolder | None, execution: Execution) -> "Store":
        """A store in `run`, or in memory if that is None."""
        return Store() if run is None else RunStore(run, execution)

    def open(self) -> None:
        """Before training."""

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Metrics of a step."""
        self.history.append({"step": step, **values})

    def restore(self, template: PyTree) -> Restored | None:
        """The newest valid checkpoint as `(tree, host, step)`."""
        return None

    def resumed(self, step: int) -> None:
        """Removes everything written for steps after this one, from which training continues."""

    def save(self, step: int, tree: PyTree, host: Mapping[str, Any]) -> None:
        """A checkpoint."""

    def save_best(self, step: int, state: PyTree, host: Mapping[str, Any]) -> None:
        """The best state so far."""
        self._best = jax.tree.map(jnp.copy, state), step

    def best(self, like: PyTree) -> tuple[PyTree, int]:
        """The last state that `save_best` kept, and its step."""
        if self._best is None:
            raise CheckpointError("`save_best` must have been called before `best`; it was not.")
        return self._best

    def whole_history(self) -> list[dict[str, Any]]:
        """All metrics of the run, those before a resumption too."""
        return self.history

    def wait(self) -> None:
        """Waits until everything is on the disk."""

    def close(self) -> None:
        """Ends background threads."""


class RunStore(Store):
    """A `Store` in a run folder: process 0 writes metrics, all write their part of checkpoints."""

    def __init__(self, run: RunFolder, execution: Execution):
        super().__init__()
        self.run, self._execution = run, execution
        self._checkpoints: dict[str, Checkpoints] = {}

    def open(self) -> None:
        execution, place = self._execution, self.run.checkpoints
        self.run.check_place(execution.checkpoint_dir)
        options: dict[str, Any] = {
            "identity": self.run.identity,
            "on_disk_error": execution.on_disk_error,
        }
        self._checkpoints = {
            "latest": Checkpoints(
                place("latest"), execution.keep, keep_every=execution.keep_every, **options
            ),
            "best": Checkpoints(place("best"), 2, **options),
        }

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        super().write(step, values)
        if not processes.is_main():
            return
        try:
            self.run.write_metrics(step, **values)
        except RunError as problem:
            if self._execution.on_disk_error == "stop":
                raise
            logger.warning("Metrics were not written, and training continues: %s", problem)

    def restore(self, template: PyTree) -> Restored | None:
        return self._checkpoints["latest"].restore(template)

    def resumed(self, step: int) -> None:
        if processes.is_main():
            self.run.truncate_metrics(step)
        processes.barrier("metrics")

    def save(self, step: int, tree: PyTree, host: Mapping[str, Any]) -> None:
        self._one_at_a_time()
        best = self._checkpoints["best"]
        # The latest checkpoint names the best step: it may become valid only once that one is, or a
        # kill between the two would leave a name without a state.
        self._checkpoints["latest"].save(step, tree, host, after=best)
        # Otherwise training continues while Orbax writes the copies that it made.
        if not self._execution.background_saves:
            self.wait()

    def save_best(self, step: int, state: PyTree, host: Mapping[str, Any]) -> None:
        if self._execution.on_disk_error == "continue":  # there may be no room on the disk
            super().save_best(step, state, host)
        self._one_at_a_time()
        self._checkpoints["best"].save(step, state, host)

    def _one_at_a_time(self) -> None:
        """Two saves at once would wait at each other's barriers."""
        if processes.part()[1] > 1:
            self.wait()

    def best(self, like: PyTree) -> tuple[PyTree, int]:
        restored = self._checkpoints["best"].restore(jax.tree.map(_struct, like))
        if self._best is not None and (restored is None or restored[2] != self._best[1]):
            return self._best
        if restored is None:
            raise CheckpointError(
                f"`run` must hold the best checkpoint that training wrote; got none in "
                f"{self._checkpoints['best'].folder}. Start anew with another --run-dir."
            )
        return restored[0], restored[2]

    def whole_history(self) -> list[dict[str, Any]]:
        processes.barrier("history")
        return self.run.read_metrics()

    def wait(self) -> None:
        for checkpoints in self._checkpoints.values():
            checkpoints.wait()

    def close(self) -> None:
        for checkpoints in self._checkpoints.values():
            checkpoints.close()


def _struct(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)
