"""Data folder: its location, and a clear error if a file is absent."""

import os
from pathlib import Path

from dgmjax.errors import DataError

VARIABLE = "DGMJAX_DATA"


def data_dir(explicit: str | Path | None = None) -> Path:
    """The folder of data sets: `explicit`, else `$DGMJAX_DATA`, else `~/tensorflow_datasets`."""
    if explicit is not None:
        return Path(explicit).expanduser()
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path.home() / "tensorflow_datasets"


def find(folder: Path, relative: str, remedy: str) -> Path:
    """The file `folder/relative`; `DataError` naming the place and the remedy if it is absent."""
    path = folder / relative
    if not path.is_file():
        state = "does not hold it" if folder.is_dir() else "does not exist"
        raise DataError(
            f"`data_dir` must hold {relative}; looked in {folder}, which {state}. {remedy} "
            f"Name another folder with data_dir or ${VARIABLE}."
        )
    return path
