"""Sets of images, raw: uint8 NHWC, grey values unscaled, binary ones 0/1."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dgmjax.data.dataset import Arrays, Dataset, describe, set_apart, split_rows
from dgmjax.data.reading.cache import cached, fingerprint
from dgmjax.data.reading.files import damaged, read_idx, read_npz
from dgmjax.data.reading.folders import find
from dgmjax.data.sources.own_folders import load_idx_folder
from dgmjax.data.sources.tfds import load_tfds, prepared
from dgmjax.errors import DataError, require

_TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


def known_mean(what: str, x: np.ndarray, expected: float, scale: float = 255.0) -> None:
    """Refuses data whose mean is not the known one: mislabelled copies of MNIST exist."""
    mean = float(x.mean(dtype=np.float64)) / scale
    require(
        abs(mean - expected) < 1e-4,
        what,
        f"must have mean {expected}",
        f"{mean:.4f}",
        "These files hold something else under that name; prepare or download them again.",
        DataError,
    )


def load_digits(
    name: str, folder: Path, *, splits: Mapping[str, float] | None = None, split_seed: int = 0
) -> Dataset:
    """Scikit-learn's 1797 digits, 8x8, grey values 0..16 (17 levels); needs no files."""
    arrays = cached("digits", {"version": 1}, _digits)  # importing scikit-learn costs 2 s
    parts = split_rows(arrays, splits, split_seed)
    facts = {"source": "scikit-learn load_digits", "version": "UCI optdigits, test", "levels": 17}
    return Dataset(name, parts, describe(parts, **facts, splits=f"random, seed {split_seed}"))


def _digits() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    x = digits.images.astype(np.uint8)[..., None]
    return {"x": x, "label": digits.target.astype(np.int32)}


def load_mnist(
    name: str, folder: Path, *, validation: int = 10_000, split_seed: int = 0
) -> Dataset:
    """MNIST 28x28; `validation` of the 60,000 training rows, chosen by `split_seed`, are set
    apart. From the prepared TFDS set, or the original files of `dgmjax data get mnist`."""
    means = {"train": 0.1307, "test": 0.1325}

    def check(split: str, x: np.ndarray) -> None:
        known_mean(f"mnist {split}", x, means[split])

    if not prepared(folder, "mnist:3.0.1") and (folder / "mnist" / _TRAIN_IMAGES).is_file():
        # The original files have the same images in another order, and so another fingerprint.
        found = load_idx_folder("mnist", folder)
        for split, arrays in found.splits.items():
            check(split, arrays["x"])
        splits, made = set_apart(found.splits, validation, split_seed)
        facts = {"source": "MNIST, IDX", "version": "original", "levels": 256, "splits": made}
        return Dataset(name, splits, describe(splits, **facts))
    data = load_tfds(
        "mnist:3.0.1", folder, validation=validation, split_seed=split_seed, check=check
    )
    return replace(data, name=name, info={**data.info, "levels": 256})


def load_binarized_mnist(name: str, folder: Path) -> Dataset:
    """Static binarised MNIST, 50,000/10,000/10,000, 0/1.

    Source: Salakhutdinov & Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008,
    https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/.
    """
    means = {"train": 0.1306, "validation": 0.1311, "test": 0.1325}

    def check(split: str, x: np.ndarray) -> None:
        known_mean(f"binarized_mnist {split}", x, means[split], scale=1.0)

    if not prepared(folder, "binarized_mnist:1.0.0") and _amat(folder, "train").is_file():
        splits: dict[str, Arrays] = {}
        for split, part in {"train": "train", "validation": "valid", "test": "test"}.items():
            splits[split] = cached(f"amat-{split}", *_original(_amat(folder, part)))
            check(split, splits[split]["x"])
        facts = {"source": "binarized MNIST, text", "version": "original", "levels": 2}
        return Dataset(name, splits, describe(splits, **facts, splits="as published"))
    data = load_tfds("binarized_mnist:1.0.0", folder, check=check)
    return replace(data, name=name, info={**data.info, "levels": 2})


def _amat(folder: Path, part: str) -> Path:
    return folder / "binarized_mnist" / f"binarized_mnist_{part}.amat"


def _original(path: Path) -> tuple[dict[str, Any], Callable[[], dict[str, np.ndarray]]]:
    """The key of the cache, and the reader, of a text of 784 digits 0 or 1 a line."""

    def read() -> dict[str, np.ndarray]:
        # Every other byte is a digit: a hundred times faster than parsing numbers.
        content = np.frombuffer(path.read_bytes(), np.uint8)
        if content.size % (2 * 784) or not np.isin(content[::2], (48, 49)).all():
            raise damaged(path, "it is not lines of 784 digits 0 or 1 with a blank between two")
        return {"x": (content[::2] - 48).reshape(-1, 28, 28, 1)}

    return {"files": fingerprint([path]), "version": 1}, read


def load_fashion_mnist(
    name: str, folder: Path, *, validation: int = 10_000, split_seed: int = 0
) -> Dataset:
    """Fashion-MNIST from its four IDX files, 28x28 grey.

    Source: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", 2017, https://arxiv.org/abs/1708.07747.
    """
    remedy = "`dgmjax data get fashion_mnist` downloads the four files."
    splits: dict[str, Arrays] = {}
    for split, prefix in {"train": "train", "test": "t10k"}.items():
        x = read_idx(find(folder, f"fashion_mnist/{prefix}-images-idx3-ubyte.gz", remedy))
        label = read_idx(find(folder, f"fashion_mnist/{prefix}-labels-idx1-ubyte.gz", remedy))
        splits[split] = {"x": x[..., None], "label": label.astype(np.int32)}
    known_mean("fashion_mnist train", splits["train"]["x"], 0.2860)
    counts = np.bincount(splits["train"]["label"]).tolist()
    equal = counts == [6000] * 10
    require(equal, "fashion_mnist", "must have 6000 images per class", counts, "", DataError)
    splits, made = set_apart(splits, validation, split_seed)
    facts = {"source": "Fashion-MNIST, IDX", "version": "2017", "levels": 256, "splits": made}
    return Dataset(name, splits, describe(splits, **facts))


def load_omniglot(
    name: str, folder: Path, *, validation: int = 1_280, split_seed: int = 0
) -> Dataset:
    """Omniglot 28x28, one bit, ink = 1; train is the background set, test the evaluation set.

    This is not the split on which the literature reports bounds (that of the code of Burda et al.,
    https://arxiv.org/abs/1509.00519), so numbers are not comparable with published ones. `label` is
    the character, `alphabet` its alphabet.
    """
    path = find(folder, "omniglot28/omniglot28.npz", "Put omniglot28.npz there.")
    raw = read_npz(path)
    wanted = ("images_packed", "char_id", "alphabet", "is_background")
    if any(key not in raw for key in wanted):
        raise damaged(path, f"it holds {list(raw)}, not {wanted}")
    x = np.unpackbits(raw["images_packed"], axis=1, count=784).reshape(-1, 28, 28, 1)
    arrays = {"x": x, "label": raw["char_id"], "alphabet": raw["alphabet"]}
    chosen = {"train": raw["is_background"], "test": ~raw["is_background"]}
    splits: dict[str, Arrays] = {
        split: {
            key: array[rows] if key == "x" else array[rows].astype(np.int32)
            for key, array in arrays.items()
        }
        for split, rows in chosen.items()
    }
    splits, made = set_apart(splits, validation, split_seed)
    facts = {"source": "Omniglot 28x28", "version": "1 bit", "levels": 2, "splits": made}
    return Dataset(name, splits, describe(splits, **facts))


def load_usps(name: str, folder: Path, *, validation: int = 0, split_seed: int = 0) -> Dataset:
    """USPS digits 16x16, grey, 7291 for training and 2007 for tests; ink is bright.

    Source: Hull, "A Database for Handwritten Text Recognition Research", 1994,
    https://doi.org/10.1109/34.291440.
    """
    remedy = "Put an .npz there of x_train [7291, 16, 16], y_train, x_test [2007, 16, 16], y_test."
    path = find(folder, "usps/usps.npz", remedy)
    raw = read_npz(path)
    splits: dict[str, Arrays] = {}
    for split, size in {"train": 7291, "test": 2007}.items():
        x, label = raw.get(f"x_{split}"), raw.get(f"y_{split}")
        shapes = None if x is None or label is None else (x.shape, label.shape)
        if x is None or label is None or shapes != ((size, 16, 16), (size,)):
            raise damaged(path, f"it holds { ({k: v.shape for k, v in raw.items()}) }. {remedy}")
        splits[split] = {"x": x[..., None], "label": label.astype(np.int32)}
    splits, made = set_apart(splits, validation, split_seed)
    facts = {"source": "USPS, npz", "version": "7291 + 2007", "levels": 256, "splits": made}
    return Dataset(name, splits, describe(splits, **facts))


def load_cifar10_5k(
    name: str, folder: Path, *, validation: int = 500, split_seed: int = 0
) -> Dataset:
    """Exact pixels of CIFAR-10's train images 0..3999 and test images 0..999, 32x32x3."""
    remedy = "Put cifar10_batch_{0,1,2,3,50}.png and cifar10_labels.npz there."
    home = "cifar10_lossless5k"
    labels = read_npz(find(folder, f"{home}/cifar10_labels.npz", remedy))
    files = [find(folder, f"{home}/cifar10_batch_{i}.png", remedy) for i in (0, 1, 2, 3, 50)]
    x = np.concatenate([_rows_of_pixels(path) for path in files])
    train = {"x": x[:4000], "label": labels["train_labels"][:4000].astype(np.int32)}
    test = {"x": x[4000:], "label": labels["test_labels_first1000"].astype(np.int32)}
    splits, made = set_apart({"train": train, "test": test}, validation, split_seed)
    facts = {"source": "CIFAR-10, first 4000 + 1000", "version": "lossless", "levels": 256}
    return Dataset(name, splits, describe(splits, **facts, splits=made))


def _rows_of_pixels(path: Path) -> np.ndarray:
    """A picture whose 1000 rows are each the 1024 RGB pixels of one image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise damaged(path, error) from error
    shape = (1000, 1024, 3)
    require(pixels.shape == shape, "name", f"must have shape {shape}", pixels.shape, "", DataError)
    return pixels.reshape(1000, 32, 32, 3)
