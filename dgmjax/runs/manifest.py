"""Manifests: the SHA-256 of every file of a folder, by which any later change is found.

No array format checks what it reads: of 90 flipped bytes in Orbax's files, 89 loaded as other
numbers without an error. A manifest is written last; it also names the step and the run, so that a
folder swapped for another is detected too. Importing this file imports no JAX.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from dgmjax.errors import CheckpointError, RunError
from dgmjax.files import is_stored, stored_files, write_atomically
from dgmjax.runs import strict_json

NAME = "manifest.json"
FORMAT = 1


def seal(folder: Path, step: int, identity: str = "") -> None:
    """Writes `folder`'s manifest, atomically.

    Raises:
      CheckpointError: it holds links or devices, or the disk is full or read-only.
    """
    entries = {"format": FORMAT, "step": step, "identity": identity, "files": _digests(folder)}
    write_atomically(folder / NAME, strict_json.dumps(entries, indent=1), CheckpointError)


def problem(folder: Path, step: int, identity: str = "") -> str | None:
    """How `folder` differs from the one sealed as `step` of `identity`; None if it does not."""
    if not (folder / NAME).is_file():
        return f"its file {NAME} is missing"
    try:
        expected = strict_json.read(folder / NAME)
    except RunError:
        return f"its file {NAME} is damaged"
    try:
        found = _digests(folder)
    except CheckpointError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error})"
    if not isinstance(expected, dict) or expected.get("format") != FORMAT:
        return f"its file {NAME} is damaged, or of another version"
    # Digests alone would accept a whole folder that was copied into the place of another.
    if expected.get("step") != step:
        return f"it was sealed as step {expected.get('step')!r}"
    if expected.get("identity") != identity:
        return "it belongs to another run"
    return _difference(expected.get("files"), found)


def _difference(expected: Any, found: dict[str, list]) -> str | None:
    if not isinstance(expected, dict):
        return f"its file {NAME} is damaged"
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"its file {name} is missing"
        if name not in expected:
            return f"its file {name} is not in the manifest"
        if expected[name] != found[name]:
            return f"its file {name} was altered or truncated"
    return None


def _digests(folder: Path, below: str = "") -> dict[str, list]:
    """`[bytes, SHA-256]` of every file below `folder`, by relative path, but the manifest's."""
    if is_stored(folder):
        files = stored_files(folder)
        return {name: _digest(path) for name, path in files.items() if name != NAME}
    found = {}
    with os.scandir(folder / below) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            # A link would be digested as what it points to, which may change afterwards.
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                found.update(_digests(folder, f"{name}/"))
            elif not stat.S_ISREG(mode):
                raise CheckpointError(f"its entry {name} is neither a file nor a folder")
            elif name != NAME and not name.startswith(f".{NAME}."):  # one being written
                found[name] = _digest(folder / name)
    return found


def _digest(path: Path) -> list:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return [file.tell(), digest]
