"""Files and folders: written whole or not at all, and never through a symbolic link.

They have the permissions that the user's umask leaves; `make_private_folder` is for what is run.

A run folder may come from somebody else. Following a link in it would let that person choose which
of the user's files is overwritten, and a FIFO would make the reader wait forever.
"""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Any, TypeGuard

from dgmjax.errors import DgmjaxError, RunError


def write_atomically(
    path: str | os.PathLike, content: bytes | str, error: type[DgmjaxError] = RunError
) -> None:
    """Replaces the file at `path` by `content`; a crash leaves either old or new.

    The content goes to a temporary file beside `path`, is forced to the disk, and is renamed.

    Args:
      path: the file; its folder must exist. An `etils.epath.Path` is written as one object.
      content: bytes, or text to store as UTF-8.
      error: what to raise when the disk is full or the folder cannot be written.

    Raises:
      RunError: (or `error`) the file could not be written; the old content of `path` is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    if is_stored(path):
        path.write_bytes(data)
        return
    path = Path(path)
    temporary = None
    try:
        # In the same folder, since a rename is atomic within one file system only.
        # With the user's umask, which `tempfile` does not ask.
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            # Before the rename: a file system may write the new name first, and a power failure
            # would leave that name with no content.
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
    # After it: only now does the new name survive a power failure.
    _sync_folder(path.parent)


def is_stored(path: Any) -> TypeGuard[Any]:
    """Whether `path` is an `etils.epath.Path`, which may lie in an object store.

    There each object is written whole or not at all, and there are no links.
    """
    return not isinstance(path, str | Path) and hasattr(path, "write_bytes")


def stored_files(folder: Any) -> dict[str, Any]:
    """Every file below an `etils.epath.Path`, by its path relative to it."""
    found = [above / name for above, _, names in folder.walk() for name in names]
    return {str(path.relative_to(folder)): path for path in found}


def open_file(
    path: str | os.PathLike, flags: int, error: type[DgmjaxError] = RunError, mode: int = 0o666
) -> int:
    """A descriptor of the regular file `path`, like `os.open`; links and FIFOs are refused.

    Raises:
      RunError: (or `error`) `path` is a symbolic link, a folder, a FIFO or a device.
      OSError: any other reason why it cannot be opened.
    """
    try:
        # Without O_NONBLOCK, a FIFO without a writer would be waited for.
        descriptor = os.open(path, flags | _NO_FOLLOW | _NO_WAIT, mode)
    except OSError as problem:
        kind = {errno.ELOOP: "a symbolic link", errno.EISDIR: "a folder", errno.ENXIO: "a FIFO"}
        if problem.errno in kind:
            raise _not_a_file(path, kind[problem.errno], error) from problem
        raise
    # Of what was opened, not of the path, which somebody may have exchanged in between.
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_a_file(path, "a folder" if stat.S_ISDIR(mode) else "a FIFO or a device", error)
    return descriptor


def read_file(
    path: str | os.PathLike, limit: int = -1, error: type[DgmjaxError] = RunError
) -> bytes:
    """The content of the regular file `path`, at most `limit` bytes of it; see `open_file`."""
    if is_stored(path):
        with path.open("rb") as file:
            return file.read(limit)
    with open(open_file(path, os.O_RDONLY, error), "rb") as file:
        return file.read(limit)


def write_output(out: Path | None, usual: Path, content: bytes | str) -> Path:
    """Writes to `out`, or to the `usual` file of a run, and returns which.

    Raises:
      RunError: it cannot be written; for the usual file the message names the option `--out`.
    """
    try:
        write_atomically(out or usual, content)
    except RunError as problem:
        if out is not None:
            raise
        raise RunError(f"{problem} With `--out FILE` it goes elsewhere.") from problem
    return out or usual


_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def _not_a_file(path: str | os.PathLike, kind: str, error: type[DgmjaxError]) -> DgmjaxError:
    return error(f"`path` must be a regular file; got {kind}, {path}. Remove it to continue.")


def make_own_folder(path: str | os.PathLike, error: type[DgmjaxError] = RunError) -> Path:
    """`make_folder` for a folder within a run, which must not be a symbolic link."""
    if os.path.islink(path):
        raise error(
            f"`path` must be a folder; got a symbolic link, {path}. Remove it, or choose a place "
            "with more room by `--run-dir`."
        )
    return make_folder(path, error)


def make_private_folder(path: str | os.PathLike, error: type[DgmjaxError] = RunError) -> Path:
    """`make_folder` with mode 0700, for what others must not replace, such as compiled programs."""
    return make_folder(path, error, 0o700)


def make_folder(
    path: str | os.PathLike, error: type[DgmjaxError] = RunError, mode: int = 0o777
) -> Path:
    """Creates `path` and its missing parents, less the umask; returns it. Existing ones stay."""
    path = Path(path)
    try:
        # `mkdir(parents=True)` would give the parents the default mode.
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=mode)
        if not path.is_dir():
            raise NotADirectoryError(20, "a file of this name is in the way")
    except OSError as problem:
        raise error(
            f"`path` must be a folder that can be created; got {path}: {problem.strerror}. "
            "Choose another folder."
        ) from problem
    return path


def _sync_folder(folder: Path) -> None:
    """Forces a rename to the disk, on systems where a folder can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
