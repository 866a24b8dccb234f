"""The resampled posterior's bound and its gradient, by enumeration of all latents."""

from functools import cache
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from scrambling import compiled_start, perturbed

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
MODEL = models.DiscreteVAE((4,), 3, 2, (5,))
BATCH = {"x": jnp.asarray(np.random.default_rng(0).integers(0, 2, (3, 4)), jnp.float32)}
CODES = jnp.asarray(list(product((0.0, 1.0), repeat=3)))


@cache
def start():
    made = compiled_start(MODEL, KEY, BATCH, KEY, method=objectives.elbo)
    return perturbed(made, seed=1, scale=1.0)


@jax.jit
def exact(variables, threshold):
    """E_r[log p(x, z) - log r(z | x)] `[B]`, and log p(x)."""
    model = MODEL.bind(variables)
    x, z = BATCH["x"], jnp.broadcast_to(CODES[:, None], (8, 3, 3))
    log_p = model.prior().log_prob(z) + model.likelihood(z).log_prob(x)
    log_q = model.posterior(x).log_prob(z)
    log_r = log_q + jax.nn.log_sigmoid(jax.lax.stop_gradient(threshold) + log_p - log_q)
    log_r = log_r - jax.nn.logsumexp(log_r, 0)
    return (jnp.exp(log_r) * (log_p - log_r)).sum(0), jax.nn.logsumexp(log_p, 0)


def test_value_and_gradient_are_those_of_enumeration():
    """Every parameter by a z-test over 1500 draws."""
    threshold, count = 2.0, 1500

    def loss(variables, key):
        method = objectives.variational_rejection
        options = {"threshold": threshold, "num_samples": 3, "num_trials": 1000}
        found, metrics = MODEL.apply(variables, BATCH, key, method=method, **options)
        return found.mean(), metrics

    keys = jax.random.split(jax.random.key(1), count)
    draws = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True), (None, 0)))
    (values, metrics), slopes = draws(start(), keys)
    bound, evidence = exact(start(), threshold)
    error = float(values.std()) / count**0.5
    assert -float(values.mean()) == pytest.approx(float(bound.mean()), abs=4 * error + 2e-3)
    assert (bound < evidence).all() and not metrics["refused"].any()
    # E_q[a] is 1 over the mean number of tries.
    tries = np.asarray(metrics["tries"]).mean(0)
    np.testing.assert_allclose(metrics["acceptance"].mean(0), 1.0 / tries, rtol=0.05)
    expected = jax.jit(jax.grad(lambda v: -exact(v, threshold)[0].mean()))(start())
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    expected = flat(expected)
    found = np.concatenate([np.reshape(s, (count, -1)) for s in jax.tree.leaves(slopes)], 1)
    z = (found.mean(0) - expected) / (found.std(0) / count**0.5 + 1e-8)
    assert np.abs(z).max() < scipy.stats.norm.isf(1e-4 / 2 / len(expected))
    assert np.abs(expected).max() > 0.05


def test_the_bound_rises_as_the_threshold_falls():
    bounds = [np.asarray(exact(start(), t)[0]) for t in (50.0, 2.0, 0.0, -10.0)]
    for looser, tighter in pairwise(bounds):
        assert (tighter > looser).all()
    np.testing.assert_allclose(bounds[-1], exact(start(), 0.0)[1], atol=1e-3)

    variables = start()

    @jax.jit
    def metrics(key):
        method = objectives.variational_rejection
        return jax.vmap(lambda key: MODEL.apply(variables, BATCH, key, method=method)[1])(key)

    found = metrics(jax.random.split(KEY, 200))
    elbo = exact(start(), 50.0)[0]
    assert (found["bound"].mean(0) > elbo).all() and (found["acceptance"] < 1.0).all()


@pytest.mark.slow
def test_posteriors_of_several_layers_and_parameters_of_the_model():
    net = models.SigmoidBeliefNetwork((2, 2, 1), (3, 2))
    batch = {"x": jnp.ones((4, 2, 2, 1))}
    method = objectives.variational_rejection
    variables = compiled_start(net, KEY, batch, KEY, method=method)
    plain = compiled_start(net, KEY, batch, KEY, method=objectives.elbo)
    assert jax.tree.structure(variables) == jax.tree.structure(plain)
    loss = lambda v: net.apply(v, batch, KEY, method=method)[0].sum()
    assert np.isfinite(optax.tree.norm(jax.jit(jax.grad(loss))(variables)))


@pytest.mark.parametrize(
    "options, word",
    [
        ({"num_samples": 1}, "num_samples"),
        ({"acceptance": 0.0}, "acceptance"),
        ({"num_trials": 0}, "num_trials"),
        ({"max_tries": 0}, "max_tries"),
    ],
)
def test_bad_arguments_are_named(options, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        objectives.variational_rejection(MODEL.bind(start()), BATCH, KEY, **options)
