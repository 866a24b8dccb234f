"""Files the user brings: IDX, `.npz`, `.npy` and `.csv`, read without trust.

Nothing is unpickled, and sizes in headers are compared with the size of the file before memory is
allocated, so a truncated file or an archive made to exhaust memory ends in `DataError`.
"""

import csv
import gzip
import math
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dgmjax.data.reading import npy
from dgmjax.data.reading.archives import open_zip, require_size
from dgmjax.errors import DataError, require

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_DAMAGE = (
    *(OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile),
    *(MemoryError, OverflowError, NotImplementedError, RuntimeError, csv.Error),
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
            found = np.frombuffer(data, dtype).reshape(shape)
            return found.astype(dtype.newbyteorder("="), copy=False)
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error


def read_csv(path: Path, *, max_bytes: int | None = None) -> np.ndarray:
    """The numbers of a table, float64 `[rows, columns]`; a first line without any is a header."""
    numbers, columns = array("d"), 0
    try:
        require_size(path, path.stat().st_size, max_bytes)
        with path.open(encoding="utf-8-sig") as stream:
            for line, cells in _rows(stream):
                columns = columns or len(cells)
                if len(cells) != columns:
                    raise damaged(path, f"line {line} has {len(cells)} cells, not {columns}")
                try:
                    numbers.extend(map(_number, cells))
                except ValueError as error:
                    column = next(i for i, cell in enumerate(cells) if not is_number(cell))
                    why = f"line {line}, column {column + 1} holds {cells[column]!r}, not a number"
                    raise damaged(path, why) from error
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(path, error) from error
    require(columns > 0, "name", "must be a table with rows", path, "", DataError)
    return np.array(numbers).reshape(-1, columns)


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that has any, without a header."""
    separator: str | None = None
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if first:
            separator = next((c for c in ",;\t" if c in line), None)
        cells = line.split() if separator is None else _split(line, separator)
        if not first or any(map(is_number, cells)):
            yield number, cells
        first = False


def _split(line: str, separator: str) -> list[str]:
    """The cells of a line; quotes around them are taken off."""
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True))


def _number(cell: str) -> float:
    """The number in a table's cell; 1_000 is Python's, and in a table more likely a mistake."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    """Whether the text of a table's cell is a number."""
    try:
        _number(cell)
    except ValueError:
        return False
    return True


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
