"""Tables of the UCI repository, read from one archive without unpacking it."""

import tarfile
from collections.abc import Mapping
from lzma import LZMAError
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dgmjax.data.dataset import Dataset, describe, split_rows
from dgmjax.data.reading.archives import tar_member
from dgmjax.data.reading.files import damaged, is_number
from dgmjax.data.reading.folders import find
from dgmjax.errors import DataError, require


class Table(NamedTuple):
    """A row: the member of the archive, and whether its last column is a class label."""

    member: str
    labelled: bool = True


def _rows(folder: str, ending: str, labelled: str, unlabelled: str) -> dict[str, Table]:
    return {
        stem: Table(f"{folder}/{stem}{ending}", stem in labelled.split())
        for stem in (labelled + " " + unlabelled).split()
    }


TABLES: dict[str, Table] = {
    **_rows(
        "jbrownlee",
        ".csv",
        "banknote_authentication breast-cancer-wisconsin ecoli glass haberman ionosphere iris "
        "mammography phoneme pima-indians-diabetes sonar wheat-seeds",
        "abalone winequality-red winequality-white",
    ),
    "wine": Table("jbrownlee/wine.csv"),
    **_rows(
        "yaringal",
        "/data.txt",
        "",
        "bostonHousing concrete energy kin8nm naval-propulsion-plant power-plant "
        "protein-tertiary-structure wine-quality-red yacht",
    ),
    **_rows(
        "arff",
        ".arff",
        "letter optdigits segment spambase vehicle",
        "ailerons bank32nh cal.housing elevators pol puma32H",
    ),
    **_rows("misc", ".data", "wdbc yeast", ""),
}


def load_uci(
    name: str, folder: Path, *, splits: Mapping[str, float] | None = None, split_seed: int = 0
) -> Dataset:
    """`uci/<table>`: `x` float32 `[N, columns]`, and `label` where the last column is a class.

    A regression target is the last column of `x`, since a density covers all columns. Columns of
    words (the sex of an abalone) and rows with an unknown value (`?`) are left out; `info` says how
    many.
    """
    row = TABLES[name.removeprefix("uci/")]
    path = find(folder, "uci/uci.tar.xz", "Put the archive of UCI tables there.")
    cells = _cells(_member(path, row.member), path)
    complete = [line for line in cells if "?" not in line]
    require(len(complete) > 0, "name", "must have a row without unknowns", name, "", DataError)
    table = np.array(complete)
    columns = range(table.shape[1] - row.labelled)
    numeric = [i for i in columns if is_number(table[0, i])]
    require(len(numeric) > 0, "name", "must have a column of numbers", name, "", DataError)
    try:
        with np.errstate(over="ignore"):  # an infinity is refused below
            arrays = {"x": table[:, numeric].astype(np.float64).astype(np.float32)}
    except ValueError as error:
        raise damaged(path, f"{row.member}: {error}") from error
    require(bool(np.all(np.isfinite(arrays["x"]))), "x", "must be finite", name, "", DataError)
    facts: dict[str, Any] = {"source": f"UCI {row.member}", "version": "archive"}
    facts["columns"] = numeric
    if row.labelled:
        classes, label = np.unique(table[:, -1], return_inverse=True)
        arrays["label"] = label.astype(np.int32)
        facts["classes"] = classes.tolist()
    facts["incomplete_rows_left_out"] = len(cells) - len(complete)
    parts = split_rows(arrays, splits, split_seed)
    return Dataset(name, parts, describe(parts, **facts, splits=f"random, seed {split_seed}"))


def _member(path: Path, member: str) -> str:
    """The text of one plain file of the archive; nothing is written to disk."""
    try:
        return tar_member(path, member).decode()
    except DataError:
        raise
    except (OSError, EOFError, ValueError, LZMAError, tarfile.TarError) as error:
        raise damaged(path, f"{member}: {error}") from error


def _cells(text: str, path: Path) -> list[list[str]]:
    """The cells of a table with commas or blanks, without comments, ARFF lines and a header."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and line[0] not in "%@"]
    comma = bool(lines) and "," in lines[0]
    cells = [[c.strip() for c in line.split(",")] if comma else line.split() for line in lines]
    if cells and cells[0][-1] == "class":
        cells = cells[1:]
    if not cells or any(len(row) != len(cells[0]) for row in cells):
        raise damaged(path, "rows of unequal length")
    return cells
