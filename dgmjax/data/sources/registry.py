"""Registry of data sets, and `load`, which reads one by name or by path."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from dgmjax.data.dataset import Dataset
from dgmjax.data.reading.folders import data_dir, data_dir as _data_dir
from dgmjax.data.sources.sequences import ROLLS
from dgmjax.data.sources.synthetic import TABLE as SYNTHETIC
from dgmjax.data.sources.tables import TABLES
from dgmjax.errors import DataError
from dgmjax.lazy import extras_named

__all__ = ["SOURCES", "data_dir", "load", "names"]


class Source(NamedTuple):
    """`module:function` in `data.sources`: a loader `(name, folder, **options) -> Dataset`."""

    loader: str
    summary: str


SOURCES: dict[str, Source] = {
    "digits": Source("images:load_digits", "8x8 digits of scikit-learn, built in"),
    "mnist": Source("images:load_mnist", "28x28 digits, grey, TFDS"),
    "binarized_mnist": Source("images:load_binarized_mnist", "static binarised MNIST, TFDS"),
    "fashion_mnist": Source("images:load_fashion_mnist", "28x28 clothes, grey, IDX files"),
    "omniglot": Source("images:load_omniglot", "28x28 characters, binary"),
    "cifar10_5k": Source("images:load_cifar10_5k", "32x32x3, 5000 exact images of CIFAR-10"),
    "usps": Source("images:load_usps", "16x16 digits, grey"),
    "sprites": Source("sprites:load_sprites", "one white shape each, factors known, built in"),
    "tinyshakespeare": Source("sequences:load_tinyshakespeare", "characters, 65 symbols"),
    "spoken_digits": Source("sequences:load_spoken_digits", "8 kHz speech, 16 bit"),
    **{f"polymusic/{name}": Source("sequences:load_polymusic", "piano rolls") for name in ROLLS},
    **{f"uci/{name}": Source("tables:load_uci", "table of numbers") for name in TABLES},
    **{name: Source("synthetic:load_synthetic", row.summary) for name, row in SYNTHETIC.items()},
}


def names() -> list[str]:
    """The names that `load` knows, apart from paths and `tfds:<name>`."""
    return sorted(SOURCES)


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    splits: Mapping[str, float] | None = None,
    **options: Any,
) -> Dataset:
    """Reads a data set.

    Args:
      name: one of `names()`; a path, as written or in the data folder: an `.npz`, `.npy`, `.csv`,
        IDX, `.txt` or `.wav` file, a folder of pictures, of `.wav` files, or of the four IDX files
        of MNIST; `tfds:<name>`, or the bare name of a TFDS set prepared in the data folder.
      data_dir: the folder of data sets; else `$DGMJAX_DATA`, else `~/tensorflow_datasets`.
      splits: sizes of the random splits, in rows or fractions, for sets that have none of their
        own; by default 0.8/0.1/0.1.
      **options: of that source, such as `validation=10000` (mnist) or `n_train=10000` (synthetic).

    Raises:
      DataError: an unknown name or option (the nearest is suggested), a folder that lacks the
        files (with the command that fills it), or files that are damaged.
    """
    if splits is not None:
        options["splits"] = splits
    folder = _data_dir(data_dir)
    loader = _loader(name, folder)
    _check_options(name, loader, options)
    with extras_named():
        return loader(name, folder, **options)


def _loader(name: str, folder: Path) -> Callable[..., Dataset]:
    """The function that reads `name`: by table, by path, or as a prepared TFDS set."""
    if name in SOURCES:
        module, function = SOURCES[name].loader.split(":")
        return getattr(import_module(f"dgmjax.data.sources.{module}"), function)
    from dgmjax.data.sources import tfds

    if name.startswith("tfds:") or tfds.prepared(folder, name):
        return _tfds
    from dgmjax.data.sources.own_folders import own_loader

    own = own_loader(name, folder)
    if own is not None:
        return own
    near = difflib.get_close_matches(name, [*SOURCES, *tfds.prepared_names(folder)], n=1)
    raise DataError(
        f"`name` must be a data set of the table, a path, or tfds:<name>; got {name!r}."
        + (f" Did you mean {near[0]!r}?" if near else f" The table has {', '.join(names())}.")
    )


def _tfds(
    name: str,
    folder: Path,
    *,
    x: str | None = None,
    label: str | None = None,
    validation: int = 0,
    split_seed: int = 0,
) -> Dataset:
    """A prepared TFDS set; see `load_tfds`."""
    from dgmjax.data.sources.tfds import load_tfds

    options = {"x": x, "label": label, "validation": validation, "split_seed": split_seed}
    return load_tfds(name.removeprefix("tfds:"), folder, **options)  # type: ignore[arg-type]


def _check_options(name: str, loader: Callable[..., Dataset], options: Mapping[str, Any]) -> None:
    """Refuses options that the loader does not have."""
    known = [
        p.name for p in inspect.signature(loader).parameters.values() if p.kind == p.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(f"`{option}` is not an option of {name!r}, which has {known}.{hint}")
