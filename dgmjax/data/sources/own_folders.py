"""Data sets from the user's own folders and texts: pictures, IDX files, sound, characters."""

import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgmjax.data.audio import read_wav
from dgmjax.data.dataset import Arrays, Dataset, describe, split_rows, split_whole
from dgmjax.data.reading.archives import require_size
from dgmjax.data.reading.cache import cached, fingerprint
from dgmjax.data.reading.files import damaged, read_idx, reader
from dgmjax.data.reading.pictures import pictures_of, read_pictures
from dgmjax.data.sources.own_files import SPLIT_ALIASES, SPLITS, load_path
from dgmjax.data.sources.sequences import pad
from dgmjax.data.text import text_dataset
from dgmjax.errors import DataError, require

Loader = Callable[..., Dataset]
FORMS = (
    ".npz, .npy, .csv, IDX (.idx, ubyte, .gz), .txt, .wav, or a folder of pictures, of .wav files "
    "or of the four IDX files of MNIST"
)
_IDX = {"x": "images-idx3-ubyte", "label": "labels-idx1-ubyte"}
_IDX_SPLITS = {"train": "train", "test": "t10k"}


def place(name: str, folder: Path) -> Path | None:
    """The file or folder `name`, as written or below the data folder; None if there is none."""
    places = (Path(name).expanduser(), folder / name)
    return next((path for path in places if path.exists()), None)


def own_loader(name: str, folder: Path) -> Loader | None:
    """The function that reads the path `name`; None where it is neither a file nor like one."""
    path = place(name, folder)
    if path is None:
        return load_path if reader(Path(name)) is not None else None
    if path.is_dir():
        if _idx_file(path, "train", "x") is not None:
            return load_idx_folder
        if pictures_of(path):
            return load_pictures
        if sounds_of(path):
            return load_sounds
        raise DataError(f"`name` must be {FORMS}; got the folder {path}, which holds none of them.")
    by_ending: Mapping[str, Loader] = {".txt": load_text, ".wav": load_sounds}
    found = by_ending.get(path.suffix.lower(), load_path if reader(path) is not None else None)
    if found is None:
        raise DataError(f"`name` must be {FORMS}; got {path}.")
    return found


def sounds_of(folder: Path) -> list[Path]:
    """The .wav files in and below a folder, whatever the case of their ending."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".wav")
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _found(name: str, folder: Path) -> Path:
    path = place(name, folder)
    if path is None:
        raise DataError(f"`name` must exist; looked for {name} here and in {folder}.")
    return path


def _facts(path: Path, kind: str, splits: str) -> dict[str, Any]:
    return {"source": f"{kind} {path.name}", "version": "of the user", "splits": splits}


def load_pictures(
    name: str,
    folder: Path,
    *,
    size: int | None = None,
    grey: bool = False,
    splits: Mapping[str, float] | None = None,
    split_seed: int = 0,
) -> Dataset:
    """The pictures of a folder and its subfolders; see `reading.pictures.read_pictures`.

    Where every picture lies in a subfolder, the subfolder is its `label`, named in
    `info["classes"]`. Subfolders `train`, `validation` (or `val`) and `test` are splits, and labels
    are what they hold. Decoded once: a second call reads the cache.
    """
    path = _found(name, folder)
    files = pictures_of(path)
    key = {"files": fingerprint(files, path), "folder": str(path.resolve())}
    build = lambda: {"x": read_pictures(files, size=size, grey=grey)}
    arrays = cached(path.name, {**key, "size": size, "grey": grey}, build)
    labels, classes = _labels(path, files)
    own = _own_splits(path, files, {**arrays, **labels}, splits)
    made = "as in the folder" if own else f"random, seed {split_seed}"
    parts = own or split_rows({**arrays, **labels}, splits, split_seed)
    facts = _facts(path, "pictures of", made)
    return Dataset(path.name, parts, describe(parts, **facts, levels=256, **classes))


def _splits_of(path: Path, files: list[Path]) -> list[str]:
    """The split of every file, where the subfolders of `path` are splits; else none.

    They are if each has the name of one and there is more to tell apart: two of them, or folders of
    classes in a single `train`.
    """
    within = [file.relative_to(path).parts[:-1] if path.is_dir() else () for file in files]
    names = [SPLIT_ALIASES.get(parts[0], parts[0]) if parts else "" for parts in within]
    several = len(set(names)) > 1 or any(len(parts) > 1 for parts in within)
    return names if "train" in names and set(names) <= set(SPLITS) and several else []


def _own_splits(
    path: Path, files: list[Path], arrays: Arrays, splits: Mapping[str, float] | None
) -> dict[str, Arrays]:
    """The rows of every split that the folder brings, none if it has none of its own.

    A single one is still to be divided.
    """
    names = np.array(_splits_of(path, files))
    if len(set(names)) < 2:
        return {}
    rule = "must be left out: the folder has its own splits"
    require(splits is None, "splits", rule, splits, "", DataError)
    of = lambda split: {key: array[names == split] for key, array in arrays.items()}
    return {split: of(split) for split in SPLITS if split in names}


def _labels(path: Path, files: list[Path]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The `label` of every file and the names of the `classes`, if all lie in subfolders."""
    within = [file.relative_to(path).parts[:-1] if path.is_dir() else () for file in files]
    if _splits_of(path, files):
        within = [parts[1:] for parts in within]
    if not all(within):
        return {}, {}
    classes = sorted({parts[0] for parts in within})
    label = np.array([classes.index(parts[0]) for parts in within], np.int32)
    return {"label": label}, {"classes": classes}


def load_idx_folder(name: str, folder: Path) -> Dataset:
    """A folder with the four IDX files of MNIST or of a set of its form, each plain or `.gz`."""
    path = _found(name, folder)
    splits: dict[str, Arrays] = {}
    for split in _IDX_SPLITS:
        arrays = {}
        for part in _IDX:
            file = _idx_file(path, split, part)
            rule = f"must hold {_IDX_SPLITS[split]}-{_IDX[part]}[.gz]"
            require(file is not None, "name", rule, path, "", DataError)
            arrays[part] = read_idx(file)  # type: ignore[arg-type]
        x = arrays["x"]
        splits[split] = {
            "x": x[..., None] if x.ndim == 3 else x,
            "label": arrays["label"].astype(np.int32),
        }
    facts = {**_facts(path, "IDX files of", "as in the files"), "levels": 256}
    return Dataset(path.name, splits, describe(splits, **facts))


def _idx_file(path: Path, split: str, part: str) -> Path | None:
    names = (f"{_IDX_SPLITS[split]}-{_IDX[part]}{ending}" for ending in (".gz", ""))
    return next((path / name for name in names if (path / name).is_file()), None)


def load_text(
    name: str,
    folder: Path,
    *,
    length: int = 64,
    validation: float = 0.05,
    test: float = 0.1,
    stride: int | None = None,
) -> Dataset:
    """A text in UTF-8 as blocks of `length` characters; see `text_dataset`."""
    path = _found(name, folder)
    require_size(path, path.stat().st_size, None)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(path, error) from error
    options: dict[str, Any] = {"validation": validation, "test": test, "stride": stride}
    found = text_dataset(text, length, name=path.name, **options)
    return Dataset(path.name, found.splits, {**found.info, "version": "of the user"})


def load_sounds(
    name: str,
    folder: Path,
    *,
    length: int = 8192,
    splits: Mapping[str, float] | None = None,
    split_seed: int = 0,
) -> Dataset:
    """`.wav` files, 16 bits, mono and of one rate, as int16 `[N, length]` with their `length`.

    Each file is cut into pieces of `length` samples, the last one padded with zeros. Subfolders are
    labels or splits, as of pictures.

    Whole files are divided at random, so that no split holds pieces of a recording of another; the
    sizes of `splits`, in pieces or fractions of them, are met as nearly as whole files allow. With
    fewer files than splits, the pieces are divided in order of time, as characters of a text are:
    in the order of `splits`, by default training first, then validation, then test.
    """
    path = _found(name, folder)
    files = sounds_of(path) if path.is_dir() else [path]
    rate = _rate(files[0])
    require(length >= 1, "length", "must be at least 1", length, "", DataError)
    pieces, owners = [], []
    for index, file in enumerate(files):
        sound = read_wav(file, rate)
        starts = range(0, len(sound), length)
        pieces += [sound[start : start + length] for start in starts]
        owners += [index] * len(starts)
    require(len(pieces) > 0, "name", "must hold sound", path, "", DataError)
    of_pieces = [files[index] for index in owners]
    labels, classes = _labels(path, of_pieces)
    arrays = {**pad(pieces, length), **labels}
    own = _own_splits(path, of_pieces, arrays, splits)
    divided = lambda: split_whole(arrays, np.array(owners), splits, split_seed)
    parts, made = (own, "as in the folder") if own else divided()
    facts = {**_facts(path, "sounds of", made), "sample_rate_hz": rate, **classes}
    return Dataset(path.name, parts, describe(parts, **facts))


def _rate(path: Path) -> int:
    """Samples per second of a `.wav` file."""
    try:
        with wave.open(str(path), "rb") as sound:
            return sound.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise damaged(path, error) from error
