"""Semi-amortised bounds: without steps, towards the best normal, gradients, composition."""

from functools import cache, partial
from itertools import pairwise

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from scrambling import compiled_start, perturbed

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
W = np.array([[1.0, 0.5], [-0.7, 1.2], [0.3, -0.4]])
NOISE = 0.6
X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
EVIDENCE = multivariate_normal(np.zeros(3), W @ W.T + NOISE**2 * np.eye(3)).logpdf(X)
PRECISION = np.eye(2) + W.T @ W / NOISE**2
BEST = EVIDENCE - 0.5 * (np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1])
"""The ELBO of the best diagonal normal, whose variances are those of the conditionals."""


class LinearGaussian:
    """x = W z + n, with the prior as its posterior."""

    def prior(self):
        return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)

    def posterior(self, x):
        loc = jnp.zeros((len(x), 2))
        return distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), 1)

    def likelihood(self, z):
        loc = z @ jnp.asarray(W.T, z.dtype)
        return distrax.Independent(distrax.Normal(loc, jnp.full_like(loc, NOISE)), 1)


def mean_bound(num_steps, **options):
    bound = partial(objectives.elbo, num_samples=200)
    options = {"step_size": 0.05, "bound": bound, "num_steps": num_steps, **options}
    found = partial(objectives.semi_amortised, LinearGaussian(), {"x": X}, **options)
    losses = jax.jit(jax.vmap(lambda key: found(key)[0]))(jax.random.split(KEY, 50))
    return -np.asarray(losses, np.float64).mean(0)


@pytest.mark.slow
def test_the_bound_rises_to_that_of_the_best_normal():
    found = [mean_bound(count) for count in (0, 1, 5, 100)]
    for lower, higher in pairwise(found):
        assert (higher > lower + 0.02).all()
    # 10,000 draws of log p(x | z) with a standard deviation of about 1.
    np.testing.assert_allclose(found[-1], BEST, atol=0.06)


VAE = models.DenseVAE((2, 2, 1), 2, (8,))
BATCH = {"x": np.random.default_rng(1).integers(0, 2, (6, 2, 2, 1)).astype(np.float32)}


@cache
def start():
    return perturbed(compiled_start(VAE, KEY, BATCH, KEY, method=objectives.semi_amortised))


def apply(objective, variables=None, batch=BATCH):
    return VAE.apply(variables or start(), batch, KEY, method=objective)


@pytest.mark.parametrize("bound", [objectives.elbo, partial(objectives.iwae, num_samples=3)])
def test_without_steps_it_is_the_bound(bound):
    loss, metrics = apply(partial(objectives.semi_amortised, num_steps=0, bound=bound))
    expected, others = apply(bound)
    np.testing.assert_array_equal(loss, expected)
    jax.tree.map(np.testing.assert_array_equal, metrics, others)


def test_parameters_are_those_of_the_model():
    plain = compiled_start(VAE, KEY, BATCH, KEY, method=objectives.elbo)
    assert jax.tree.structure(plain) == jax.tree.structure(start())


def test_gradients_are_those_of_differences():
    """In float64, with the gradient through the steps; without it the encoder's differs."""
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), start())
        batch = {"x": jnp.asarray(BATCH["x"], jnp.float64)}
        noise = np.random.default_rng(2)
        direction = jax.tree.map(lambda a: jnp.asarray(noise.normal(size=a.shape)), variables)

        def along(t, through_steps=True):
            moved = jax.tree.map(lambda a, d: a + t * d, variables, direction)
            loss = partial(
                objectives.semi_amortised,
                num_steps=3,
                step_size=0.2,
                through_steps=through_steps,
            )
            return apply(loss, moved, batch)[0].mean()

        difference = (along(1e-5) - along(-1e-5)) / 2e-5
        assert float(jax.grad(along)(0.0)) == pytest.approx(float(difference), rel=1e-5)
        held = float(jax.grad(partial(along, through_steps=False))(0.0))
        assert np.isfinite(held) and abs(held - float(difference)) > 1e-4


def test_transformed_data_are_measured_in_their_units_once():
    loss = partial(objectives.semi_amortised, num_steps=2)
    moved = {**BATCH, "log_det": jnp.full(6, 2.0)}
    np.testing.assert_allclose(apply(loss, batch=moved)[0], apply(loss)[0] - 2.0, rtol=1e-5)


@pytest.mark.parametrize(
    "options, word", [({"num_steps": -1}, "num_steps"), ({"step_size": 0.0}, "step_size")]
)
def test_bad_arguments_are_named(options, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        apply(partial(objectives.semi_amortised, **options))


def test_other_posteriors_are_named():
    vae = models.DenseVAE(
        (2, 2, 1), 2, (8,), posterior_model=models.IAF(2, 1, (4,), context_features=8)
    )
    variables = compiled_start(vae, KEY, BATCH, KEY, method=objectives.elbo)
    with pytest.raises(DgmjaxError, match=r"^`model` must have a diagonal normal posterior"):
        vae.apply(variables, BATCH, KEY, method=objectives.semi_amortised)
