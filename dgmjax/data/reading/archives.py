"""Archives, read without trust: nothing is unpacked to disk, and everything has a bound.

A header may announce any size: a file of a few kilobytes may claim gigabytes, or millions of empty
members. Sizes are checked before memory is allocated, and bytes are counted while they are read.
"""

import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dgmjax.errors import DataError, require

MAX_BYTES = 2**32
MAX_MEMBERS = 20_000
MAX_RATIO = 200  # unpacked to packed, counted from `SMALL` on
SMALL = 2**25
_MAX_TAR = 2**25  # of a whole tar archive unpacked
_MAX_TAR_MEMBERS = 4_000
_MAX_DICTIONARY = 2**24 + 2**20  # memory of an xz decoder
_LARGEST_READ = 2**22
_LARGEST_MEMBER = 2**23  # of a tar archive; its extended headers, too


def require_size(path: Path, unpacked: int, max_bytes: int | None) -> None:
    """Refuses to unpack a file into more than `max_bytes`, or into 200 times its size.

    Without a `max_bytes` it is 4 GiB, and the ratio counts from 32 MiB on.
    """
    packed = path.stat().st_size
    # The ratio of a bomb is its mark, but small files may have any: a few kilobytes of zeros are
    # harmless.
    bomb = max_bytes is None and unpacked > max(SMALL, MAX_RATIO * packed)
    limit = MAX_BYTES if max_bytes is None else max_bytes
    require(
        unpacked <= limit and not bomb,
        "name",
        f"must be a file that unpacks to at most {limit} bytes and {MAX_RATIO} times its size",
        f"{path} of {packed} bytes, which unpacks to {unpacked}",
        "If you trust it, raise max_bytes.",
        DataError,
    )


class _Bounded(io.FileIO):
    """A file that is never read in one large piece, such as a central directory of 100 MB."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        if size > _LARGEST_READ:
            raise zipfile.BadZipFile(f"it asks to read {size} bytes at once")
        return super().read(size)


@contextmanager
def open_zip(path: Path, max_bytes: int | None = None) -> Iterator[zipfile.ZipFile]:
    """A zip archive with few members, stored or deflated, and of bounded total size.

    No member unpacks to more than it declares, and its checksum is verified.
    """
    with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        few = len(members) <= MAX_MEMBERS
        rule = f"must have at most {MAX_MEMBERS} members"
        require(few, "name", rule, f"{path} with {len(members)}", "", DataError)
        plain = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if any(member.compress_type not in plain for member in members):
            raise zipfile.BadZipFile("it has members that are neither stored nor deflated")
        # Programs disagree about which of them counts: what one has checked another would not read.
        if len({member.filename for member in members}) < len(members):
            raise zipfile.BadZipFile("it has two members of one name")
        require_size(path, sum(member.file_size for member in members), max_bytes)
        yield archive


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The content of a member, in pieces that `open_zip` allows."""
    with archive.open(member) as stream:
        return b"".join(iter(lambda: stream.read(2**20), b""))


def tar_member(path: Path, name: str) -> bytes:
    """The content of one plain file of a `.tar.xz`; the archive unpacks to at most 32 MiB.

    Links, devices and names that lead out of the archive are refused.

    Raises:
      tarfile.TarError, lzma.LZMAError, OSError, EOFError, ValueError: a damaged archive.
      DataError: one that is too large, or whose member is not a plain file.
    """
    with tarfile.open(fileobj=_unpacked(path), mode="r:") as archive:
        for count, info in enumerate(archive):
            rule = f"must have at most {_MAX_TAR_MEMBERS} members"
            require(count < _MAX_TAR_MEMBERS, "name", rule, path, "", DataError)
            if info.name == name:
                return _plain(path, archive, info)
    raise tarfile.TarError("it is not in the archive")


def _plain(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    # Refuses absolute names, names with "..", links that lead outside, and devices.
    checked = tarfile.data_filter(info, ".")
    plain = checked is not None and info.isreg() and not info.issparse()
    require(plain, "name", "must be a plain file of the archive", info.name, "", DataError)
    stream: IO[bytes] | None = archive.extractfile(info)
    content = b"" if stream is None else stream.read()
    if len(content) != info.size:
        raise EOFError(f"it ends after {len(content)} of {info.size} bytes")
    return content


class _BoundedBytes(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > _LARGEST_MEMBER:
            raise tarfile.ReadError(f"it has an entry of {size} bytes")
        return super().read(size)


def _unpacked(path: Path) -> io.BytesIO:
    """The content of an `.xz` file, with a bound on it and on the decoder's memory."""
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MAX_DICTIONARY)
    content = _BoundedBytes()
    with path.open("rb") as file:
        while not decoder.eof:
            packed = file.read(2**16) if decoder.needs_input else b""
            if decoder.needs_input and not packed:
                raise EOFError("it ends in the middle")
            # Without a `max_length` the decoder would unpack all that its input holds before
            # anything could be compared.
            content.write(decoder.decompress(packed, max_length=2**20))
            rule = f"must unpack to at most {_MAX_TAR} bytes"
            require(content.tell() <= _MAX_TAR, "name", rule, path, "", DataError)
    content.seek(0)
    return content
