"""Files the user brings: IDX, `.npz`, `.npy` and `.csv`, read without trust.

Nothing is unpickled, and sizes in headers are compared with the size of the file before memory is
allocated, so a truncated file or an archive made to exhaust memory ends in `DataError`.
"""

import gzip
import math
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from dgmjax.data.reading import npy
from dgmjax.data.reading.archives import open_zip, require_size
from dgmjax.errors import DataError, require

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_DAMAGE = (
    *(OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile),
    *(MemoryError, OverflowError, NotImplementedError, RuntimeError),
)


def damaged(path: Path, why: object) -> DataError:
    """The error for a file whose content does not match its name."""
    return DataError(f"`name` must be a readable {path.suffix} file; got {path}: {why}.")


def read_npy(path: Path, *, mmap: bool = False, max_bytes: int | None = None) -> np.ndarray:
    """The array of an `.npy` file; with `mmap` it stays on disk, and any size will do."""
    try:
        size = path.stat().st_size
        if not mmap:
            require_size(path, size, max_bytes)
        with path.open("rb") as stream:
            header = _header(path, stream, size)
            if not mmap:
                return npy.read_data(stream, header)
        dtype: Any = header.dtype
        order: Any = "F" if header.fortran else "C"
        return np.memmap(path, dtype, "r", header.offset, header.shape, order)
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def read_npz(path: Path, *, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` archive; its checksums are verified."""
    try:
        arrays = {}
        with open_zip(path, max_bytes) as archive:
            for member in archive.infolist():
                with archive.open(member) as stream:
                    header = _header(path, stream, member.file_size)
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = npy.read_data(stream, header)
        return arrays
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def _header(path: Path, stream: IO[bytes], size: int) -> npy.Header:
    """The `.npy` header, which must announce exactly the bytes that follow it."""
    header = npy.read_header(stream)
    if header.bytes != size - header.offset:
        follow = size - header.offset
        raise damaged(path, f"it announces {header.bytes} bytes and holds {follow}")
    return header


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
            # One byte more than announced: it finds what follows, and a bomb unpacks to no more
            # than that.
            data = stream.read(size + 1)
            if len(shape) != magic[3] or len(data) != size:
                raise damaged(path, f"it announces {shape} and ends after {len(data)} bytes")
            array = np.frombuffer(data, dtype).reshape(shape)
            return array.astype(dtype.newbyteorder("="), copy=False)
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def read_csv(path: Path, *, max_bytes: int | None = None) -> np.ndarray:
    """The numbers of a table, float64 `[rows, columns]`; a non-numeric first line is a header."""
    try:
        require_size(path, path.stat().st_size, max_bytes)
        with path.open(encoding="utf-8") as stream:
            position, line = 0, stream.readline()
            while line and not line.strip():
                position, line = stream.tell(), stream.readline()
            separator = next((c for c in ",;\t" if c in line), None)
            if line and _numbers(line.split(separator)):
                stream.seek(position)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of an empty table, refused below
                table = np.loadtxt(stream, delimiter=separator, ndmin=2, comments=None)
        require(table.size > 0, "name", "must be a table with rows", path, "", DataError)
        return table
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
