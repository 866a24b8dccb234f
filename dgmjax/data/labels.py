"""Few labels: a balanced draw of the rows that keep theirs."""

from collections.abc import Mapping

import numpy as np

from dgmjax.data.dataset import num_rows, permutation
from dgmjax.errors import DataError, require

UNLABELLED = -1


def few_labels(
    arrays: Mapping[str, np.ndarray], labels: int, seed: int, num_classes: int
) -> dict[str, np.ndarray]:
    """The arrays with `label` -1 but for `labels` rows, and `group` 0 for these and 1 for the rest.

    Equally many rows of each class keep their label; which, is a function of the seed alone.

    Args:
      arrays: hold `label`, `[N]`, classes 0 .. num_classes - 1, or -1 for none.
      labels: how many rows keep it, a multiple of `num_classes`.
      seed: of the draw.

    Raises:
      DataError: arrays without labels, with others than these, or with too few of a class.

    >>> arrays = {"x": np.arange(6), "label": np.array([0, 1, 0, 1, 0, 1])}
    >>> few = few_labels(arrays, 2, seed=0, num_classes=2)
    >>> sorted(few["label"].tolist()), few["group"].sum().item()
    ([-1, -1, -1, -1, 0, 1], 4)
    """
    num_rows(arrays)
    require("label" in arrays, "arrays", "must hold `label`", sorted(arrays), "", DataError)
    whole = labels >= num_classes and labels % num_classes == 0
    rule = f"must be a multiple of {num_classes}, the number of classes, for a balanced draw"
    require(whole, "labels", rule, labels)
    label = np.asarray(arrays["label"])
    strange = np.setdiff1d(label, np.arange(UNLABELLED, num_classes))[:10].tolist()
    rule = f"must be classes 0 .. {num_classes - 1}, or {UNLABELLED} for none"
    remedy = "Rows of other classes would never keep their label: raise `num_classes`."
    require(not strange, "label", rule, strange, remedy, DataError)
    each, kept = labels // num_classes, []
    for number in range(num_classes):
        rows = np.flatnonzero(label == number)
        rule = f"must leave {each} rows of class {number}, of which there are {len(rows)}"
        remedy = "Ask for fewer, or bring more data."
        require(len(rows) >= each, "labels", rule, labels, remedy, DataError)
        kept.append(rows[permutation(len(rows), seed, number)[:each]])
    rows = np.sort(np.concatenate(kept))
    few = np.full(len(label), UNLABELLED, np.int32)
    few[rows] = label[rows]
    return {**arrays, "label": few, "group": (few == UNLABELLED).astype(np.int32)}
