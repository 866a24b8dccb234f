"""Hamiltonian posteriors: closed forms of a linear-Gaussian model, volume, composition."""

from functools import partial
from itertools import pairwise

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.models.latent.hamiltonian import momentum_like

KEY = jax.random.key(0)
W = np.random.default_rng(0).normal(size=(4, 2))
NOISE = 0.7
X = (np.random.default_rng(1).normal(size=(5, 4)) * 1.5).astype(np.float32)
EVIDENCE = multivariate_normal(np.zeros(4), W @ W.T + NOISE**2 * np.eye(4)).logpdf(X)


class LinearGaussian(nn.Module):
    """x = W z + n with a posterior that is off: the prior, widened or not."""

    scale: float = 1.0

    def prior(self):
        return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)

    def posterior(self, x):
        loc = jnp.zeros((len(x), 2), x.dtype)
        return distrax.Independent(distrax.Normal(loc, jnp.full_like(loc, self.scale)), 1)

    def likelihood(self, z):
        loc = z @ jnp.asarray(W.T, z.dtype)
        return distrax.Independent(distrax.Normal(loc, jnp.full_like(loc, NOISE)), 1)


def wrapped(num_steps, scale=1.0, **options):
    return models.Hamiltonian(LinearGaussian(scale), num_steps=num_steps, **options)


def bounds(module, keys, variables=None, objective=objectives.iwae):
    variables = (
        module.init(KEY, {"x": X}, KEY, method=objective) if variables is None else variables
    )
    one = lambda key: -module.apply(variables, {"x": X}, key, method=objective)[0]
    return np.asarray(jax.jit(jax.vmap(one))(keys), np.float64)


def test_without_steps_it_is_the_elbo_of_the_model():
    vae = models.DenseVAE((2, 2, 1), 2, (8,))
    x = np.random.default_rng(2).integers(0, 2, (6, 2, 2, 1)).astype(np.float32)
    module = models.Hamiltonian(vae, num_steps=0)
    sampled = partial(objectives.elbo, kl="sampled")
    variables = compiled_start(module, KEY, {"x": x}, KEY, method=sampled)
    assert set(variables["params"]) == {"model"}
    variables = perturbed(variables)
    ours, metrics = applied(module, variables, {"x": x}, KEY, method=sampled)
    inner = {"params": variables["params"]["model"]}
    plain, expected = applied(vae, inner, {"x": x}, KEY, method=sampled)
    np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(metrics["log_likelihood"], expected["log_likelihood"])


def fitted(module, steps=300):
    """Step sizes and factors that maximise the bound."""
    variables = compiled_start(module, KEY, {"x": X}, KEY, method=objectives.iwae)
    optimiser = optax.adam(0.05)

    def loss(variables, key):
        one = lambda key: module.apply(variables, {"x": X}, key, method=objectives.iwae)[0].mean()
        return jax.vmap(one)(jax.random.split(key, 50)).mean()

    def step(carry, key):
        variables, moments = carry
        updates, moments = optimiser.update(jax.grad(loss)(variables, key), moments)
        return (optax.apply_updates(variables, updates), moments), None

    carry = (variables, optimiser.init(variables))
    return jax.jit(lambda keys: jax.lax.scan(step, carry, keys)[0][0])(jax.random.split(KEY, steps))


@pytest.mark.slow
@pytest.mark.staggered
@pytest.mark.parametrize("tempering", ["fixed", "free"])
def test_the_bound_is_below_the_evidence_and_rises_with_steps(tempering):
    keys = jax.random.split(jax.random.key(1), 2000)
    modules = [wrapped(count, tempering=tempering) for count in (0, 1, 4)]
    found = [bounds(module, keys, fitted(module) if module.num_steps else {}) for module in modules]
    for lower, higher in pairwise(found):
        gained = (higher - lower).mean(1)  # of the same draws
        assert gained.mean() > 4.0 * gained.std() / np.sqrt(len(keys))
    errors = found[-1].std(0) / np.sqrt(len(keys))
    assert (found[-1].mean(0) < EVIDENCE + 4 * errors).all()
    assert (EVIDENCE - found[-1].mean(0)).mean() < 0.5 * (EVIDENCE - found[0].mean(0)).mean()


def test_without_tempering_small_steps_conserve_the_energy_and_with_it_the_weight():
    keys = jax.random.split(KEY, 100)
    still, moved = (bounds(wrapped(n, tempering="none", step_size=0.02), keys) for n in (0, 6))
    np.testing.assert_allclose(moved, still, atol=0.05)
    assert still.std(0).min() > 1.0


@pytest.mark.staggered
@pytest.mark.parametrize("tempering", ["none", "fixed", "free"])
def test_weights_are_unbiased_estimates_of_the_evidence(tempering):
    """Holds for any steps and factors only if the density of the end of the steps is right."""
    module = wrapped(3, scale=1.3, step_size=0.25, tempering=tempering)
    variables = perturbed(module.init(KEY, {"x": X}, KEY, method=objectives.iwae), scale=0.5)
    weight = np.exp(bounds(module, jax.random.split(KEY, 50_000), variables) - EVIDENCE)
    error = weight.std(0) / np.sqrt(len(weight))
    assert (np.abs(weight.mean(0) - 1.0) < 4.0 * error).all() and (error < 0.05).all()


def posterior_of(module, variables, method):
    return module.apply(variables, method=lambda m: method(m.given({"x": X}).posterior(X)))


@pytest.mark.staggered
@pytest.mark.parametrize("tempering", ["none", "fixed", "free"])
def test_steps_preserve_volume_and_lead_back(tempering):
    with jax.enable_x64(True):
        module = wrapped(4, step_size=0.3, tempering=tempering)
        variables = perturbed(module.init(KEY, {"x": X}, KEY, method=objectives.iwae), scale=1.0)
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        z, r = np.random.default_rng(4).normal(size=(2, 5, 2))

        def forward(flat):
            halves = flat.reshape(2, 5, 2)
            end = posterior_of(
                module, variables, lambda q: q.forward({"z": halves[0], "momentum": halves[1]})
            )
            return jnp.stack([end["z"], end["momentum"]]).reshape(-1)

        start = jnp.asarray(np.stack([z, r]).reshape(-1))
        jacobian = np.asarray(jax.jit(jax.jacobian(forward))(start))
        assert np.linalg.slogdet(jacobian)[1] == pytest.approx(0.0, abs=1e-10)
        assert np.abs(jacobian - np.eye(len(start))).max() > 0.1
        end = jax.jit(forward)(start).reshape(2, 5, 2)
        inverse = lambda end: posterior_of(
            module, variables, lambda q: q.inverse({"z": end[0], "momentum": end[1]})
        )
        back = jax.jit(inverse)(end)
        np.testing.assert_allclose(back["z"], z, atol=1e-10)
        np.testing.assert_allclose(back["momentum"], r, atol=1e-10)


def test_log_prob_is_that_of_the_draw():
    module = wrapped(3, tempering="free")
    variables = perturbed(compiled_start(module, KEY, {"x": X}, KEY, method=objectives.iwae))
    drawn, log_q = posterior_of(
        module, variables, lambda q: q.sample_and_log_prob(seed=KEY, sample_shape=(3,))
    )
    again = posterior_of(module, variables, lambda q: q.log_prob(drawn))
    assert log_q.shape == (3, 5) and drawn["momentum"].shape == (3, 5, 2)
    np.testing.assert_allclose(again, log_q, atol=1e-4)
    # z and its momentum are drawn independently of each other.
    big = posterior_of(module, variables, lambda q: q.prior.sample(seed=KEY, sample_shape=(4000,)))
    momentum = momentum_like(KEY, big)
    correlation = np.corrcoef(np.asarray(big).ravel(), np.asarray(momentum).ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(big.size)


@pytest.mark.staggered
@pytest.mark.parametrize("tempering", ["none", "fixed", "free"])
@pytest.mark.parametrize("objective", [objectives.elbo, partial(objectives.iwae, num_samples=3)])
def test_every_parameter_has_a_finite_gradient(tempering, objective):
    vae = models.DenseVAE((2, 2, 1), 2, (8,))
    module = models.Hamiltonian(vae, num_steps=2, tempering=tempering)
    x = np.random.default_rng(5).integers(0, 2, (6, 2, 2, 1)).astype(np.float32)
    variables = perturbed(compiled_start(module, KEY, {"x": x}, KEY, method=objective))
    names = {"model", "step_sizes"} | ({"tempering"} if tempering != "none" else set())
    assert set(variables["params"]) == names
    loss = lambda v: module.apply(v, {"x": x}, KEY, method=objective)[0].mean()
    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(variables)):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_a_conditional_model_and_transformed_data():
    module = models.Hamiltonian(models.DenseCVAE((2, 2, 1), 2, (8,), num_classes=3), num_steps=2)
    x = np.random.default_rng(5).integers(0, 2, (6, 2, 2, 1)).astype(np.float32)
    batch = {"x": x, "label": np.arange(6) % 3}
    variables = perturbed(compiled_start(module, KEY, batch, KEY, method=objectives.elbo))
    loss, _ = applied(module, variables, batch, KEY, method=objectives.elbo)
    moved = {**batch, "log_det": jnp.full(6, 2.0)}
    there, _ = applied(module, variables, moved, KEY, method=objectives.elbo)
    np.testing.assert_allclose(there, loss - 2.0, rtol=1e-5)
    bound, _ = applied(
        module, variables, batch, KEY, method=partial(objectives.importance_bound, num_samples=100)
    )
    assert (bound < loss + 1.0).all()


def test_named_methods_make_every_parameter():
    module = models.Hamiltonian(models.DenseVAE((2, 2, 1), 2, (8,)), num_steps=2)
    named = compiled_start(module, KEY, KEY, (2,), method="sample")
    batch = {"x": np.zeros((6, 2, 2, 1), np.float32)}
    by_objective = compiled_start(module, KEY, batch, KEY, method=objectives.elbo)
    assert jax.tree.structure(named) == jax.tree.structure(by_objective)
    assert module.apply(named, KEY, (3,), method="sample").shape == (3, 2, 2, 1)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"num_steps": -1}, "num_steps"),
        ({"num_steps": 1, "step_size": 0.0}, "step_size"),
        ({"num_steps": 1, "step_size": 0.6}, "step_size"),
        ({"num_steps": 1, "tempering": "some"}, "tempering"),
    ],
)
def test_bad_arguments_are_named(options, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        wrapped(**options)


@pytest.mark.parametrize(
    "model",
    [
        models.DenseHierarchicalVAE((2, 2, 1), (2, 2), ((8,), (8,))),
        models.DiscreteVAE((2, 2, 1), 3, 2, (4,)),
    ],
)
def test_latents_that_cannot_move_are_named(model):
    module = models.Hamiltonian(model, num_steps=1)
    with pytest.raises(DgmjaxError, match=r"^`model` must have latents that are one array of real"):
        module.init(KEY, {"x": np.zeros((2, 2, 2, 1), np.float32)}, KEY, method=objectives.elbo)
