"""Data sets from the user's own files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dgmjax.data.checks import validate
from dgmjax.data.dataset import Dataset, describe, num_rows, split_rows
from dgmjax.data.reading.files import read_npy, read_npz, reader
from dgmjax.errors import DataError, require

_SPLITS = ("train", "validation", "test")
_ALIASES = {"y": "label", "labels": "label", "data": "x", "images": "x", "image": "x"}


def load_path(
    name: str,
    folder: Path,
    *,
    splits: Mapping[str, float] | None = None,
    split_seed: int = 0,
    label: str | Path | int | None = None,
    mmap: bool = False,
    max_bytes: int | None = None,
) -> Dataset:
    """An `.npz`, `.npy`, `.csv` or IDX file, at the path as given or in the data folder.

    An archive may bring its own splits as `x_train`, `label_train`, `x_test` and so on; otherwise
    the rows are divided at random. Images of an IDX file get a channel axis.

    Args:
      name: the path.
      folder: where a relative path is searched next.
      splits: sizes of random splits, in rows or fractions.
      split_seed: of the division.
      label: another file with one label per row, or the column of a `.csv` that holds it.
      mmap: leave an `.npy` on disk; with `splits={"train": 1.0}` nothing is copied.
      max_bytes: the largest size to unpack to; 4 GiB and 200 times the file unless given.

    Raises:
      DataError: an absent, truncated or oversized file, NaN, or lengths that differ.
    """
    path = _find(name, folder)
    arrays = _read(path, mmap, max_bytes)
    if path.suffix == ".csv" and isinstance(label, int):
        columns = arrays["x"].shape[1]
        inside = -columns <= label < columns
        rule = f"must be one of the {columns} columns"
        require(inside, "label", rule, label, "", DataError)
        arrays["label"] = _whole(arrays["x"][:, label], path)
        arrays["x"] = np.delete(arrays["x"], label, axis=1)
    elif label is not None:
        beside = _find(str(label), folder)
        arrays["label"] = _whole(_read(beside, False, max_bytes)["x"].reshape(-1), beside)
    own = {split: _of_split(arrays, split) for split in _SPLITS}
    parts = {split: found for split, found in own.items() if "x" in found}
    made = "as in the file"
    if parts:
        rule = "must be left out: the file has its own"
        require(splits is None, "splits", rule, splits, "", DataError)
    else:
        require(
            "x" in arrays, "name", "must hold `x`", f"{path} with {list(arrays)}", "", DataError
        )
        num_rows(arrays)
        parts, made = split_rows(arrays, splits, split_seed), f"random, seed {split_seed}"
    for part in parts.values():
        validate(part, values="real")
    info = describe(parts, source=f"file {path.name}", version="of the user", splits=made)
    return Dataset(path.name, parts, info)


def _find(name: str, folder: Path) -> Path:
    """The path as written, else below `folder`."""
    places = [Path(name).expanduser(), folder / name]
    for path in places:
        if path.is_file():
            known = reader(path) is not None
            rule = "must end in .npz, .npy, .csv, .idx, ubyte or .gz"
            require(known, "name", rule, name, "", DataError)
            return path
    raise DataError(f"`name` must be an existing file; looked for {places[0]} and {places[1]}.")


def _read(path: Path, mmap: bool, max_bytes: int | None) -> dict[str, np.ndarray]:
    """The arrays of a file under their names here: `x`, `label`, `x_train`, ..."""
    read = reader(path)
    if read is None:
        raise DataError(f"`name` must end in .npz, .npy, .csv, .idx, ubyte or .gz; got {path}.")
    if read is read_npz:
        arrays = read_npz(path, max_bytes=max_bytes)
        if len(arrays) == 1:
            return {"x": next(iter(arrays.values()))}
        return {_renamed(key): value for key, value in arrays.items()}
    if read is read_npy:
        return {"x": read_npy(path, mmap=mmap, max_bytes=max_bytes)}
    x = read(path, max_bytes=max_bytes)
    if path.suffix == ".csv":
        with np.errstate(over="ignore"):  # an infinity is refused later
            return {"x": x.astype(np.float32)}
    return {"x": x[..., None] if x.ndim == 3 else x}


def _renamed(key: str) -> str:
    """`y_train`, `train_y` and `y` to `label_train` and `label`; `data` and `images` to `x`."""
    words = key.split("_")
    split = [word for word in words if word in _SPLITS]
    rest = "_".join(word for word in words if word not in _SPLITS)
    return "_".join([_ALIASES.get(rest, rest), *split])


def _of_split(arrays: Mapping[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
    ending = f"_{split}"
    return {k.removesuffix(ending): v for k, v in arrays.items() if k.endswith(ending)}


def _whole(label: np.ndarray, path: Path) -> np.ndarray:
    """Labels as int32."""
    numeric = label.dtype.kind in "buif"
    require(numeric, "label", "must be whole numbers", f"{label.dtype} in {path}", "", DataError)
    whole = bool(np.all((abs(label.astype(np.float64)) < 2**31) & (label == np.round(label))))
    require(whole, "label", "must be whole numbers below 2**31", path, "", DataError)
    return label.astype(np.int32)
