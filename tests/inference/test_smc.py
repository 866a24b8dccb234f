"""Sequential Monte Carlo against the Kalman filter, resampling, rejection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from dgmjax.errors import DgmjaxError
from dgmjax.inference import rejection_sample, resampling, run_smc, sequential_monte_carlo

# z_t = A z_{t-1} + q n, x_t = z_t + r n, z_0 = 0.
A, Q, R = 0.9, 0.6, 0.8
X = np.array([0.3, 1.2, 2.5, 0.1, -0.4, -2.0, 0.7], np.float32)


def kalman():
    """log p(x_1..T) of the scalar linear-Gaussian model."""
    mean, variance, total = 0.0, 0.0, 0.0
    for x in X:
        mean, variance = A * mean, A**2 * variance + Q**2
        total += norm(mean, np.sqrt(variance + R**2)).logpdf(x)
        gain = variance / (variance + R**2)
        mean, variance = mean + gain * (x - mean), (1 - gain) * variance
    return total, mean


def bootstrap(key, z, x):
    """Proposes from the transition; the increment is the likelihood."""
    z = A * z + Q * jax.random.normal(key, z.shape)
    return z, jax.scipy.stats.norm.logpdf(x, z, R)


def optimal(key, z, x):
    """Proposes from p(z_t | z_{t-1}, x_t); the increment is p(x_t | z_{t-1})."""
    variance = 1.0 / (1.0 / Q**2 + 1.0 / R**2)
    mean = variance * (A * z / Q**2 + x / R**2)
    increment = jax.scipy.stats.norm.logpdf(x, A * z, np.sqrt(Q**2 + R**2))
    return mean + np.sqrt(variance) * jax.random.normal(key, z.shape), increment


@pytest.mark.staggered(of=2)
@pytest.mark.staggered(of=6)
@pytest.mark.parametrize("scheme", ["multinomial", "stratified", "systematic"])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_evidence_is_unbiased(scheme, threshold):
    """Eight particles, many filters: the mean of exp(log Z) is the Kalman filter's."""
    kernel = sequential_monte_carlo(bootstrap, threshold, scheme)
    one = lambda key: run_smc(kernel, key, jnp.zeros(8), jnp.asarray(X))[0].log_evidence
    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 30_000))
    truth, _ = kalman()
    weight = np.exp(np.asarray(found, np.float64) - truth)
    error = weight.std() / np.sqrt(len(weight))
    assert abs(weight.mean() - 1.0) < 4.0 * error and error < 0.02
    assert found.mean() < truth


@pytest.mark.parametrize("move", [bootstrap, optimal])
def test_many_particles_are_the_kalman_filter(move):
    kernel = sequential_monte_carlo(move)
    run = jax.jit(lambda key: run_smc(kernel, key, jnp.zeros(50_000), jnp.asarray(X)))
    particles, info = run(jax.random.key(1))
    truth, mean = kalman()
    assert float(particles.log_evidence) == pytest.approx(truth, abs=0.06)  # 4 standard errors
    estimate = (jnp.exp(particles.log_weights) * particles.values).sum()
    assert float(estimate) == pytest.approx(mean, abs=0.02)
    assert float(jax.nn.logsumexp(particles.log_weights)) == pytest.approx(0.0, abs=1e-4)
    assert info.ancestors.shape == (len(X), 50_000)
    assert float(info.log_increment.sum()) == pytest.approx(float(particles.log_evidence), abs=1e-3)


def test_evidence_of_what_cannot_be_is_zero():
    """Also where later steps could be, and where nothing is resampled."""
    move = lambda key, z, x: (z, jnp.where(x > 0, jnp.log(0.5), -jnp.inf) + 0 * z)
    for threshold in (0.0, 1.0):
        kernel = sequential_monte_carlo(move, threshold)
        steps = jnp.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
        found = [run_smc(kernel, jax.random.key(0), jnp.zeros(8), x)[0].log_evidence for x in steps]
        np.testing.assert_allclose(found, [3 * np.log(0.5), -np.inf, -np.inf], rtol=1e-6)


def test_threshold_decides_when_to_resample():
    given = jnp.asarray(X)
    never = run_smc(sequential_monte_carlo(bootstrap, 0.0), jax.random.key(0), jnp.zeros(64), given)
    always = run_smc(
        sequential_monte_carlo(bootstrap, 1.0), jax.random.key(0), jnp.zeros(64), given
    )
    assert not never[1].resampled.any()
    assert not always[1].resampled[0] and always[1].resampled[1:].all()  # equal weights at first
    assert always[1].effective_sample_size[-1] > never[1].effective_sample_size[-1]


@pytest.mark.parametrize("name", sorted(resampling.SCHEMES))
def test_offspring_are_unbiased(name):
    weights = np.array([0.05, 0.0, 0.45, 0.2, 0.3])
    keys = jax.random.split(jax.random.key(2), 20_000)
    drawn = jax.vmap(lambda key: resampling.SCHEMES[name](key, jnp.log(jnp.asarray(weights))))(keys)
    counts = np.stack([(np.asarray(drawn) == i).sum(1) for i in range(5)], -1)
    np.testing.assert_allclose(counts.mean(0), 5 * weights, atol=0.03)
    assert counts[:, 1].max() == 0
    if name == "systematic":  # never further from its mean than 1
        assert (np.abs(counts - 5 * weights) < 1.0 + 1e-6).all()


@pytest.mark.parametrize("name", sorted(resampling.SCHEMES))
def test_one_heavy_particle_takes_all(name):
    log_weights = jnp.array([-jnp.inf, 0.0, -jnp.inf])
    drawn = resampling.SCHEMES[name](jax.random.key(0), log_weights)
    assert drawn.tolist() == [1, 1, 1]


def test_rejection_samples_follow_the_density():
    """p(z) = 2 z on [0, 1] from uniform proposals, M = 2."""
    propose = lambda key, count: jax.random.uniform(key, (count,))
    found = jax.jit(lambda key: rejection_sample(key, propose, jnp.log, 40_000))(jax.random.key(0))
    assert found.found.all()
    assert float(found.tries.mean()) == pytest.approx(2.0, rel=0.03)
    quantiles = np.quantile(np.asarray(found.value), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, np.sqrt([0.1, 0.5, 0.9]), atol=0.01)


def test_what_was_not_accepted_says_so():
    propose = lambda key, count: jnp.zeros((count, 2))
    found = rejection_sample(jax.random.key(0), propose, lambda z: z[:, 0] - jnp.inf, 3, 5)
    assert not found.found.any() and found.tries.tolist() == [5, 5, 5]


ZEROS = np.zeros(3)


def moved_by(shape, values=ZEROS):
    """Particles whose move returns increments of `shape`."""
    kernel = sequential_monte_carlo(lambda key, z, x: (z, jnp.zeros(shape)))
    return lambda: run_smc(kernel, jax.random.key(0), values, jnp.zeros(4))


def rejecting(log_acceptance, num=5, more=0):
    propose = lambda key, count: jax.random.uniform(key, (count + more, 1))
    return lambda: rejection_sample(jax.random.key(0), propose, log_acceptance, num)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: sequential_monte_carlo(bootstrap, 1.5), "threshold"),
        (lambda: sequential_monte_carlo(bootstrap, resampling="all"), "resampling"),
        (lambda: run_smc(sequential_monte_carlo(bootstrap), jax.random.key(0), X, ()), "given"),
        (moved_by((2,)), "move"),
        (moved_by((1,)), "move"),
        (moved_by(()), "move"),
        (moved_by((3, 1)), "move"),
        (moved_by((3,), {}), "values"),
        (moved_by((3,), np.zeros(())), "values"),
        (moved_by((3,), (np.zeros(3), np.zeros(4))), "values"),
        (lambda: rejection_sample(jax.random.key(0), None, None, 0), "num_samples"),
        (rejecting(jnp.log), "log_acceptance"),
        (rejecting(jnp.log, num=1), "log_acceptance"),
        (rejecting(lambda z: z.sum()), "log_acceptance"),
        (rejecting(lambda z: z[:, 0], more=1), "propose"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
