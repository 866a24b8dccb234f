"""Labels of examples, of any kind, of which none may be missing."""

import numpy as np

from dgmjax.errors import DataError, require


def require_no_missing(argument: str, labels: np.ndarray) -> None:
    """Raises `DataError` if a label is NaN, not a time, or None: it would count as a class.

    >>> require_no_missing("labels", np.array(["cat", "dog"]))
    >>> require_no_missing("labels", np.array([0.0, np.nan]))
    Traceback (most recent call last):
    ...
    dgmjax.errors.DataError: `labels` must not be missing; got 1 of 2 that are. Leave them out.
    """
    # NaN, and the time that is none, are the values that differ from themselves.
    absent = np.asarray(labels != labels)
    if labels.dtype == object:
        absent = absent | np.array([label is None for label in labels])
    given = f"{int(absent.sum())} of {len(labels)} that are"
    require(not absent.any(), argument, "must not be missing", given, "Leave them out.", DataError)
