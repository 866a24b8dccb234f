"""Samples chosen by a critic, where the density ratio is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from dgmjax import inference
from dgmjax.errors import DataError, DgmjaxError

KEY = jax.random.key(0)
P, Q = scipy.stats.norm(0.5, 1.0), scipy.stats.norm(0.0, 1.5)
GRID = np.linspace(-8.0, 8.0, 20_001)
LOG_M = float((P.logpdf(GRID) - Q.logpdf(GRID)).max())


def propose(key, num):
    return 1.5 * jax.random.normal(key, (num, 1))


def log_ratio(x):
    x = x[..., 0]
    return jnp.log(1.5) - 0.5 * (x - 0.5) ** 2 + 0.5 * (x / 1.5) ** 2


def exact():
    return inference.Threshold(jnp.float32(LOG_M), jnp.float32(0.0))


def test_accepted_samples_follow_the_target_at_the_rate_of_the_closed_form():
    num = 20_000
    sample = jax.jit(
        lambda key: inference.discriminator_rejection(key, propose, log_ratio, num, exact())
    )
    found = sample(KEY)
    assert bool(found.found.all())
    # At a level of 1e-3; samples of q fail at any.
    assert scipy.stats.kstest(np.asarray(found.value[:, 0]), P.cdf).pvalue > 1e-3
    assert scipy.stats.kstest(np.asarray(propose(KEY, num)[:, 0]), P.cdf).pvalue < 1e-9
    tries = int(found.tries.sum())
    rate = np.exp(-LOG_M)
    assert num / tries == pytest.approx(rate, abs=4.0 * np.sqrt(rate * (1.0 - rate) / tries))


@pytest.mark.parametrize("shift", [-2.0, 0.0, 1.5])
def test_a_shift_tilts_the_logit_of_the_acceptance(shift):
    r = np.array([1e-12, 1e-3, 0.4, 0.999, 1.0])
    threshold = inference.Threshold(jnp.float32(2.0), jnp.float32(shift))
    found = inference.log_acceptance(jnp.asarray(np.log(r) + 2.0, jnp.float32), threshold)
    wanted = np.log(r * np.exp(-shift)) - np.log(1.0 - r + r * np.exp(-shift))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert float(inference.log_acceptance(jnp.float32(3.0), threshold)) == 0.0  # beyond the bound
    slope = jax.grad(lambda v: inference.log_acceptance(v, threshold))(jnp.float32(2.0))
    assert np.isfinite(slope)


def test_a_percentile_of_the_samples_is_accepted_below_one_half():
    ratios = np.asarray(log_ratio(propose(KEY, 5000)))
    threshold = inference.threshold_of(ratios, 80.0)
    accepted = np.exp(inference.log_acceptance(jnp.asarray(ratios), threshold))
    assert np.mean(accepted < 0.5) == pytest.approx(0.8, abs=1e-3)
    assert float(inference.threshold_of(ratios).log_bound) == pytest.approx(ratios.max())
    with pytest.raises(DgmjaxError, match=r"`percentile` must be in \[0, 100\]"):
        inference.threshold_of(ratios, 101.0)


def test_chains_over_four_states_are_those_of_the_transition_matrix():
    """After three steps from one state, by enumeration; and p after many."""
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1])
    ratio = p / q
    accept = np.minimum(1.0, ratio[None] / ratio[:, None])
    matrix = q * accept
    matrix += np.diag(1.0 - matrix.sum(1))
    draw = lambda key, num: jax.random.categorical(key, jnp.log(q), shape=(num,))
    of = lambda x: jnp.log(jnp.asarray(ratio))[x]
    num = 40_000
    for steps in (3, 40):
        found = inference.metropolis_hastings_gan(
            KEY, draw, of, num, steps, start=jnp.full((num,), 3)
        )
        counts = np.bincount(found.value, minlength=4)
        expected = num * np.linalg.matrix_power(matrix, steps)[3]
        assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3
    np.testing.assert_allclose(np.linalg.matrix_power(matrix, 200)[0], p, atol=1e-6)
    stay = inference.metropolis_hastings_gan(KEY, draw, of, num, 1, start=jnp.full((num,), 3))
    moved = (q * accept[3]).sum()  # the proposal that equals the state counts as accepted, too
    assert float(stay.accepted.mean()) == pytest.approx(moved, abs=0.01)


def test_chains_of_a_continuous_target_end_at_it():
    walk = jax.jit(lambda key: inference.metropolis_hastings_gan(key, propose, log_ratio, 5000, 30))
    found = walk(KEY)
    assert scipy.stats.kstest(np.asarray(found.value[:, 0]), P.cdf).pvalue > 1e-3
    # E min(1, r(x') / r(x)) over x ~ p, x' ~ q, by quadrature.
    grid = np.linspace(-7.0, 7.0, 1201)
    log_r = P.logpdf(grid) - Q.logpdf(grid)
    weights = P.pdf(grid)[:, None] * Q.pdf(grid) * (grid[1] - grid[0]) ** 2
    rate = (weights * np.exp(np.minimum(0.0, log_r - log_r[:, None]))).sum()
    assert float(found.accepted.mean()) == pytest.approx(rate, abs=0.01)


def test_kernels_refuse_what_is_not_finite_and_leave_what_cannot_be():
    kernel = inference.independence(lambda key, num: jnp.arange(num), lambda x: jnp.log(1.0 * x))
    state = kernel.init(jnp.array([2, 0, 1]))
    state, info = kernel.step(KEY, state)
    assert state.position.tolist()[0] == 2 and state.position.tolist()[1] == 1
    nan = inference.independence(lambda key, num: jnp.ones(num), lambda x: x * jnp.nan)
    state = inference.Proposed(jnp.zeros(2), jnp.zeros(2))
    after, info = nan.step(KEY, state)
    assert after.position.tolist() == [0.0, 0.0] and info.divergent.all()


def values(num=4000, size=6000):
    """Values of a critic that knows 0.5 log p / q - 1 of data and samples."""
    data = P.rvs(num, random_state=0)[:, None]
    samples = Q.rvs(size, random_state=1)[:, None]
    return tuple(np.float32(0.5 * np.asarray(log_ratio(x)) - 1.0) for x in (data, samples))


@pytest.mark.parametrize("method, error", [("logistic", 0.1), ("isotonic", 0.35)])
def test_calibration_finds_the_ratio_and_equals_another_program(method, error):
    on_data, on_samples = values()
    found = inference.calibrate(on_data, on_samples, method)
    v = np.float64(np.concatenate([on_data, on_samples]))
    y = np.repeat([1.0, 0.0], [len(on_data), len(on_samples)])
    inner = np.quantile(v, np.linspace(0.1, 0.98, 50))
    np.testing.assert_allclose(found(jnp.float32(inner)), 2.0 * (inner + 1.0), atol=error)
    prior = np.log(len(on_data) / len(on_samples))
    if method == "logistic":
        other = LogisticRegression(C=np.inf, tol=1e-10).fit(v[:, None], y)
        wanted = other.decision_function(inner[:, None]) - prior
    else:
        p = IsotonicRegression(out_of_bounds="clip").fit(v, y).predict(v)
        margin = 0.5 / len(v)
        p = np.clip(p, margin, 1.0 - margin)
        inner, wanted = v, np.log(p / (1.0 - p)) - prior
    compiled = jax.jit(lambda ratio, v: ratio(v))(found, jnp.float32(inner))
    np.testing.assert_allclose(compiled, wanted, atol=2e-3)


def test_values_that_cannot_be_calibrated_are_named():
    with pytest.raises(DataError, match="`on_data` must overlap `on_samples`; got no overlap"):
        inference.calibrate([2.0, 3.0], [0.0, 1.0])
    with pytest.raises(DataError, match="`on_data` must overlap `on_samples`"):
        inference.calibrate([1.0, 2.0, 3.0], [-1.0, 0.0, 1.0])  # a slope without bound
    with pytest.raises(
        DataError, match=r"`on_data` must rise above `on_samples`.*; got a slope of -"
    ):
        inference.calibrate([0.0, 1.0, 2.0], [1.5, 2.5, 3.0])
    apart = inference.calibrate([2.0, 3.0], [0.0, 1.0], "isotonic")
    np.testing.assert_allclose(apart(jnp.array([0.0, 3.0])), np.log([1 / 7, 7]), rtol=1e-5)
    with pytest.raises(DataError, match="`on_samples` must be finite"):
        inference.calibrate([2.0, 3.0], [0.0, np.nan])
    with pytest.raises(DataError, match=r"`on_data` must be \[N\] with N at least 2"):
        inference.calibrate([2.0], [0.0, 1.0])
    with pytest.raises(DgmjaxError, match="`method` must be 'logistic' or 'isotonic'"):
        inference.calibrate([0.0, 1.0], [0.0, 1.0], "platt")


def test_a_critic_with_an_axis_of_its_own_is_named():
    propose = lambda key, count: jax.random.uniform(key, (count, 1))
    message = r"`log_ratio` must return one number for each sample, \[3\]; got shape \(3, 1\)"
    with pytest.raises(DgmjaxError, match=message):
        inference.discriminator_rejection(KEY, propose, jnp.log, 3, exact())
    with pytest.raises(DgmjaxError, match=message):
        inference.independence(propose, jnp.log).init(jnp.ones((3, 1)))
