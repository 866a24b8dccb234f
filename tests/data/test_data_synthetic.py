"""Synthetic sets: sampler, density and entropy against each other, SciPy and scikit-learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import make_moons

from dgmjax.data import load
from dgmjax.data.sources.plane import Curves
from dgmjax.data.sources.synthetic import TABLE
from dgmjax.errors import DataError

BOX = {"banana": (-7.0, 15.0), "correlated_gaussian": (-7.0, 7.0), "grid_gaussians": (-4.6, 4.6)}


@pytest.mark.parametrize("name", TABLE)
def test_density_integrates_to_one_and_has_that_entropy(name):
    """The trapezoidal rule converges geometrically on smooth densities; cells fit the squares."""
    low, high = BOX.get(name, (-3.5, 3.5))
    step = 0.04 if name != "checkerboard" else 0.125
    grid = np.arange(low, high, step) + step / 2
    with jax.enable_x64(True):
        points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)
        density = jax.jit(TABLE[name].law.log_density)
        log_p = np.concatenate([np.asarray(density(rows)) for rows in np.array_split(points, 9)])
    p = np.exp(log_p)
    assert np.sum(p) * step**2 == pytest.approx(1, abs=1e-6)
    entropy = -np.sum(np.where(p > 0, p * np.where(p > 0, log_p, 0), 0)) * step**2
    assert entropy == pytest.approx(TABLE[name].entropy, abs=1e-5)


@pytest.mark.staggered
@pytest.mark.parametrize("name", TABLE)
def test_samples_have_that_density(name):
    """Chi-square over cells of the plane at 1e-4, and the mean of -log p at 5 standard errors."""
    data = load(name, n_train=20_000, n_validation=0, n_test=0, seed=1)
    x = data.splits["train"]["x"]
    assert x.dtype == np.float32 and x.shape == (20_000, 2)
    nll = -np.asarray(jax.jit(data.log_density)(x))
    assert nll.dtype == np.float32
    spread = max(nll.std(), 1e-5) / np.sqrt(len(nll))
    assert abs(nll.mean(dtype=np.float64) - data.entropy) < 5 * spread
    cells, fine = np.linspace(-2.6, 2.6, 14), 20
    side = np.diff(cells)[0] / fine
    grid = cells[0] + side * (np.arange(13 * fine) + 0.5)
    p = np.exp(data.log_density(np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)))
    expected = np.asarray(p, np.float64).reshape(13, fine, 13, fine).sum((1, 3)) * side**2 * 20_000
    observed = np.histogram2d(x[:, 0], x[:, 1], [cells, cells])[0]
    full = expected > 20
    found = np.append(observed[full], 20_000 - observed[full].sum())
    wanted = np.append(expected[full], max(20_000 - expected[full].sum(), 20.0))
    statistic = np.sum((found - wanted) ** 2 / wanted)
    assert stats.chi2.sf(statistic, full.sum()) > 1e-4


def test_moons_are_those_of_scikit_learn():
    x, label = make_moons(20_000, noise=0.1, random_state=0)
    nll = -np.asarray(load("moons").log_density(x.astype(np.float32)))
    assert abs(nll.mean() - load("moons").entropy) < 5 * nll.std() / np.sqrt(len(nll))
    ours = load("moons", n_train=20_000).splits["train"]
    for arm in (0, 1):
        difference = ours["x"][ours["label"] == arm].mean(0) - x[label == arm].mean(0)
        assert np.all(np.abs(difference) < 0.05)


def test_correlated_gaussian_is_scipys():
    cov = [[1.0, 0.8], [0.8, 0.64 + 0.25]]
    law = stats.multivariate_normal(cov=cov)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    data = load("correlated_gaussian", n_train=10)
    np.testing.assert_allclose(data.log_density(x), law.logpdf(x), rtol=1e-4)
    assert data.entropy == pytest.approx(law.entropy())


def test_eight_gaussians_are_scipys():
    angle = np.pi * np.arange(8) / 4
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    parts = [
        stats.multivariate_normal([2 * np.cos(a), 2 * np.sin(a)], 0.04).pdf(x) / 8 for a in angle
    ]
    found = TABLE["eight_gaussians"].law.log_density(x)
    np.testing.assert_allclose(found, np.log(sum(parts)), rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in TABLE if isinstance(TABLE[n].law, Curves)])
def test_more_nodes_change_nothing(name):
    law = TABLE[name].law
    finer = dataclasses.replace(law, nodes=2 * law.nodes + 1)
    x = np.random.default_rng(0).uniform(-2.5, 2.5, (500, 2))
    with jax.enable_x64(True):
        np.testing.assert_allclose(law.log_density(x), finer.log_density(x), atol=1e-5)


@pytest.mark.staggered
@pytest.mark.parametrize("name", [n for n in TABLE if n != "checkerboard"])
def test_gradients_are_finite(name):
    points = jnp.array([[0.0, 0.0], [1.0, 0.5], [-30.0, 40.0], [1e-20, 0.0]])
    gradient = jax.vmap(jax.grad(TABLE[name].law.log_density))(points)
    assert np.all(np.isfinite(gradient))


def test_splits_are_streams_of_their_own():
    few, many = load("rings", n_train=10, seed=4), load("rings", n_train=99, seed=4)
    np.testing.assert_array_equal(few.splits["test"]["x"], many.splits["test"]["x"])
    x, other = many.splits["train"]["x"], load("rings", n_train=99, seed=5).splits["train"]["x"]
    assert not np.array_equal(x, other)
    assert not np.array_equal(x[:99], many.splits["test"]["x"][:99])
    assert "validation" not in load("rings", n_validation=0).splits


@pytest.mark.parametrize(
    "options", [{"n_train": -1}, {"n_train": 0, "n_validation": 0, "n_test": 0}, {"seed": -1}]
)
def test_bad_options(options):
    with pytest.raises(DataError):
        load("moons", **options)
