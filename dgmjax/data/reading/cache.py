"""Decoded arrays, kept in a private folder so that decoding happens once.

An entry is a folder of `.npy` files and a manifest with each file's shape, dtype and CRC-32. It is
written under a temporary name and renamed, so a reader sees all of it or nothing; a truncated or
altered entry is rebuilt.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = "DGMJAX_CACHE"
_FORMAT = 1
_log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """`$DGMJAX_CACHE`, or else the user's cache folder, with `datasets` inside."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser() / "datasets"
    import platformdirs

    return Path(platformdirs.user_cache_dir("dgmjax")) / "datasets"


def fingerprint(files: Iterable[Path], folder: Path | None = None) -> list[list[Any]]:
    """Name, size and modification time of each file; a change invalidates a cached entry.

    With a `folder`, in whose subfolders files may have one name, the name is the path within it,
    and the time of the last change of the entry counts too: two files that change places may agree
    in everything else.
    """
    stats = [(path, path.stat()) for path in sorted(files)]
    if folder is None:
        return [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    return [
        [path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        for path, stat in stats
    ]


def cached(
    name: str, key: Mapping[str, Any], build: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays of `build()`, from the cache if it holds the entry `name`, `key`.

    `DGMJAX_CACHE=off` builds them anew each time.
    `key` is JSON-safe. A cache that cannot be written costs only time: it is logged, not raised.
    """
    if os.environ.get(VARIABLE) == "off":
        return dict(build())
    text = json.dumps([_FORMAT, name, key], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    entry = cache_dir() / f"{safe}-{digest}"
    arrays = _read(entry)
    if arrays is None:
        arrays = dict(build())
        try:
            _write(entry, arrays)
        except OSError as error:
            _log.warning("cannot cache %s in %s: %s", name, entry.parent, error)
    return arrays


def _read(entry: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an entry, or None if it is absent or was changed."""
    if not entry.is_dir():
        return None
    try:
        manifest = json.loads((entry / "manifest.json").read_text())
        arrays = {}
        for name, crc in manifest.items():
            array = np.load(entry / f"{name}.npy", allow_pickle=False)
            # An altered file would change training without any error; rebuilding costs seconds.
            if _crc(array) != crc:
                raise ValueError(f"{name}.npy differs from its checksum")
            arrays[name] = array
    except (OSError, ValueError, EOFError, AttributeError) as error:
        _log.warning("rebuilding the cached data %s: %s", entry, error)
        return None
    return arrays


def _write(entry: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an entry under a temporary name and renames it, replacing an earlier one."""
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in entry.parent.glob(".writing-*"):  # of processes that were killed
        if time.time() - stale.stat().st_mtime > 3600:
            shutil.rmtree(stale, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=entry.parent))  # mode 0700
    try:
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        manifest = {name: _crc(array) for name, array in arrays.items()}
        (scratch / "manifest.json").write_text(json.dumps(manifest))
        # A reader that comes between the two finds no entry, and builds its own.
        shutil.rmtree(entry, ignore_errors=True)
        try:
            scratch.rename(entry)
        except OSError:
            if not entry.is_dir():  # otherwise another process was first, with the same data
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _crc(array: np.ndarray) -> str:
    """The CRC-32 of an array's bytes, with its dtype and shape."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{zlib.crc32(data.data):08x} {array.dtype} {list(array.shape)}"
