"""Files the user brings: IDX, `.npz`, `.npy` and `.csv`, read without trust.

Nothing is unpickled, and what a header announces is held against the size of the file before
memory is asked for, so a truncated file or an archive made to exhaust memory ends in `DataError`.
"""

import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dgmjax.errors import DataError, require

MAX_BYTES = 2**32
_SMALL, _MAX_RATIO = 2**26, 200  # more than 64 MiB, unpacked from less than a 200th of it
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, MemoryError)


def damaged(path: Path, why: object) -> DataError:
    """The error for a file that is not what its name says."""
    return DataError(f"`name` must be a readable {path.suffix} file; got {path}: {why}.")


def require_size(path: Path, unpacked: int, max_bytes: int | None) -> None:
    """Refuses to unpack a file into more than `max_bytes`, or into 200 times its size.

    Without a `max_bytes` it is 4 GiB, and the ratio counts from 64 MiB on.
    """
    packed = path.stat().st_size
    bomb = max_bytes is None and unpacked > max(_SMALL, _MAX_RATIO * packed)
    limit = MAX_BYTES if max_bytes is None else max_bytes
    require(
        unpacked <= limit and not bomb,
        "name",
        f"must be a file that unpacks to at most {limit} bytes and {_MAX_RATIO} times its size",
        f"{path} of {packed} bytes, which unpacks to {unpacked}",
        "If you trust it, raise max_bytes.",
        DataError,
    )


def read_npy(path: Path, *, mmap: bool = False, max_bytes: int | None = None) -> np.ndarray:
    """The array of an `.npy` file; with `mmap` it stays on disk, and any size will do."""
    try:
        size = path.stat().st_size
        if not mmap:
            require_size(path, size, max_bytes)
        with path.open("rb") as stream:
            _check_header(path, stream, size)
        return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def read_npz(path: Path, *, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` archive; its checksums are verified."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            require_size(path, sum(member.file_size for member in members), max_bytes)
            arrays = {}
            for member in members:
                with archive.open(member) as stream:
                    _check_header(path, stream, member.file_size)  # type: ignore[arg-type]
                data = io.BytesIO(archive.read(member))
                name = member.filename.removesuffix(".npy")
                arrays[name] = np.lib.format.read_array(data, allow_pickle=False)
            return arrays
    except DataError:
        raise
    except (*_DAMAGE, NotImplementedError, RuntimeError) as error:
        raise damaged(path, error) from error


def _check_header(path: Path, stream: BinaryIO, size: int) -> None:
    """The `.npy` header must announce exactly the bytes that follow it, of a plain dtype."""
    version = np.lib.format.read_magic(stream)
    known: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    require(version in known, "name", "must be a file of .npy version 1 or 2", path, "", DataError)
    shape, _, dtype = known[version](stream)
    if dtype.hasobject:
        raise damaged(path, "it holds Python objects, which are not read")
    expected = math.prod(shape) * dtype.itemsize
    if expected != size - stream.tell():
        raise damaged(path, f"it announces {expected} bytes and holds {size - stream.tell()}")


def read_idx(path: Path, *, max_bytes: int | None = None) -> np.ndarray:
    """The array of an IDX file, plain or `.gz` (LeCun, Cortes, Burges, "MNIST database").

    Two zero bytes, a type code, the number of dimensions, each as a big-endian uint32, the data.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
                raise damaged(path, f"it starts with {magic!r}, which is not IDX")
            shape = np.frombuffer(stream.read(4 * magic[3]), ">u4").tolist()
            dtype = np.dtype(_IDX_TYPES[magic[2]])
            size = math.prod(shape) * dtype.itemsize
            require_size(path, size, max_bytes)
            data = stream.read(size + 1)
            if len(shape) != magic[3] or len(data) != size:
                raise damaged(path, f"it announces {shape} and ends after {len(data)} bytes")
            return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def read_csv(path: Path, *, max_bytes: int | None = None) -> np.ndarray:
    """The numbers of a table, float64 `[rows, columns]`; a first line of words is a header."""
    try:
        require_size(path, path.stat().st_size, max_bytes)
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        require(len(lines) > 0, "name", "must be a table with rows", path, "", DataError)
        separator = next((c for c in ",;\t" if c in lines[0]), None)
        header = not _numbers(lines[0].split(separator))
        require(len(lines) > header, "name", "must be a table with rows", path, "", DataError)
        return np.loadtxt(lines[header:], delimiter=separator, ndmin=2)
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def _numbers(cells: Sequence[str]) -> bool:
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


READERS: Mapping[str, Callable[..., Any]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": read_csv,
    ".gz": read_idx,
    ".idx": read_idx,
}


def reader(path: Path) -> Callable[..., Any] | None:
    """The reader of a path by its ending, or None; IDX files often end in `-ubyte`."""
    return read_idx if path.name.endswith("ubyte") else READERS.get(path.suffix)
