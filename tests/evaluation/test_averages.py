"""Means with standard errors: SciPy's, and refusals of what has no mean of examples."""

import numpy as np
import pytest
from scipy import stats

from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import average


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, bool, np.uint8])
def test_means_and_standard_errors_are_scipys(dtype):
    values = np.random.default_rng(0).integers(0, 2, 50).astype(dtype)
    wide = values.astype(np.float64)
    found = average(values)
    assert found.value == pytest.approx(wide.mean())
    assert found.standard_error == pytest.approx(stats.sem(wide))
    assert found.num_examples == 50


def test_one_value_has_no_standard_error():
    assert average(np.array([3.0])) == (3.0, None, 1)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros((4, 2)), np.zeros(())])
def test_only_examples_have_an_average(values):
    with pytest.raises(DgmjaxError, match="`values` "):
        average(values)
