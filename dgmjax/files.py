"""Files that are either the old one or the new one, and folders that are the user's own."""

import contextlib
import os
import tempfile
from pathlib import Path

from dgmjax.errors import DgmjaxError, RunError


def write_atomically(
    path: str | os.PathLike, content: bytes | str, error: type[DgmjaxError] = RunError
) -> None:
    """Replaces the file at `path` by `content`; a crash at any moment leaves the old or the new.

    The content goes to a temporary file beside `path`, is forced to the disk, and is renamed.

    Args:
      path: the file; its folder must exist.
      content: bytes, or text to store as UTF-8.
      error: what to raise when the disk is full or the folder cannot be written.

    Raises:
      RunError: (or `error`) the file could not be written; what was at `path` is unharmed.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as problem:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise error(
            f"`path` must be a file that can be written; got {path}: {problem.strerror}. Free "
            "some space or choose another folder; what was there is unharmed."
        ) from problem
    _sync_folder(path.parent)


def make_private_folder(path: str | os.PathLike, error: type[DgmjaxError] = RunError) -> Path:
    """Creates `path` and its missing parents with mode 0700; returns it. Existing ones stay."""
    path = Path(path)
    try:
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
        if not path.is_dir():
            raise NotADirectoryError(20, "a file of this name is in the way")
    except OSError as problem:
        raise error(
            f"`path` must be a folder that can be created; got {path}: {problem.strerror}. "
            "Choose another folder."
        ) from problem
    return path


def _sync_folder(folder: Path) -> None:
    """Forces a rename to the disk, where the system lets one open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
