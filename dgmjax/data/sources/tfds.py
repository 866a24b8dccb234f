"""Sets prepared by TensorFlow Datasets, read without TensorFlow and decoded once."""

import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dgmjax.data.dataset import Dataset, describe, set_apart
from dgmjax.data.reading.cache import cached, fingerprint
from dgmjax.data.reading.folders import VARIABLE
from dgmjax.errors import DataError, require

_CHUNK = 16_384  # rows that are held in their encoded form at once
_OWN_FEATURES = "tensorflow_datasets.core.features."
_FORMATS = ("array_record", "parquet")


def prepared(folder: Path, name: str) -> list[Path]:
    """Prepared folders of `name[/config][:version]` in `folder` or its `tfds/`, newest last."""
    base, _, version = name.partition(":")
    found = []
    # The name becomes part of a path, so it may hold no `..` and nothing else that leads elsewhere.
    if base and all(part.replace("_", "").replace("-", "").isalnum() for part in base.split("/")):
        for root in (folder, folder / "tfds"):
            for depth in ("*", "*/*"):
                infos = (root / base).glob(f"{depth}/dataset_info.json")
                found += [p.parent for p in infos if version in ("", p.parent.name)]
    return sorted(found, key=lambda path: (_numbers(path.name), str(path)))


def prepared_names(folder: Path) -> list[str]:
    """The names of the sets prepared in `folder` and `folder/tfds`."""
    infos = [p for root in (folder, folder / "tfds") for p in root.glob("*/*/dataset_info.json")]
    return sorted({info.parent.parent.name for info in infos})


def load_tfds(
    name: str,
    folder: Path,
    *,
    x: str | None = None,
    label: str | None = None,
    validation: int = 0,
    split_seed: int = 0,
    check: Callable[[str, np.ndarray], None] | None = None,
) -> Dataset:
    """A prepared TFDS set: its splits, with the feature `x` and, if there is one, `label`.

    Decoded arrays are cached by name, version, split and fingerprint of the files; a second call
    does not import TFDS.

    Args:
      name: `name`, `name/config`, each optionally followed by `:version`.
      folder: searched, as is its `tfds/`.
      x: the feature that is the data; by default the supervised input, else `image`.
      label: the feature that is the label; by default the supervised target, if it is numeric.
      validation: rows taken from `train` at random, if there is no validation split.
      split_seed: of that choice.
      check: called with each split's name and `x` before anything else uses them.

    Raises:
      DataError: nothing prepared (the message has the command), or a feature without fixed shape.
    """
    home = _home(name, folder)
    try:
        info = json.loads((home / "dataset_info.json").read_text())
        items = info.get("supervisedKeys", {}).get("tuple", {}).get("items", [{}])
        supervised = [item.get("featureKey") for item in items]
        split_names = [split["name"] for split in info["splits"]]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"`data_dir` holds a damaged {home / 'dataset_info.json'}.") from error
    target = supervised[1] if len(supervised) > 1 else None
    features = {"x": x or supervised[0] or "image", "label": label or target}
    splits = {}
    for split in split_names:
        # Files that were prepared again have another fingerprint, and so another entry in the
        # cache.
        files = fingerprint(home.glob(f"*-{split}.*"))
        key = {"version": home.name, "split": split, "features": features, "files": files}
        build = partial(_decode, home, split, features, label is not None)
        splits[split] = cached(f"{info['name']}-{split}", {**key, "home": str(home)}, build)
        if check is not None:
            check(split, splits[split]["x"])
    parts, made = set_apart(splits, validation, split_seed)
    facts = {"source": f"TFDS {info['name']}", "version": home.name, "splits": made}
    return Dataset(name, parts, describe(parts, **facts))


def _home(name: str, folder: Path) -> Path:
    """The newest prepared folder of `name`, in a file format that can be read at random."""
    homes = prepared(folder, name)
    base = name.partition(":")[0]
    command = (
        f"`pip install tensorflow importlib_resources && tfds build {base} --data_dir={folder} "
        "--file_format=array_record`"
    )
    if not homes:
        raise DataError(
            f"`data_dir` must hold the prepared TFDS set {name!r}; looked in {folder / base} and "
            f"{folder / 'tfds' / base}, which hold no dataset_info.json. Prepare it with "
            f"{command}, or name another folder with data_dir or ${VARIABLE}.{_original(base)}"
        )
    path = homes[-1] / "dataset_info.json"
    try:
        kind = json.loads(path.read_text()).get("fileFormat", "tfrecord")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"`data_dir` holds a damaged {path}: {error}.") from error
    rule = f"must hold files that can be read at random, one of {_FORMATS}"
    remedy = f"Prepare it again with {command}."
    require(kind in _FORMATS, "data_dir", rule, f"{kind} in {homes[-1]}", remedy, DataError)
    _check_features(homes[-1] / "features.json")
    return homes[-1].resolve()


def _original(name: str) -> str:
    """The command that downloads the original files, where there is one."""
    from dgmjax.data.sources.downloads import DOWNLOADS

    known = f" `dgmjax data get {name}` downloads the original files instead."
    return known if name in DOWNLOADS else ""


def _check_features(path: Path) -> None:
    """Refuses features of classes that are not TFDS's own: it imports them by their stored name."""
    try:
        # A list of what is left instead of recursion, whose depth the file would choose.
        pending = [json.loads(path.read_text())]
        while pending:
            entry = pending.pop()
            children = entry.values() if isinstance(entry, dict) else entry
            pending += [child for child in children if isinstance(child, dict | list)]
            for name in ("type", "pythonClassName") if isinstance(entry, dict) else ():
                own = str(entry.get(name, _OWN_FEATURES)).startswith(_OWN_FEATURES)
                rule = f"must hold only features of {_OWN_FEATURES}*"
                given = f"{entry.get(name)} in {path}"
                require(own, "data_dir", rule, given, "", DataError)
    except FileNotFoundError:
        return  # TFDS says what is absent
    except DataError:
        raise
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"`data_dir` holds a damaged {path}: {error}.") from error


def _decode(
    home: Path, split: str, names: dict[str, str | None], label_required: bool
) -> dict[str, np.ndarray]:
    """Reads a split. Encoded images go to pillow, in threads: 3 times faster than through TFDS."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(home)
    known = builder.info.features
    features = {key: name for key, name in names.items() if name is not None}
    if not label_required and not _usable(known, features.get("label")):
        features.pop("label", None)  # an optional extra
    for key, name in features.items():
        rule = "must name a numeric feature of fixed shape"
        has = f"The set has {list(known)}."
        require(_usable(known, name), key, rule, name, has, DataError)
    encoded = {name for name in features.values() if _is_image(known[name])}
    decoders = {name: tfds.decode.SkipDecoding() for name in encoded}
    try:
        source = builder.as_data_source(split=split, decoders=decoders or None)
        parts: dict[str, list[np.ndarray]] = {key: [] for key in features}
        for start in range(0, len(source), _CHUNK):
            rows = source.__getitems__(range(start, min(start + _CHUNK, len(source))))
            for key, name in features.items():
                column = [row[name] for row in rows]
                parts[key].append(_images(column) if name in encoded else np.asarray(column))
        arrays = {key: np.concatenate(found) for key, found in parts.items()}
        for key, name in features.items():
            expected = (builder.info.splits[split].num_examples, *known[name].shape)
            if arrays[key].shape != expected or arrays[key].dtype.kind == "O":
                raise ValueError(f"{name} has shape {arrays[key].shape}, not {expected}")
    except (OSError, ValueError, RuntimeError, IndexError) as error:
        what = f"a damaged split {split!r} in {home}"
        raise DataError(f"`data_dir` holds {what}: {error}.") from error
    if "label" in arrays and arrays["label"].dtype.kind in "ui":
        arrays["label"] = arrays["label"].astype(np.int32)
    return arrays


def _images(encoded: Sequence[bytes]) -> np.ndarray:
    """Encoded images of one size to uint8 `[N, height, width, channels]`."""
    from PIL import Image

    def one(data: bytes) -> np.ndarray:
        pixels = np.asarray(Image.open(io.BytesIO(data)))
        return pixels[..., None] if pixels.ndim == 2 else pixels

    out = np.empty((len(encoded), *one(encoded[0]).shape), np.uint8)

    def fill(start: int) -> None:
        for i in range(start, min(start + 1024, len(encoded))):
            out[i] = one(encoded[i])

    # Threads suffice: pillow decodes without holding the interpreter's lock.
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(fill, range(0, len(encoded), 1024)))
    return out


def _is_image(feature: Any) -> bool:
    return type(feature).__name__ == "Image" and np.dtype(feature.np_dtype) == np.uint8


def _usable(known: Any, name: str | None) -> bool:
    """Whether a feature of that name is an array of fixed shape and numeric dtype."""
    shape = getattr(known[name], "shape", None) if name in known else None
    if not isinstance(shape, tuple) or any(size is None for size in shape):
        return False
    return np.dtype(known[name].np_dtype).kind in "buif"


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(p.isdigit() for p in parts) else ()
