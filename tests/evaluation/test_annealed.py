"""Annealed bounds of models: PPCA's closed form, generators, what is refused."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import Annealing, FixedObservation, annealed_bound, bidirectional

HOW = Annealing(chains=24, temperatures=120, schedule="sigmoid", leapfrog_steps=5)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def ppca():
    """A bound PPCA, whose log p(x) is known, and data of it."""
    module = models.PPCA(5, 2)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    variables = compiled_start(module, KEY, x, method="log_prob")
    return module.bind(jax.tree.map(lambda a: a + 0.3, variables)), x


def test_the_bound_is_the_exact_density(ppca):
    model, x = ppca
    bound, metrics = jax.jit(lambda key: annealed_bound(model, {"x": x}, key, HOW))(KEY)
    np.testing.assert_allclose(-bound, model.log_prob(x), atol=0.15)
    assert (metrics["effective_chains"] > 10).all() and not metrics["divergent"].any()
    assert float(metrics["acceptance"][0]) == pytest.approx(0.65, abs=0.1)


def test_the_sandwich_holds_the_exact_density_of_simulated_data(ppca):
    model, _ = ppca
    found = jax.jit(lambda key: bidirectional(model, key, 8, HOW))(KEY)
    assert abs(float(found.gap.mean())) < 0.3
    worse = Annealing(chains=24, temperatures=4, leapfrog_steps=2)
    rough = jax.jit(lambda key: bidirectional(model, key, 8, worse))(KEY)
    assert float(rough.gap.mean()) > float(found.gap.mean())


class Encoder:
    """A PPCA whose q(z | x) is its posterior, moved and widened."""

    def __init__(self, model, shift, widening):
        self.model, self.shift, self.widening = model, shift, widening
        self.prior, self.likelihood = model.prior, model.likelihood

    def posterior(self, x):
        exact = self.model.posterior(x)
        covariance = self.widening**2 * exact.covariance()
        return distrax.MultivariateNormalFullCovariance(exact.mean() + self.shift, covariance)


@pytest.mark.slow
def test_chains_that_start_in_the_posterior_weigh_as_they_must(ppca):
    model, x = ppca
    short = Annealing(chains=24, temperatures=4, leapfrog_steps=2, start="posterior")
    at_truth, _ = annealed_bound(Encoder(model, 0.0, 1.0), {"x": x}, KEY, short)
    np.testing.assert_allclose(-at_truth, model.log_prob(x), atol=1e-3)
    how = Annealing(chains=24, temperatures=40, leapfrog_steps=5, start="posterior")
    beside = Encoder(model, 0.3, 1.3)
    bound, _ = jax.jit(lambda key: annealed_bound(beside, {"x": x}, key, how))(KEY)
    np.testing.assert_allclose(-bound, model.log_prob(x), atol=0.15)
    found = jax.jit(lambda key: bidirectional(beside, key, 8, how))(KEY)
    assert abs(float(found.gap.mean())) < 0.3


def test_transformed_data_are_measured_in_their_units(ppca):
    model, x = ppca
    batch = {"x": x, "log_det": jnp.full(len(x), 2.5)}
    plain, _ = annealed_bound(model, {"x": x}, KEY, HOW)
    moved, _ = annealed_bound(model, batch, KEY, HOW)
    np.testing.assert_allclose(moved, plain - 2.5, atol=1e-4)


class Generator:
    """g(z) = (z, 2 z) with a standard normal prior: x is a normal of known covariance."""

    def prior(self):
        return distrax.MultivariateNormalDiag(jnp.zeros(1), jnp.ones(1))

    def generate(self, z):
        return jnp.concatenate([z, 2.0 * z], -1)


def test_a_generator_has_a_density_behind_a_fixed_observation():
    model = FixedObservation(Generator(), 0.5)
    x = np.array([[0.3, 0.4], [1.0, 2.5], [-2.0, 1.0]], np.float32)
    bound, _ = jax.jit(lambda key: annealed_bound(model, {"x": x}, key, HOW))(KEY)
    covariance = np.array([[1.0, 2.0], [2.0, 4.0]]) + 0.25 * np.eye(2)
    truth = distrax.MultivariateNormalFullCovariance(jnp.zeros(2), jnp.asarray(covariance))
    np.testing.assert_allclose(-bound, truth.log_prob(x), atol=0.2)


def test_discrete_latents_are_refused():
    module = models.DiscreteVAE((2, 2, 1), 3, 2, (4,))
    x = np.zeros((2, 2, 2, 1), np.float32)
    model = module.bind(compiled_start(module, KEY, {"x": x}, KEY, method=objectives.reinforce))
    with pytest.raises(DgmjaxError, match=r"^`model` must have real latents"):
        annealed_bound(model, {"x": x}, KEY, HOW)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: Annealing(chains=0), "chains"),
        (lambda: Annealing(temperatures=0), "temperatures"),
        (lambda: Annealing(schedule="cosine"), "schedule"),
        (lambda: Annealing(start="encoder"), "start"),
        (
            lambda: bidirectional(
                FixedObservation(Generator(), 1.0), KEY, 2, Annealing(start="posterior")
            ),
            "start",
        ),
        (lambda: FixedObservation(Generator(), 0.0), "scale"),
        (lambda: bidirectional(FixedObservation(Generator(), 1.0), KEY, 0, HOW), "num"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
