"""FIVO: closed forms, its fall back to IWAE, VRNN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from scrambling import compiled_start, scrambled

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.inference import Filtering, particle_filter

KEY = jax.random.key(0)
A, Q, R = 0.8, 0.7, 0.5


class LinearGaussian:
    """z_t = A z_{t-1} + Q n, x_t = z_t + R n, filtered by the transition or a worse proposal."""

    def __init__(self, x, widened=1.0):
        self.x, self.widened = jnp.asarray(x), widened

    def posterior(self, x):
        return None

    def filtering(self):
        def step(z, key, x):
            proposal = A * z + self.widened * Q * jax.random.normal(key, z.shape)
            logpdf = jax.scipy.stats.norm.logpdf
            weight = logpdf(proposal, A * z, Q) - logpdf(proposal, A * z, self.widened * Q)
            return proposal, weight + logpdf(x, proposal, R)

        return Filtering(lambda shape: jnp.zeros(shape), step, self.x.T)


X = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


def kalman(x):
    mean, variance, total = 0.0, 0.0, 0.0
    for value in x:
        mean, variance = A * mean, A**2 * variance + Q**2
        total += norm(mean, np.sqrt(variance + R**2)).logpdf(value)
        gain = variance / (variance + R**2)
        mean, variance = mean + gain * (value - mean), (1 - gain) * variance
    return total


TRUTH = np.array([kalman(x) for x in X])


def mean_bound(num_particles, threshold=0.5, draws=3000):
    one = lambda key: (
        -objectives.fivo(
            LinearGaussian(X, 1.5), {"x": X}, key, num_particles=num_particles, threshold=threshold
        )[0]
    )
    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, draws)), np.float64)


@pytest.mark.slow
def test_bounds_rise_with_particles_and_are_tightest_with_resampling():
    elbo, iwae, fivo = mean_bound(1), mean_bound(8, 0.0), mean_bound(8, 1.0)
    for lower, higher in ((elbo, iwae), (iwae, fivo)):
        assert lower.mean() < higher.mean()
    assert (fivo.mean(0) < TRUTH + 0.02).all()
    assert mean_bound(64, 1.0, 300).mean() == pytest.approx(TRUTH.mean(), abs=0.1)


def test_the_evidence_has_no_bias():
    found = np.exp(mean_bound(8, 0.5, 20_000) - TRUTH)
    error = found.std(0) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - 1.0) < 4.0 * error).all() and (error < 0.02).all()


@pytest.fixture(scope="module")
def vrnn():
    """A scrambled VRNN and two sequences, of which one is shorter."""
    module = models.VRNN((4, 3), latent=2, hidden=5)
    x = np.random.default_rng(1).integers(0, 2, (2, 4, 3)).astype(np.float32)
    batch = {"x": x, "length": np.array([4, 2])}
    variables = compiled_start(module, KEY, batch, KEY, method=objectives.fivo)
    other = compiled_start(module, KEY, batch, KEY, method=objectives.elbo)
    assert jax.tree.structure(variables) == jax.tree.structure(other)
    return module, scrambled(variables, scale=0.4), batch


def apply(vrnn, objective, key, **changes):
    module, variables, batch = vrnn
    return module.apply(variables, {**batch, **changes}, key, method=objective)[0]


@pytest.mark.slow
def test_without_resampling_it_is_iwae(vrnn):
    """Equal in mean, over many draws, as the estimate of p(x) is in every case."""
    keys = jax.random.split(KEY, 8000)
    fivo = partial(objectives.fivo, num_particles=4, threshold=0.0)
    iwae = partial(objectives.iwae, num_samples=4)
    found, expected = (
        np.asarray(jax.jit(jax.vmap(partial(apply, vrnn, objective)))(keys))
        for objective in (fivo, iwae)
    )
    error = np.hypot(found.std(0), expected.std(0)) / np.sqrt(len(keys))
    assert (np.abs(found.mean(0) - expected.mean(0)) < 4.0 * error).all() and (error < 0.05).all()


def test_padding_changes_nothing(vrnn):
    x = vrnn[2]["x"].copy()
    x[1, 2:] = 1.0 - x[1, 2:]
    noisy = x.copy()
    noisy[1, 2:] = np.nan
    values = [apply(vrnn, objectives.fivo, KEY, x=a) for a in (vrnn[2]["x"], x, noisy)]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])
    gradient = jax.grad(
        lambda v: vrnn[0].apply(v, {**vrnn[2], "x": noisy}, KEY, method=objectives.fivo)[0].sum()
    )(vrnn[1])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_transformed_data_are_measured_in_their_units(vrnn):
    plain = apply(vrnn, objectives.fivo, KEY)
    moved = apply(vrnn, objectives.fivo, KEY, log_det=jnp.array([1.5, -2.0]))
    np.testing.assert_allclose(moved, plain - jnp.array([1.5, -2.0]), rtol=1e-5)


ONE_WEIGHT = Filtering(jnp.zeros, lambda z, key, x: (z, jnp.zeros(())), X.T)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: objectives.fivo(LinearGaussian(X), {"x": X}, KEY, num_particles=0), "num_part"),
        (lambda: objectives.fivo(LinearGaussian(X), {"x": X}, KEY, threshold=2.0), "threshold"),
        (lambda: particle_filter(LinearGaussian(X).filtering(), KEY, 2, 0.5, "no"), "resampling"),
        (lambda: particle_filter(ONE_WEIGHT, KEY, 2), "filtering"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}"):
        act()


def test_a_model_that_cannot_be_filtered_is_named():
    module = models.DenseVAE((2, 2, 1), 2, (4,))
    with pytest.raises(DgmjaxError, match=r"^`model` must be a model of sequences"):
        module.init(KEY, {"x": np.zeros((2, 2, 2, 1), np.float32)}, KEY, method=objectives.fivo)
