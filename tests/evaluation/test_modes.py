"""Coverage of modes by counting, and the reverse KL divergence against its expectation."""

import numpy as np
import pytest

from dgmjax.data import load
from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import mode_coverage

CENTRES = np.stack(np.meshgrid(*[np.arange(-4.0, 5.0, 2.0)] * 2), -1).reshape(-1, 2)


def test_coverage_of_the_data_themselves():
    """All modes; P(good) = 1 - exp(-9/2); the KL is sampling error alone: chi-square / (2 n)."""
    x = load("grid_gaussians", n_train=2500).splits["train"]["x"]
    found = mode_coverage(x, CENTRES, 0.15)
    assert found.covered.value == 25
    assert abs(found.good.value - (1 - np.exp(-4.5))) < 5 * found.good.standard_error
    n = found.reverse_kl.num_examples
    assert abs(2 * n * found.reverse_kl.value - 24) < 5 * np.sqrt(48)


def test_coverage_by_counting():
    counts = [6, 3, 1]
    x = np.concatenate([np.tile(CENTRES[k], (n, 1)) for k, n in enumerate(counts)])
    x = np.concatenate([x + 0.1, np.full((10, 2), 1.0)])  # ten between the modes
    found = mode_coverage(x, CENTRES, 0.15)
    share = np.array(counts) / 10
    assert (found.covered.value, found.good.value) == (3.0, 0.5)
    assert found.reverse_kl.value == pytest.approx((share * np.log(25 * share)).sum())
    nothing = mode_coverage(np.full((4, 2), 1.0), CENTRES, 0.15)
    # A record of it can be written: the number is of all samples, not of the good ones.
    assert nothing.reverse_kl.num_examples == 4
    assert (nothing.covered.value, nothing.good.value) == (0.0, 0.0)
    assert nothing.reverse_kl.value == pytest.approx(np.log(25))


def test_the_standard_error_is_that_of_repeated_samples():
    rng, share = np.random.default_rng(0), np.linspace(1, 4, 25) / np.linspace(1, 4, 25).sum()
    found = [
        mode_coverage(CENTRES[rng.choice(25, 2000, p=share)], CENTRES, 0.1).reverse_kl
        for _ in range(200)
    ]
    spread = np.std([kl.value for kl in found])
    assert np.mean([kl.standard_error for kl in found]) == pytest.approx(spread, rel=0.2)


def test_wrong_shapes_are_named():
    with pytest.raises(DgmjaxError, match="`x` must be"):
        mode_coverage(np.ones((4, 3)), CENTRES, 0.1)
    for centres in (CENTRES[:0], CENTRES[0], CENTRES * np.nan):
        with pytest.raises(DgmjaxError, match="`centres` must be"):
            mode_coverage(np.ones((4, 2)), centres, 0.1)
    with pytest.raises(DgmjaxError, match="`radius` must be positive"):
        mode_coverage(np.ones((4, 2)), CENTRES, 0.0)
