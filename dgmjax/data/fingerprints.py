"""Fingerprints of data sets: a digest for each split, which identifies the data of a run."""

import hashlib

import numpy as np

from dgmjax.data.dataset import Arrays, Dataset

WHOLE_BYTES = 2**31
"""Arrays up to this size are read whole; of larger ones, blocks at even distances."""

BLOCK_BYTES, NUM_BLOCKS = 2**20, 256


def fingerprint(dataset: Dataset) -> dict[str, str]:
    """The SHA-256 of each split: names, shapes, types and values of its arrays.

    Data computed by a model (`info["derived"]`) have none, since their last bits depend on the
    machine.

    >>> points = Dataset("points", {"train": {"x": np.zeros((2, 3), np.float32)}}, {})
    >>> fingerprint(points)["train"][:8]
    '43ebd401'
    """
    if dataset.info.get("derived"):
        return {}
    return {split: digest_of(arrays) for split, arrays in dataset.splits.items()}


def digest_of(arrays: Arrays) -> str:
    """The SHA-256 of arrays: names, shapes, types and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        if array.nbytes <= WHOLE_BYTES:
            digest.update(np.ascontiguousarray(array).tobytes())
            continue
        rows = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
        for start in np.linspace(0, len(array) - rows, NUM_BLOCKS).astype(int):
            digest.update(np.ascontiguousarray(array[start : start + rows]).tobytes())
    return digest.hexdigest()
