"""Pictures of a folder as arrays: PNG, JPEG and others that Pillow reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgmjax.data.reading.archives import MAX_BYTES
from dgmjax.data.reading.files import damaged
from dgmjax.errors import DataError, require

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MAX_PIXELS = 2**26
"""Of one picture, unpacked: a small file may announce a picture of any size."""


def pictures_of(folder: Path) -> list[Path]:
    """The pictures in a folder and the folders in it, by name."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def read_pictures(
    paths: Sequence[Path], *, size: int | None = None, grey: bool = False
) -> np.ndarray:
    """Pictures as uint8 `[N, height, width, channels]`, one channel if all are grey, otherwise 3.

    Transparency is dropped, and the rotation noted by a camera is applied.

    Args:
      paths: at least one.
      size: the largest centred square of each picture, resized to this side (Lanczos).
      grey: one channel for coloured pictures, too: luma as of ITU-R BT.601.

    Raises:
      DataError: no picture, pictures of different sizes without `size`, damaged ones, more than 8
        bits a channel, or more than 4 GiB in all.
    """
    require(len(paths) > 0, "paths", "must name at least one picture", "none", "", DataError)
    require(size is None or size >= 1, "size", "must be at least 1", size, "", DataError)
    all_grey = all([_is_grey(path) for path in paths])  # every one is checked
    mode = "L" if grey or all_grey else "RGB"
    first = _pixels(paths[0], mode, size)
    total = len(paths) * first.nbytes
    rule = f"must hold at most {MAX_BYTES} bytes of pixels"
    remedy = "Make the pictures smaller with `size`, or store them as .npy and use `mmap`."
    require(total <= MAX_BYTES, "name", rule, total, remedy, DataError)
    x = np.empty((len(paths), *first.shape), np.uint8)
    for row, path in zip(x, paths):
        pixels = _pixels(path, mode, size)
        require(
            pixels.shape == first.shape,
            "name",
            f"must hold pictures of one size, {first.shape[1]} x {first.shape[0]}",
            f"{path.name} of {pixels.shape[1]} x {pixels.shape[0]}",
            "Give a `size` to which all are cropped and resized.",
            DataError,
        )
        row[...] = pixels
    return x


def _is_grey(path: Path) -> bool:
    """Whether a picture has no colours; its header is checked, nothing is decoded."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            mode, size = picture.mode, picture.size
        with path.open("rb") as stream:
            deep = _deep(stream.read(25))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise damaged(path, error) from error
    eight = not (deep or mode.startswith(("I", "F")))
    rule = "must have 8 bits a channel"
    require(eight, "name", rule, f"{path} of mode {mode}", "Convert it first.", DataError)
    small = size[0] * size[1] <= MAX_PIXELS
    rule = f"must have at most {MAX_PIXELS} pixels"
    require(small, "name", rule, f"{path} of {size[0]} x {size[1]}", "", DataError)
    return mode in ("1", "L", "LA")


def _deep(header: bytes) -> bool:
    """Whether a PNG has 16 bits a channel, of which Pillow keeps 8 where there are colours."""
    return header.startswith(b"\x89PNG\r\n\x1a\n") and header[24:25] == b"\x10"


def _pixels(path: Path, mode: str, size: int | None) -> np.ndarray:
    """uint8 `[height, width, channels]`."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            turned: Any = ImageOps.exif_transpose(picture).convert(mode)
            if size is not None:
                turned = ImageOps.fit(turned, (size, size), Image.Resampling.LANCZOS)
            pixels = np.asarray(turned)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise damaged(path, error) from error
    return pixels[..., None] if pixels.ndim == 2 else pixels
