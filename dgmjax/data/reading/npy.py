"""Strict reader of the `.npy` format: a header that is matched, not evaluated, and plain numbers.

NumPy parses the header as a Python expression and accepts records and pickled objects. Here the
one form that `np.save` writes is accepted, of booleans, numbers and texts (R. Kern,
"NEP 1: A Simple File Format for NumPy Arrays", 2007,
https://numpy.org/neps/nep-0001-npy-format.html).
"""

import math
import re
from typing import IO, NamedTuple

import numpy as np

_MAX_HEADER = 4096
_CHUNK = 2**20
# Each repetition is bounded. 19 digits hold every size that fits into memory, and `int` of a longer
# text takes quadratic time.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=][biufcSU]\d{1,4})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?)*\d{0,19})\), ?\} *\n"
)


class Header(NamedTuple):
    """The header of an array; `bytes` of data follow from position `offset`."""

    dtype: np.dtype
    fortran: bool
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        # Python integers: in NumPy the product of announced sizes could wrap around to a small
        # number.
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """The header at the beginning of `stream`. Raises `ValueError` for anything else."""
    start = stream.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise ValueError("it does not start like an array of NumPy")
    width = 2 if start[6] == 1 else 4
    size = int.from_bytes(stream.read(width), "little")
    if size > _MAX_HEADER:
        raise ValueError(f"its header announces {size} bytes")
    text = stream.read(size)
    # Only for its message: the expression below refuses it as well.
    if b"'|O'" in text or b"'O'" in text:
        raise ValueError("it holds Python objects, which are not read")
    found = _HEADER.fullmatch(text)
    if found is None:
        raise ValueError("its header is not that of an array of plain numbers")
    try:
        dtype = np.dtype(found[1].decode())
    except TypeError as error:
        raise ValueError(f"its dtype is unknown ({error})") from error
    shape = tuple(int(n) for n in found[3].replace(b" ", b"").split(b",") if n)
    if len(shape) > 32 or dtype.itemsize == 0:
        raise ValueError("it has more than 32 dimensions, or entries of no size")
    return Header(dtype, found[2] == b"True", shape, 8 + width + size)


def read_data(stream: IO[bytes], header: Header) -> np.ndarray:
    """The array that follows its header, which must be all that is left of `stream`.

    The caller has checked `header.bytes` against its limit.
    """
    buffer = bytearray(header.bytes)
    view, position = memoryview(buffer), 0
    while position < len(buffer):
        chunk = stream.read(min(_CHUNK, len(buffer) - position))
        if not chunk:
            raise ValueError(f"it announces {len(buffer)} bytes and ends after {position}")
        view[position : position + len(chunk)] = chunk
        position += len(chunk)
    # Bytes that nobody announced are a sign of damage, or of something hidden.
    if stream.read(1):
        raise ValueError(f"it announces {len(buffer)} bytes and holds more")
    flat = np.frombuffer(buffer, header.dtype)
    if not header.dtype.isnative:  # JAX takes no other order of bytes
        flat = flat.astype(header.dtype.newbyteorder("="))
    return flat.reshape(header.shape, order="F" if header.fortran else "C")
