"""Data sets from the user's own files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from dgmjax.data.checks import validate
from dgmjax.data.dataset import Dataset, describe, num_rows, split_rows
from dgmjax.data.reading.files import read_npy, read_npz, reader
from dgmjax.errors import DataError, require

SPLITS = ("train", "validation", "test")
SPLIT_ALIASES = {"val": "validation", "valid": "validation"}
_ALIASES = {"": "x", "y": "label", "labels": "label", "data": "x", "images": "x", "image": "x"}


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

    An archive may bring its own splits as `x_train`, `label_train`, `x_val`, `x_test` and so on, or
    as bare `train`, `validation` and `test`; otherwise the rows are divided at random. Images of an
    IDX file get a channel axis.

    Args:
      name: the path.
      folder: where a relative path is searched next.
      splits: sizes of random splits, in rows or fractions.
      split_seed: of the division.
      label: another file with one label per row, or the column of a `.csv` that holds it.
      mmap: leave an `.npy` on disk; with `splits={"train": 1.0}` nothing is copied.
      max_bytes: the largest size to unpack to; 4 GiB and 200 times the file unless given.

    Raises:
      DataError: an absent, truncated or oversized file, NaN, lengths that differ, labels that are
        not whole numbers, or splits without `train` or beside arrays of none.
    """
    path = labelled = _find(name, folder)
    stored = _read(path, mmap, max_bytes)
    arrays = _renamed(stored, path)
    parts = _own_splits(arrays, stored, path)
    made = "as in the file"
    if parts:
        for option, given in (("splits", splits), ("label", label)):
            rule = "must be left out: the file has its own splits"
            require(given is None, option, rule, given, "", DataError)
    else:
        held = f"{path} with {list(stored)}"
        require("x" in arrays, "name", "must hold `x`", held, "", DataError)
        if path.suffix == ".csv" and isinstance(label, int):
            columns = arrays["x"].shape[1]
            inside = -columns <= label < columns
            rule = f"must be one of the {columns} columns"
            require(inside, "label", rule, label, "", DataError)
            arrays["label"] = arrays["x"][:, label]
            arrays["x"] = np.delete(arrays["x"], label, axis=1)
        elif label is not None:
            labelled = _find(str(label), folder)
            arrays["label"] = _only(_read(labelled, False, max_bytes), labelled)
        if path.suffix == ".csv":  # after the labels, of which float32 would merge those above 2^24
            with np.errstate(over="ignore"):  # an infinity is refused later
                arrays["x"] = arrays["x"].astype(np.float32)
        num_rows(arrays)
        parts, made = split_rows(arrays, splits, split_seed), f"random, seed {split_seed}"
    for part in parts.values():
        validate(part, values="real")
        if "label" in part:
            part["label"] = _whole(part["label"], labelled)
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
    """The arrays of an archive under their names there, or that of another file as `x`."""
    read = reader(path)
    if read is None:
        raise DataError(f"`name` must end in .npz, .npy, .csv, .idx, ubyte or .gz; got {path}.")
    if read is read_npz:
        return read_npz(path, max_bytes=max_bytes)
    if read is read_npy:
        return {"x": read_npy(path, mmap=mmap, max_bytes=max_bytes)}
    x = read(path, max_bytes=max_bytes)
    return {"x": x[..., None] if x.ndim == 3 else x}


def _renamed(stored: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays, in their order, under their names here; a single one of no split is `x`."""
    names = [_name(key) for key in stored]
    if len(names) == 1 and names[0].rpartition("_")[2] not in SPLITS:
        names = ["x"]
    once = len(set(names)) == len(names)
    rule = f"must hold one array each of {sorted(set(names))}"
    remedy = "Leave out one of two that mean the same."
    require(once, "name", rule, f"{path} with {list(stored)}", remedy, DataError)
    return dict(zip(names, stored.values(), strict=True))


def _name(key: str) -> str:
    """`label_train` of `y_train` and `train_y`, `x_validation` of `val`, `x` of `data`."""
    words = [SPLIT_ALIASES.get(word, word) for word in key.split("_")]
    split = [word for word in words if word in SPLITS]
    rest = "_".join(word for word in words if word not in SPLITS)
    return "_".join([_ALIASES.get(rest, rest), *split])


def _own_splits(
    arrays: Mapping[str, np.ndarray], keys: Iterable[str], path: Path
) -> dict[str, dict[str, np.ndarray]]:
    """The splits that a file brings, none or `train` among them; `keys` are its own names."""
    found = {split: _of_split(arrays, split) for split in SPLITS}
    parts = {split: part for split, part in found.items() if "x" in part}
    if parts:
        used = {f"{name}_{split}" for split, part in parts.items() for name in part}
        outside = [key for key, name in zip(keys, arrays, strict=True) if name not in used]
        rule = "must hold no array outside its splits"
        remedy = "Name each after a split that has data, such as x_train, or leave it out."
        require(not outside, "name", rule, f"{path} with {outside}", remedy, DataError)
        rule = "must hold a split for training, such as x_train"
        remedy = "Rows that are still to be divided are named x."
        require("train" in parts, "name", rule, f"{path} with {list(keys)}", remedy, DataError)
        _require_one_kind(parts, path)
    return parts


def _require_one_kind(parts: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Raises `DataError` where an array is of fractions in one split, of integers in another.

    Such pixels are in [0, 1] in the one and in 0 .. 255 in the other.
    """
    for name in parts["train"]:
        types = {split: part[name].dtype for split, part in parts.items() if name in part}
        alike = len({kind.kind in "biu" for kind in types.values()}) == 1
        given = ", ".join(f"{kind} in {split}" for split, kind in types.items())
        rule = "must be fractions in every split, or whole numbers in every split"
        remedy = "Convert them to one type and unit."
        require(alike or name == "label", name, rule, f"{given} of {path}", remedy, DataError)


def _of_split(arrays: Mapping[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
    ending = f"_{split}"
    return {k.removesuffix(ending): v for k, v in arrays.items() if k.endswith(ending)}


def _only(stored: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """The array of a file of labels."""
    rule, given = "must be a file of one array", f"{path} with {list(stored)}"
    require(len(stored) == 1, "label", rule, given, "", DataError)
    return next(iter(stored.values()))


def _whole(label: np.ndarray, path: Path) -> np.ndarray:
    """Labels `[N]` as int32, -1 for none."""
    numeric = label.dtype.kind in "buif"
    require(numeric, "label", "must be whole numbers", f"{label.dtype} in {path}", "", DataError)
    rule, remedy = "must be one number for each row", "The number of a one-hot row is its argmax."
    one = label.size == len(label)
    require(one, "label", rule, f"shape {label.shape} in {path}", remedy, DataError)
    label = label.reshape(-1)
    whole = bool(np.all((abs(label.astype(np.float64)) < 2**31) & (label == np.round(label))))
    require(whole, "label", "must be whole numbers below 2**31", path, "", DataError)
    lowest = int(label.min(initial=0))
    rule, remedy = "must be classes from 0 on, or -1 for none", "Number the classes from 0."
    require(lowest >= -1, "label", rule, f"{lowest} in {path}", remedy, DataError)
    return label.astype(np.int32)
