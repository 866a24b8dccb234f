"""Densities in float32 against SciPy in float64, where their terms cancel or overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgmjax import distributions
from dgmjax.distributions import families

KEY = jax.random.key(0)


def poisson_truth(x, log_rate):
    """In extended precision: float64 itself loses digits at a rate of 1e6."""
    x, log_rate = np.asarray(x, np.longdouble), np.asarray(log_rate, np.longdouble)
    rate = np.exp(log_rate)
    stirling = 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5) - 1 / (1680 * x**7)
    log_factorial = x * np.log(x) - x + np.log(2 * np.pi * x) / 2 + stirling
    plain = np.asarray(scipy.special.gammaln(np.asarray(x, float) + 1), np.longdouble)
    return np.asarray(x * log_rate - rate - np.where(x > 30, log_factorial, plain), float)


@pytest.mark.parametrize("rate", [0.3, 7.0, 40.0, 1e3, 1e5, 1e6, 8e6])
def test_poisson_log_prob_and_gradient_at_large_rates(rate):
    """At rates of 1e5, 1e6 and 8e6 the error was 0.075, 0.83 and 18.7 nats."""
    log_rate = np.float32(np.log(rate))
    deviations = np.array([-8.0, -3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0, 8.0])
    x = np.maximum(np.round(np.exp(float(log_rate)) + deviations * np.sqrt(rate)), 1.0)
    x = np.concatenate([x, [1.0, 15.0, 16.0, 17.0, np.round(2 * rate) + 1]]).astype(np.float32)
    log_prob = lambda log_rate: distributions.Poisson(log_rate).log_prob(jnp.asarray(x))
    truth = poisson_truth(x, log_rate)
    # The rate is a float32: what that costs is the slope, x - rate, times its rounding error.
    rounding = 3e-7 * np.abs(x - np.exp(float(log_rate)))
    assert (np.abs(log_prob(log_rate) - truth) <= 1e-6 * np.abs(truth) + rounding + 2e-6).all()
    slope = jax.jacfwd(log_prob)(jnp.float32(log_rate))
    exact = x.astype(float) - np.exp(float(log_rate))
    np.testing.assert_allclose(slope, exact, rtol=1e-4, atol=2e-7 * rate + 1e-6)


DF = (0.5, 1.0, 3.0, 15.9, 16.1, 100.0, 1e3, 1e4, 1e6, 1e7, 1e9)
POINTS = np.array([0.0, 0.1, -0.7, 1.0, 2.5, -8.0, 40.0, 1e3])


def student_gradient(df, z):
    """d log p / d df in extended precision, by the asymptotic series of the digamma function."""
    df, w = np.longdouble(df), np.asarray(z, np.longdouble) ** 2 / np.longdouble(df)
    digamma = scipy.special.digamma
    a = df / 2
    if df > 1e3:  # psi(a + 1/2) - psi(a) - 1 / (2 a)
        gap = 1 / (8 * a**2) - 1 / (64 * a**4)
    else:
        gap = np.longdouble(digamma(float(a) + 0.5) - digamma(float(a))) - 1 / (2 * a)
    return np.asarray(gap / 2 - (np.log1p(w) - w / (1 + w) - w / df / (1 + w)) / 2, float)


@pytest.mark.parametrize("df", DF)
def test_student_t_and_its_gradients_from_cauchy_to_normal(df):
    """At df 1e6 and 1e7 the error was 0.06 and 0.29 nats; the gradient by df was 0 above 1e3."""
    df = float(np.float32(df))
    log_prob = lambda df, z: distributions.StudentT(df, 0.0, 1.0).log_prob(z)
    z = jnp.asarray(POINTS, jnp.float32)
    truth = scipy.stats.t.logpdf(POINTS, df) if df < 1e6 else limit(df, POINTS)
    np.testing.assert_allclose(jax.vmap(log_prob, (None, 0))(df, z), truth, rtol=3e-6, atol=3e-6)
    by_df, by_z = jax.vmap(jax.grad(log_prob, (0, 1)), (None, 0))(df, z)
    expected = student_gradient(df, POINTS)
    # Where the two parts of a derivative cross, its relative error is that of either.
    scale = np.abs(POINTS**2 / df**2) / 2 + 1 / (4 * df**2)
    assert (np.abs(by_df - expected) <= 1e-4 * np.abs(expected) + 1e-4 * np.minimum(scale, 1)).all()
    np.testing.assert_allclose(by_z, -(df + 1) * POINTS / (df + POINTS**2), rtol=1e-5)


def limit(df, z):
    """log p to the order 1 / df, and the tail exactly."""
    kernel = (df + 1) / 2 * np.log1p(np.longdouble(z) ** 2 / df)
    return np.asarray(-np.log(2 * np.pi) / 2 - 1 / (4 * df) - kernel, float)


@pytest.mark.parametrize("z", [1e5, -1e20, 3e30])
def test_student_t_far_out(z):
    """z^2 overflows at 1e20: the log-density was -inf."""
    for df in (1.0, 3.0, 50.0):
        distribution = distributions.StudentT(df, 0.0, 1.0)
        value = float(np.float32(z))
        normaliser = scipy.stats.t.logpdf(0.0, df)
        truth = normaliser - (df + 1) / 2 * np.log1p(value**2 / df)
        np.testing.assert_allclose(distribution.log_prob(jnp.float32(z)), truth, rtol=2e-6)
        slope = jax.grad(distribution.log_prob)(jnp.float32(z))
        np.testing.assert_allclose(slope, -(df + 1) * value / (df + value**2), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("unbounded", [False, True])
def test_relaxed_draws_have_finite_log_probabilities(temperature, unbounded):
    """28% of `RelaxedBernoulli(0.1, 0.7).sample_and_log_prob` were NaN: y rounds to 1."""
    made = (
        distributions.RelaxedBernoulli(temperature, jnp.array([0.7, -3.0]), unbounded),
        distributions.RelaxedCategorical(temperature, jnp.array([0.7, -3.0, 1.0]), unbounded),
    )
    for distribution in made:
        draw = lambda key, d=distribution: d.sample_and_log_prob(seed=key, sample_shape=(2000,))
        y, log_prob = jax.jit(draw)(KEY)
        again = jax.jit(distribution.log_prob)(y)
        assert np.isfinite(log_prob).all() and np.isfinite(again).all()
        only = distribution.sample(seed=KEY, sample_shape=(2000,))
        np.testing.assert_allclose(y, only, rtol=1e-3, atol=1e-5)
        if temperature == 1.0:
            np.testing.assert_allclose(log_prob, again, rtol=1e-3, atol=1e-3)


def test_relaxed_events_outside_of_their_domain_have_no_density():
    bernoulli = distributions.RelaxedBernoulli(0.5, jnp.zeros(()))
    assert np.isnan(bernoulli.log_prob(jnp.array([-0.1, 1.1]))).all()


def test_impossible_categories_do_not_poison_the_others():
    """0 times -inf was NaN: the log-probability, entropy and divergence with logits of -inf."""
    logits = jnp.array([0.5, -jnp.inf, 1.0])
    one_hot = families.OneHotCategorical(3)(logits)
    p = scipy.special.softmax(np.array([0.5, -np.inf, 1.0]))
    expected = np.log(p, where=p > 0, out=np.full(3, -np.inf))
    np.testing.assert_allclose(one_hot.log_prob(jnp.eye(3)), expected, rtol=1e-5)
    entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
    np.testing.assert_allclose(one_hot.entropy(), entropy, rtol=1e-5)
    np.testing.assert_allclose(families.Categorical(3)(logits).entropy(), entropy, rtol=1e-5)
    np.testing.assert_allclose(one_hot.kl_divergence(one_hot), 0.0, atol=1e-6)
    uniform = families.OneHotCategorical(3)(jnp.zeros(3))
    np.testing.assert_allclose(one_hot.kl_divergence(uniform), np.log(3) - entropy, rtol=1e-5)
    assert uniform.kl_divergence(one_hot) == jnp.inf
    first = jnp.eye(3)[0]
    gradient = jax.grad(lambda logits: families.OneHotCategorical(3)(logits).log_prob(first))
    np.testing.assert_allclose(gradient(logits), np.eye(3)[0] - p, atol=1e-6)
