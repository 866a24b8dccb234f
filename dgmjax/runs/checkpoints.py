"""Checkpoints through Orbax: asynchronous, verified, never incomplete.

    <folder>/steps/<step>/arrays/         what Orbax writes
    <folder>/steps/<step>/host.json       values of the host, shapes and dtypes
    <folder>/steps/<step>/manifest.json   SHA-256 of all that (`runs.manifest`), written last
    <folder>/refused/<step>/              what did not match its manifest, kept for inspection

A step counts once it is sealed (`runs.checkpoint_steps`): it is then complete, whenever a process
dies. One that does not match its manifest was damaged later; it is refused, and the newest valid
one is used.
"""

import contextlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import orbax.checkpoint as ocp

from dgmjax.devices import processes
from dgmjax.errors import CheckpointError, require
from dgmjax.runs import manifest
from dgmjax.runs.checkpoint_arrays import (
    first_line,
    flatten,
    quiet_orbax,
    read_step,
    write_description,
)
from dgmjax.runs.checkpoint_steps import steps_at
from dgmjax.types import PyTree

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run (or its best ones): the newest `keep`, and one in `keep_every`.

    Every process of a run calls the same methods in the same order; process 0 seals, deletes and
    decides which step is restored.

    Args:
      folder: created if absent; or a URL of an object store, `gs://bucket/run` or `s3://bucket/run`
        (each needs an extra), or an `etils.epath.Path`.
      keep: how many of the newest steps are kept.
      keep_every: also keep, for ever, the first checkpoint at or after each multiple of this
        number of steps; None keeps none.
      identity: a text that must be the same when they are restored, such as a digest of the run's
        arguments. Checkpoints of another one are refused.
      on_disk_error: `stop` raises `CheckpointError` when a checkpoint cannot be written;
        `continue` logs a warning, counts it in `failed`, and the next `save` tries again. Earlier
        checkpoints are unharmed in either case. A run of several processes always stops.
      read_only: only `restore`, `problem` and `valid_steps`; nothing in the folder is touched, so
        that a run may be loaded while another process trains it.
    """

    def __init__(
        self,
        folder: Path | str,
        keep: int = 2,
        *,
        keep_every: int | None = None,
        identity: str = "",
        on_disk_error: Literal["stop", "continue"] = "stop",
        read_only: bool = False,
    ):
        require(keep >= 1, "keep", "must be at least 1", keep)
        sound = keep_every is None or keep_every >= 1
        require(sound, "keep_every", "must be at least 1, or None", keep_every)
        known = on_disk_error in ("stop", "continue")
        require(known, "on_disk_error", "must be 'stop' or 'continue'", repr(on_disk_error))
        self.keep, self.keep_every = keep, keep_every
        self.identity, self.on_disk_error, self.read_only = identity, on_disk_error, read_only
        self.failed = 0
        self._steps = steps_at(folder)
        self.folder = self._steps.folder
        self._thread: threading.Thread | None = None
        self._problem: Exception | None = None
        self._saver: ocp.AsyncCheckpointer | None = None
        if not read_only:
            self._steps.open()

    def save(
        self,
        step: int,
        state: PyTree,
        host: Mapping[str, Any],
        *,
        after: "Checkpoints | None" = None,
    ) -> bool:
        """Starts to save; returns when the arrays were copied from the device.

        Args:
          step: a step that is already there is not saved again.
          state: pytree of arrays.
          host: JSON-safe values that belong to the state (the best value so far, ...).
          after: checkpoints whose save in progress this one refers to, so that it becomes valid
            only after theirs.

        Returns:
          Whether a save was started.

        Raises:
          CheckpointError: this or the previous save failed, since the disk is full or read-only.
        """
        require(not self.read_only, "read_only", "must be False to save", self.read_only)
        # One save at a time, and its failure is reported here, in the thread that can handle it.
        self.wait()
        if step in self._steps.committed():
            return False
        arrays = flatten(state)
        try:
            part = self._steps.begin(step)
            if processes.is_main():
                write_description(part, arrays, host)
            saver = self._checkpointer()
            saver.save(part / "arrays", args=ocp.args.PyTreeSave(arrays))
        except (OSError, ValueError) as problem:
            self._fail(problem)
            return False
        first = after._thread if after is not None else None
        self._thread = threading.Thread(target=self._complete, args=(saver, step, after, first))
        self._thread.start()
        return True

    def wait(self) -> None:
        """Waits until the checkpoint being saved is on disk and sealed.

        Raises:
          CheckpointError: it could not be written (with `on_disk_error="stop"`).
        """
        if self._thread is None:
            return
        self._thread.join()
        self._thread, problem, self._problem = None, self._problem, None
        processes.barrier("checkpoint")
        if problem is not None:
            self._fail(problem)

    def close(self) -> None:
        """Waits and frees the background threads."""
        try:
            self.wait()
        finally:
            if self._saver is not None:
                self._saver.close()
            self._saver = None

    def problem(self, step: int) -> str | None:
        """The defect of a step, or None."""
        return manifest.problem(self._steps.path(step), step, self.identity)

    def valid_steps(self) -> list[int]:
        """Steps that match their manifests, newest first. Reads every file of every step."""
        return [step for step in self._steps.committed() if self.problem(step) is None]

    def restore(
        self, template: PyTree, prefix: str = "", *, step: int | None = None
    ) -> tuple[PyTree, dict[str, Any], int] | None:
        """The newest valid checkpoint as `(state, host, step)`, or None where there is none.

        Newer ones that do not match their manifests are reported and, unless `read_only`, moved
        to `refused/`, so that the run can save these steps again.

        Args:
          template: pytree of arrays or `ShapeDtypeStruct`s (with the shardings wanted).
          prefix: restore only the part of the saved tree below this key.
          step: this step, and no other; the newest valid one if None.

        Raises:
          CheckpointError: there are checkpoints and none is valid, or they belong to a model
            with other arrays.
        """
        for attempt in range(3):
            chosen = self._choose(step)
            if chosen is None:
                return None
            try:
                return (*read_step(self._steps.path(chosen), template, prefix), chosen)
            except CheckpointError:
                # While this process reads, the one that trains may delete what is too old.
                deleted = chosen not in self._steps.committed()
                if not (self.read_only and deleted and attempt < 2):
                    raise
        return None

    def _checkpointer(self) -> ocp.AsyncCheckpointer:
        if self._saver is None:
            quiet_orbax()
            # Folders are made by the caller's thread: otherwise Orbax's threads wait for one that
            # cannot be made for five minutes, and the process cannot end before.
            options = ocp.AsyncOptions(create_directories_asynchronously=False)
            self._saver = ocp.AsyncCheckpointer(
                ocp.PyTreeCheckpointHandler(), async_options=options
            )
        return self._saver

    def _fail(self, problem: Exception) -> None:
        self.failed += 1
        error = CheckpointError(
            f"`folder` must be a folder that can be written; got {self.folder}: "
            f"{first_line(problem)}. Free some space; earlier checkpoints are unharmed."
        )
        with contextlib.suppress(OSError):
            self._steps.clean()
        if self.on_disk_error == "stop" or processes.part()[1] > 1:
            # Several processes cannot go on with different ideas of which checkpoints exist.
            raise error from problem
        logger.warning("A checkpoint was not saved, and training continues: %s", error)

    def _complete(
        self,
        saver: ocp.AsyncCheckpointer,
        step: int,
        after: "Checkpoints | None",
        first: threading.Thread | None,
    ) -> None:
        """In a thread: waits for Orbax (and another save), then seals."""
        try:
            saver.wait_until_finished()
            if after is not None and first is not None:
                first.join()
                if after._problem is not None:
                    raise after._problem
            if processes.is_main():
                self._seal(step)
        except Exception as problem:  # raised by `wait`, in the caller's thread
            self._problem = problem

    def _seal(self, step: int) -> None:
        """Makes a written step valid, then deletes those that are not kept."""
        # The new step is valid before an older one is deleted: at every moment there is one to
        # restore.
        self._steps.commit(step, self.identity)
        committed = self._steps.committed()
        self._steps.remove(set(committed) - kept_steps(committed, self.keep, self.keep_every))

    def _choose(self, wanted: int | None) -> int | None:
        """The step to restore; process 0 decides for all."""
        # An exception in process 0 alone would leave the others waiting for it: the outcome is a
        # number, which all of them get, and then all raise.
        chosen, error = -1, ""
        if processes.is_main():
            try:
                chosen = self._newest_valid(wanted)
            except CheckpointError as problem:
                chosen, error = -2, str(problem)
        chosen = processes.agree(chosen)
        require(chosen != -2, "run", "must have a valid checkpoint", error, "", CheckpointError)
        return None if chosen == -1 else chosen

    def _newest_valid(self, wanted: int | None) -> int:
        """The newest valid step, -1 where there are none at all."""
        steps = [step for step in self._steps.committed() if wanted in (None, step)]
        refused: dict[int, str] = {}
        for step in steps:
            problem = self.problem(step)
            if problem is None:
                # Damaged steps are moved aside only where a valid one is left. Otherwise all stays
                # as it is, for the user to repair from a copy.
                self._refuse(refused)
                return step
            logger.warning("Checkpoint %s is not used: %s.", self._steps.path(step), problem)
            refused[step] = problem
        if not steps and wanted is None:
            return -1
        reasons = [f"{self._steps.path(step)}: {why}" for step, why in sorted(refused.items())]
        raise CheckpointError(
            f"{'; '.join(reasons) or f'there is no step {wanted} in {self.folder}'}. Start anew "
            "with another --run-dir, or restore the files from a copy"
        )

    def _refuse(self, steps: Mapping[int, str]) -> None:
        """Moves steps aside."""
        for step in steps if not self.read_only else ():
            self._steps.refuse(step)


def kept_steps(steps: list[int], keep: int, keep_every: int | None) -> set[int]:
    """The newest `keep` steps and the first at or after each multiple of `keep_every`.

    >>> sorted(kept_steps([40, 90, 110, 150, 190, 210, 260], keep=2, keep_every=100))
    [110, 210, 260]
    """
    kept = set(sorted(steps)[-keep:])
    if keep_every is not None:
        first: dict[int, int] = {}
        for step in sorted(steps):
            first.setdefault(step // keep_every, step)
        kept |= {step for bucket, step in first.items() if bucket > 0}
    return kept
