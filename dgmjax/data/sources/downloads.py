"""Original files of public data sets: downloaded by checksum, continued where a download ended."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from dgmjax.errors import DataError, require
from dgmjax.files import make_folder

_CHUNK = 2**18
_TIMEOUT = 60.0


class File(NamedTuple):
    """A file of a data set: its place in the data folder, SHA-256, size in bytes, and addresses.

    The addresses are tried one after the other.
    """

    place: str
    sha256: str
    size: int
    urls: tuple[str, ...]


def _idx(folder: str, mirrors: tuple[str, ...], rows: dict[str, tuple[str, int]]) -> list[File]:
    return [
        File(f"{folder}/{name}", digest, size, tuple(f"{mirror}{name}" for mirror in mirrors))
        for name, (digest, size) in rows.items()
    ]


_MNIST = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_FASHION = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
_BINARIZED = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)

DOWNLOADS: dict[str, list[File]] = {
    "mnist": _idx(
        "mnist",
        _MNIST,
        {
            "train-images-idx3-ubyte.gz": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                9912422,
            ),
            "train-labels-idx1-ubyte.gz": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                28881,
            ),
            "t10k-images-idx3-ubyte.gz": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                1648877,
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                4542,
            ),
        },
    ),
    "fashion_mnist": _idx(
        "fashion_mnist",
        _FASHION,
        {
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                26421880,
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                29515,
            ),
            "t10k-images-idx3-ubyte.gz": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                4422102,
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                5148,
            ),
        },
    ),
    "binarized_mnist": _idx(
        "binarized_mnist",
        (_BINARIZED,),
        {
            "binarized_mnist_train.amat": (
                "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
                78400000,
            ),
            "binarized_mnist_valid.amat": (
                "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
                15680000,
            ),
            "binarized_mnist_test.amat": (
                "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
                15680000,
            ),
        },
    ),
    "tinyshakespeare": [
        File(
            "tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            1115394,
            (_SHAKESPEARE,),
        )
    ],
}


def get(
    name: str, folder: Path, *, say: Callable[[str], None] = print, base: str | None = None
) -> list[Path]:
    """Downloads what is missing of a data set into the data folder; the paths of its files.

    A file counts only with the right size and SHA-256. A download that ended early continues from
    `<file>.part`, by an HTTP range.

    Args:
      name: a key of `DOWNLOADS`.
      folder: the data folder; made if absent.
      say: called with one line for each file.
      base: address of a mirror that holds the files under their places, in place of the originals.

    Raises:
      DataError: an unknown name, no address that answers, or a file with another checksum.
    """
    rule = f"must be one of {', '.join(DOWNLOADS)}"
    require(name in DOWNLOADS, "name", rule, repr(name), "Other sets are files to put there.")
    paths = []
    for file in DOWNLOADS[name]:
        path = folder / file.place
        paths.append(path)
        if path.is_file() and _is(path, file):
            say(f"{path}: there already")
            continue
        make_folder(path.parent, DataError)
        urls = file.urls if base is None else (f"{base.rstrip('/')}/{file.place}",)
        _download(file, path, urls, say)
        say(f"{path}: {file.size} bytes, SHA-256 {file.sha256[:12]}... is right")
    return paths


def _is(path: Path, file: File) -> bool:
    if path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _download(file: File, path: Path, urls: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Tries the addresses in turn; the file gets its name only once its checksum is right."""
    part = path.with_name(f"{path.name}.part")
    problems = []
    for url in urls:
        try:
            _fetch(url, part, file.size)
        except (OSError, ValueError) as problem:
            problems.append(f"{url}: {problem}")
            continue
        if _is(part, file):
            os.replace(part, path)
            return
        size = part.stat().st_size
        if size < file.size:
            problems.append(f"{url}: ended after {size} of {file.size} bytes")
            continue
        part.unlink()  # wrong from the first byte on, perhaps: nothing to continue
        problems.append(f"{url}: {size} bytes that are not those of the original")
        say(problems[-1])
    raise DataError(
        f"`name` must have a file that can be downloaded; {path.name} failed: "
        f"{'; '.join(problems)}. The same command continues; or put the file there by hand."
    )


def _fetch(url: str, part: Path, size: int) -> None:
    """Appends to `part` what is missing of the `size` bytes at `url`."""
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "dgmjax"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        # A server that knows no ranges sends everything again.
        continued = getattr(answer, "status", None) == 206
        with part.open("ab" if continued else "wb") as out:
            _copy(answer, out, size - have if continued else size)


def _copy(source: IO[bytes], out: IO[bytes], most: int) -> None:
    while most > 0 and (chunk := source.read(min(_CHUNK, most))):
        out.write(chunk)
        most -= len(chunk)
