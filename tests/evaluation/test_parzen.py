"""Kernel density estimates against scikit-learn's."""

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import parzen, parzen_log_prob

RNG = np.random.default_rng(0)
SAMPLES, POINTS = RNG.normal(size=(300, 2, 3)), RNG.normal(size=(40, 2, 3))


@pytest.mark.parametrize("bandwidth", [0.1, 0.7, 3.0])
def test_densities_are_those_of_scikit_learn(bandwidth):
    # One leaf: the bounds of scikit-learn's tree cancel, by up to 36 nats at the first bandwidth.
    truth = KernelDensity(bandwidth=bandwidth, leaf_size=300).fit(SAMPLES.reshape(300, -1))
    found = parzen_log_prob(np.float32(SAMPLES), np.float32(POINTS), bandwidth)
    np.testing.assert_allclose(
        found, truth.score_samples(POINTS.reshape(40, -1)), rtol=2e-4, atol=1e-2
    )


def test_points_far_from_zero_and_whole_numbers():
    near = parzen_log_prob(np.float32(SAMPLES), np.float32(POINTS), 0.5)
    far = parzen_log_prob(np.float32(SAMPLES + 256.0), np.float32(POINTS + 256.0), 0.5)
    np.testing.assert_allclose(far, near, atol=2e-2)
    whole = RNG.integers(0, 256, (2, 20, 6))
    found = parzen_log_prob(*np.uint8(whole), 40.0)
    np.testing.assert_allclose(found, parzen_log_prob(*np.float32(whole), 40.0), rtol=1e-6)


def test_the_bandwidth_is_the_best_for_validation_points():
    """Of many samples of N(0, 1), a narrow kernel is best, of few a wide one."""
    draws = RNG.normal(size=(4000, 1))
    options = {"validation": draws[2000:3000], "test": draws[3000:], "bandwidths": [0.1, 0.3, 1.0]}
    many, few = parzen(draws[:2000], **options), parzen(draws[:5], **options)
    assert many.bandwidth < few.bandwidth and many.log_prob.shape == (1000,)
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    assert many.log_prob.mean() == pytest.approx(-entropy, abs=0.05)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"samples": SAMPLES[:0]}, "samples"),
        ({"samples": SAMPLES * np.nan}, "samples"),
        ({"validation": POINTS[:0]}, "validation"),
        ({"validation": POINTS * np.inf}, "validation"),
        ({"test": POINTS[:, :1]}, "test"),
        ({"bandwidths": []}, "bandwidths"),
        ({"bandwidths": [0.1, 0.0]}, "bandwidths"),
    ],
)
def test_bad_arguments_are_named(change, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        parzen(**({"samples": SAMPLES, "validation": POINTS, "test": POINTS} | change))
