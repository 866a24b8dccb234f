"""Places of checkpoints: a folder or an object store, neither of which ever shows half a step.

A folder commits a step by a rename, which is atomic. An object store has no renames of folders, but
writes single objects atomically: there a step exists when its manifest does, which is written last
and deleted first.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from dgmjax.devices import processes
from dgmjax.errors import CheckpointError, require
from dgmjax.files import make_own_folder, stored_files
from dgmjax.runs import manifest

SCHEMES = ("gs", "s3")
"""Of the URLs that `etils.epath` opens, the path type of Orbax."""


class Steps(Protocol):
    """Steps that are written, committed, listed and removed. Process 0 commits and removes."""

    folder: Any

    def open(self) -> None:
        """Makes the place, and removes unfinished files of a process that ended."""

    def path(self, step: int) -> Any:
        """The folder of a committed step."""

    def begin(self, step: int) -> Any:
        """The folder to write a step into."""

    def commit(self, step: int, identity: str) -> None:
        """Seals a written step and makes it valid."""

    def committed(self) -> list[int]:
        """Numbers of the steps that are there, newest first."""

    def remove(self, steps: set[int]) -> None:
        """Deletes steps."""

    def refuse(self, step: int) -> None:
        """Moves a damaged step to `refused`."""

    def clean(self) -> None:
        """Removes uncommitted steps."""


def steps_at(folder: Any) -> Steps:
    """The steps below a local path, a URL such as `gs://bucket/run`, or an `etils.epath.Path`.

    Raises:
      CheckpointError: the URL's scheme is not known, or the package that opens it is missing.
    """
    if isinstance(folder, str) and "://" in folder:
        return StoredSteps(_opened(folder))
    if isinstance(folder, str | Path):
        return LocalSteps(Path(folder))
    return StoredSteps(folder)


def _opened(url: str) -> Any:
    scheme = url.split("://")[0]
    rule = f"must begin with {' or '.join(f'{known}://' for known in SCHEMES)}, or be a local path"
    require(scheme in SCHEMES, "folder", rule, url, error=CheckpointError)
    from etils import epath

    path = epath.Path(url)
    try:
        path.exists()
    except ImportError as problem:
        extra = {"gs": "gcs", "s3": "s3"}[scheme]
        raise CheckpointError(
            f"`folder` {url} cannot be opened: {problem}. `pip install 'dgmjax[{extra}]'` does so."
        ) from problem
    return path


class LocalSteps:
    """Steps of a folder: `<step>.part` is renamed to `<step>` when it is complete."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()  # Orbax takes absolute paths only.
        self._steps = self.folder / "steps"

    def open(self) -> None:
        make_own_folder(self.folder, CheckpointError)
        make_own_folder(self._steps, CheckpointError)
        self.clean()

    def path(self, step: int) -> Path:
        return self._steps / str(step)

    def begin(self, step: int) -> Path:
        return make_own_folder(self._steps / f"{step}.part", CheckpointError).resolve()

    def commit(self, step: int, identity: str) -> None:
        part = self._steps / f"{step}.part"
        # The manifest is on the disk before the rename, which makes the step visible at once and
        # whole. The rename itself is not forced to the disk: after a power failure the step may be
        # a `.part` again, which is removed, and an older one is used. Files of it that did not
        # reach the disk would not match their digests.
        manifest.seal(part, step, identity)
        os.rename(part, self.path(step))

    def committed(self) -> list[int]:
        if not self._steps.is_dir():
            return []
        return _numbers(path.name for path in self._steps.iterdir())

    def remove(self, steps: set[int]) -> None:
        # Moved away before they are deleted, so that none is ever half there.
        for step in steps:
            trash = make_own_folder(self.folder / "trash", CheckpointError)
            os.rename(self.path(step), trash / str(step))
        shutil.rmtree(self.folder / "trash", ignore_errors=True)

    def refuse(self, step: int) -> None:
        refused = make_own_folder(self.folder / "refused", CheckpointError)
        shutil.rmtree(refused / str(step), ignore_errors=True)
        try:
            os.rename(self.path(step), refused / str(step))
        except OSError as problem:
            raise CheckpointError(
                f"`folder` must be a folder that can be written; got {refused}: {problem}."
            ) from problem

    def clean(self) -> None:
        if processes.is_main():
            for path in [*self._steps.glob("*.part"), self.folder / "trash"]:
                shutil.rmtree(path, ignore_errors=True)


class StoredSteps:
    """Steps of an object store: those that have a manifest.

    Args:
      folder: an `etils.epath.Path`.
    """

    def __init__(self, folder: Any):
        self.folder, self._steps = folder, folder / "steps"

    def open(self) -> None:
        self._steps.mkdir(parents=True, exist_ok=True)
        self.clean()

    def path(self, step: int) -> Any:
        return self._steps / str(step)

    def begin(self, step: int) -> Any:
        self.path(step).mkdir(parents=True, exist_ok=True)
        return self.path(step)

    def commit(self, step: int, identity: str) -> None:
        manifest.seal(self.path(step), step, identity)

    def committed(self) -> list[int]:
        return [step for step in self._there() if (self.path(step) / manifest.NAME).exists()]

    def remove(self, steps: set[int]) -> None:
        for step in steps:
            # First, so that the step ceases to exist before it ceases to be whole.
            (self.path(step) / manifest.NAME).unlink(missing_ok=True)
            self.path(step).rmtree()

    def refuse(self, step: int) -> None:
        for name, path in stored_files(self.path(step)).items():
            copy = self.folder / "refused" / str(step) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        self.remove({step})

    def clean(self) -> None:
        if processes.is_main():
            for step in set(self._there()) - set(self.committed()):
                self.path(step).rmtree()

    def _there(self) -> list[int]:
        if not self._steps.exists():
            return []
        return _numbers(path.name for path in self._steps.iterdir())


def _numbers(names: Any) -> list[int]:
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)
