"""Transformed data: every objective is one of the raw data, by one function of the contracts."""

import ast
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start, scrambled

from dgmjax import contracts, models, nn, objectives
from dgmjax.distributions import families

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, 3))
LOG_DET = jnp.linspace(-2.0, 3.0, 6)
ROOT = Path(objectives.__file__).parent


def vae():
    return models.DenseVAE((3,), 2, (5,), observation=families.Normal())


def discrete(wrapped: bool = False):
    plain = models.DiscreteVAE((3,), 4, 2, (5,), observation=families.Normal())
    return models.WithControlVariate(plain, nn.MLP((8,), (1,))) if wrapped else plain


def multimodal():
    return models.ImageLabelVAE((3,), 4, 2, (5,), observation=families.Normal())


LABEL = {"label": jnp.arange(6) % 4}
ROWS = {
    "elbo": (vae, objectives.elbo, {}),
    "elbo_of_three": (vae, partial(objectives.elbo, num_samples=3), {}),
    "iwae": (vae, partial(objectives.iwae, num_samples=3), {}),
    "iwae_dreg": (vae, partial(objectives.iwae, num_samples=3, gradient="dreg"), {}),
    "renyi": (vae, partial(objectives.renyi, alpha=0.5), {}),
    "importance_bound": (vae, partial(objectives.importance_bound, num_samples=4, chunk=2), {}),
    "wae": (vae, objectives.wae, {}),
    "infovae": (vae, partial(objectives.infovae, alpha=0.3), {}),
    "beta_tc": (vae, partial(objectives.beta_tc, num_examples=20), {}),
    "subsampled_elbo": (multimodal, partial(objectives.subsampled_elbo, alone=False), LABEL),
    "elbo_multimodal": (multimodal, objectives.elbo, LABEL),
    "reinforce": (discrete, objectives.reinforce, {}),
    "vimco": (discrete, objectives.vimco, {}),
    "reinforce_baseline": (
        lambda: models.WithBaseline(discrete(), nn.MLP((4,), (1,))),
        objectives.reinforce,
        {},
    ),
    "relax": (partial(discrete, wrapped=True), objectives.relax, {}),
    "concrete": (discrete, objectives.concrete, {}),
    "straight_through": (discrete, objectives.straight_through, {}),
    "nll": (lambda: models.MAF(3, 2, (8,)), objectives.negative_log_likelihood, {}),
    "sampled_ordering": (
        lambda: models.MADE((3,), (6,), families.Normal(), num_orders=2),
        objectives.sampled_ordering,
        {},
    ),
}


def value(model, objective, batch):
    def start(model, batch, key):
        return objective(model, batch, key)

    variables = jax.jit(partial(model.init, method=start))(KEY, batch, KEY)
    variables = {**variables, "params": scrambled(variables["params"], 0, 0.3)}
    return jax.jit(lambda batch: model.apply(variables, batch, KEY, method=objective)[0])(batch)


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", ROWS)
def test_the_log_determinant_is_counted_once(name):
    make, objective, more = ROWS[name]
    plain = value(make(), objective, {"x": X, **more})
    transformed = value(make(), objective, {"x": X, "log_det": LOG_DET, **more})
    np.testing.assert_allclose(transformed, plain - LOG_DET, rtol=1e-4, atol=1e-4)


def test_a_subsampled_elbo_is_the_elbo_on_transformed_data():
    batch = {"x": X, "log_det": LOG_DET, **LABEL}
    model = multimodal()
    start = lambda model: model.given(batch) and None
    variables = compiled_start(model, KEY, method=start)
    one = lambda model: objectives.elbo(model, batch, KEY, kl="analytic")[1]["kl"]
    both = lambda model: objectives.subsampled_elbo(model, batch, KEY, alone=False)[1]
    kl = applied(model, variables, method=one)
    metrics = applied(model, variables, method=both)
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-5)
    likelihoods = metrics["log_likelihood_x"] + metrics["log_likelihood_label"]
    np.testing.assert_allclose(metrics["elbo"], likelihoods - kl, rtol=1e-5)
    raw = {"x": X, **LABEL}
    before = applied(
        model, variables, method=lambda m: objectives.subsampled_elbo(m, raw, KEY, alone=False)[1]
    )
    difference = metrics["log_likelihood_x"] - before["log_likelihood_x"]
    np.testing.assert_allclose(difference, LOG_DET, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(metrics["log_likelihood_label"], before["log_likelihood_label"])


def test_an_absent_modality_has_no_log_determinant():
    present = jnp.stack([jnp.arange(6) % 2, jnp.ones(6)], -1)
    model = multimodal()
    batch = {"x": X, **LABEL, "present": present}
    variables = model.init(KEY, method=lambda model: model.given(batch) and None)
    loss = lambda batch: model.apply(variables, batch, KEY, method=objectives.elbo)[0]
    difference = loss(batch) - loss({**batch, "log_det": LOG_DET})
    np.testing.assert_allclose(difference, LOG_DET * present[:, 0], rtol=1e-4, atol=1e-4)


def test_no_objective_reads_the_log_determinant_or_asks_for_linen():
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        documentation = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value == "log_det":
                refused = path.name == "missing.py"  # a batch with one is refused there
                assert refused or node in documentation, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("apply", "init", "bind"), path
                assert node.attr != "is_initializing", path


def test_a_hand_written_model_needs_no_protocol():
    class Hand:
        def log_prob(self, x):
            return -(x**2).sum(-1)

    loss, _ = objectives.negative_log_likelihood(Hand(), {"x": X, "log_det": LOG_DET})
    np.testing.assert_allclose(loss, (X**2).sum(-1) - LOG_DET, rtol=1e-5)
    assert not contracts.is_initialising(Hand())
    assert not contracts.is_conditional(Hand()) and not contracts.is_latent_variable_model(Hand())


def test_models_in_original_units_are_copied_and_pickled():
    import copy
    import pickle

    class Hand:
        name = "hand"

    wrapped = contracts.InOriginalUnits(Hand.name, np.ones(2))
    likelihood = contracts.LikelihoodInOriginalUnits(Hand.name, np.ones(2))
    for one in (wrapped, likelihood):
        for again in (copy.copy(one), pickle.loads(pickle.dumps(one))):
            np.testing.assert_array_equal(again.log_det, one.log_det)
            assert again.upper() == "HAND"  # whatever else the inner object offers
