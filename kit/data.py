"""Data sets as compact `.npz`, and back into the files that `dgmjax.data` reads.

Bytes of one bit each are packed; pixels are deflated by `.npz` itself. NumPy and the standard
library only, since `unpack` runs where nothing else may be installed yet.
"""

import gzip
from pathlib import Path

import numpy as np

IMAGES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
LABELS = {"train": "train-labels-idx1-ubyte.gz", "test": "t10k-labels-idx1-ubyte.gz"}
PARTS = {"train": "train", "validation": "valid", "test": "test"}


def pack(name: str, folder: Path, target: Path) -> None:
    """Writes the data set `name`, read from `folder`, to `target`."""
    from dgmjax import data

    whole = {"validation": 0} if name == "mnist" else {}
    splits = data.load(name, data_dir=folder, **whole).splits
    arrays = {}
    for split, parts in splits.items():
        x = np.asarray(parts["x"])
        arrays[f"{split}_x"] = np.packbits(x.reshape(len(x), -1), 1) if x.max() <= 1 else x
        if "label" in parts:
            arrays[f"{split}_label"] = np.asarray(parts["label"], np.uint8)
    np.savez_compressed(target, **arrays)


def unpack(source: Path, folder: Path) -> None:
    """Writes the files of a data set that `pack` wrote, in the form in which it is published."""
    home = folder / source.stem
    home.mkdir(parents=True, exist_ok=True)
    with np.load(source, allow_pickle=False) as arrays:
        if source.stem == "mnist":
            for split in IMAGES:
                _write_idx(home / IMAGES[split], arrays[f"{split}_x"][..., 0])
                _write_idx(home / LABELS[split], arrays[f"{split}_label"])
        else:
            for split, part in PARTS.items():
                bits = np.unpackbits(arrays[f"{split}_x"], 1, 784)
                _write_digits(home / f"{source.stem}_{part}.amat", bits)


def _write_idx(path: Path, x: np.ndarray) -> None:
    header = bytes((0, 0, 8, x.ndim)) + np.array(x.shape, ">i4").tobytes()
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header + np.ascontiguousarray(x).tobytes())


def _write_digits(path: Path, bits: np.ndarray) -> None:
    """Lines of 784 digits with a blank between two, as `binarized_mnist` is published."""
    text = np.full((len(bits), 2 * bits.shape[1]), ord(" "), np.uint8)
    text[:, ::2] = ord("0") + bits
    text[:, -1] = ord("\n")
    path.write_bytes(text.tobytes())


UNPACKED = ("mnist", "binarized_mnist")
"""Data sets that a kit can carry."""
