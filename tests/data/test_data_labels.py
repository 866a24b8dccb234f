"""Few labels: classes that the draw would pass over."""

import numpy as np
import pytest

from dgmjax import data
from dgmjax.errors import DataError


@pytest.mark.parametrize("strange", [2, -2, 0.5])
def test_labels_of_no_class_are_refused(strange):
    label = np.array([0, 1, 0, 1, -1, strange])
    arrays = {"x": np.arange(6), "label": label}
    message = rf"`label` must be classes 0 .. 1, or -1 for none; got \[{strange}"
    with pytest.raises(DataError, match=message):
        data.few_labels(arrays, 2, seed=0, num_classes=2)
    known = {name: array[:5] for name, array in arrays.items()}
    few = data.few_labels(known, 2, seed=0, num_classes=2)
    assert sorted(few["label"].tolist()) == [-1, -1, -1, 0, 1]
