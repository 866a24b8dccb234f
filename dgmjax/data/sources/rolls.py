"""Synthetic piano rolls, without files."""

import numpy as np

from dgmjax.data.dataset import Dataset, describe, split_rows
from dgmjax.errors import DataError, require

KEYS = 88


def built_in_rolls(num: int = 160, length: int = 12, seed: int = 0) -> Dataset:
    """Progressions of triads, shaped like the polyphonic data sets; needs no files.

    `x` uint8 0/1 `[N, length, 88]`, zero after `length[N]`; each frame holds the three notes of
    one of four chords in a key of its own, and a chord lasts two frames.

    >>> train = built_in_rolls(num=20).splits["train"]
    >>> train["x"].shape, bool((train["x"].sum((1, 2)) == 3 * train["length"]).all())
    ((16, 12, 88), True)
    """
    require(length >= 2, "length", "must be at least 2", length, "", DataError)
    generator = np.random.default_rng(seed)
    degrees = np.array([0, 5, 7, 0])
    lengths = generator.integers(length // 2, length + 1, num)
    x = np.zeros((num, length, KEYS), np.uint8)
    for row, size in zip(x, lengths):
        tonic = 24 + generator.integers(0, 24)
        start = generator.integers(0, 4)
        for step in range(size):
            root = tonic + degrees[(start + step // 2) % 4]
            row[step, [root, root + 4, root + 7]] = 1
    splits = split_rows({"x": x, "length": lengths.astype(np.int32)}, seed=seed)
    facts = {"source": "synthetic triads", "version": "1"}
    return Dataset("triads", splits, describe(splits, **facts, splits=f"random, seed {seed}"))
