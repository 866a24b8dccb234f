"""Documents as counts of words: lines or speeches of a text, or counts that the user brings."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from dgmjax.data.dataset import Dataset, describe, split_rows
from dgmjax.data.reading.archives import require_size
from dgmjax.data.reading.files import damaged, read_npz
from dgmjax.data.reading.folders import data_dir as folder_of, find
from dgmjax.data.text import bag_of_words
from dgmjax.errors import DataError, require

Documents = Literal["lines", "speeches"]
_APART = {"lines": "\n", "speeches": "\n\n"}


def load_documents(
    path: str | Path | None = None,
    documents: Documents = "lines",
    *,
    data_dir: str | Path | None = None,
    max_words: int = 2000,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Documents as `x[N, W]`, int32 counts of the words `info["words"]`.

    Args:
      path: a text in UTF-8 (`.txt`), or counts (`.npz`) with `x[N, W]` and, if they are known,
        `words[W]`; tiny Shakespeare in the data folder if None.
      documents: of a text: its lines, or what empty lines divide.
      max_words: the most frequent words of a text are kept.
      test: share of the documents that is held out, at random.
      seed: of the split.

    Raises:
      DataError: a file that is missing, damaged or of another kind; negative or broken counts.
    """
    kinds = sorted(_APART)
    require(documents in kinds, "documents", f"must be one of {kinds}", repr(documents))
    if path is None:
        where = find(folder_of(data_dir), "tinyshakespeare/input.txt", "Put input.txt there.")
    else:
        where = Path(path)
        require(where.is_file(), "dataset", "must be a file", where, error=DataError)
    if where.suffix == ".npz":
        return _counts(where, test, seed)
    require(where.suffix == ".txt", "dataset", "must end in .txt or .npz", where, error=DataError)
    require_size(where, where.stat().st_size, None)
    try:
        text = where.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(where, error) from error
    pieces = [piece for piece in text.split(_APART[documents]) if piece.strip()]
    name = f"{documents} of {'tinyshakespeare' if path is None else where.name}"
    return bag_of_words(pieces, name=name, max_words=max_words, test=test, seed=seed)


def _counts(path: Path, test: float, seed: int) -> Dataset:
    arrays = read_npz(path)
    given = arrays.get("x", np.zeros(0))
    counts = given.ndim == 2 and given.size > 0 and bool((given >= 0).all())
    counts = counts and bool((given == np.floor(given)).all())
    found = f"{given.dtype} {given.shape}" if "x" in arrays else sorted(arrays)
    require(counts, "x", "must be counts of words, [N, W]", found, error=DataError)
    x = given.astype(np.int32)
    names = arrays.get("words", np.array([f"word {i}" for i in range(x.shape[1])]))
    rule = f"must name each of the {x.shape[1]} words of `x`"
    require(names.shape == x.shape[1:], "words", rule, names.shape, error=DataError)
    parts = split_rows({"x": x[x.sum(1) > 0]}, {"train": 1.0 - test, "test": test}, seed)
    facts = {"source": path.name, "version": "counts", "words": [str(name) for name in names]}
    dataset = Dataset(path.stem, parts, {})
    return replace(dataset, info=describe(parts, **facts, splits=f"random, seed {seed}"))
