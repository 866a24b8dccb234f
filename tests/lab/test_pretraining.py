"""Where training begins: parameters handed in, mixtures fitted to codes."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from fitting import fit
from scrambling import applied, compiled_start
from sklearn.mixture import GaussianMixture

from dgmjax import data, models, objectives
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError
from dgmjax.lab import Experiment, Trained, clustered_start, codes, fitted_mixture
from dgmjax.runs import RunFolder
from dgmjax.training import Player, gradient_learner

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
NLL = objectives.negative_log_likelihood
OPTIONS = {"key": jax.random.key(0), "steps": 6, "batch_size": 8}


@pytest.fixture(scope="module")
def still():
    """A learner that changes nothing: its parameters are those it began with."""
    return gradient_learner(models.DiagonalNormal((3,)), {"model": Player(NLL, optax.sgd(0.0))})


def moved(params):
    return jax.tree.map(lambda leaf: np.full_like(leaf, 0.25), params)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_training_begins_with_the_parameters_of_start(still):
    begun = fit(still, {"x": X}, **OPTIONS).state.params
    seen = []

    def start(params):
        seen.append(params)
        return moved(params)

    result = fit(still, {"x": X}, **OPTIONS, start=start)
    assert_equal(seen[0], begun)
    assert_equal(result.state.params, moved(begun))
    same = fit(still, {"x": X}, **OPTIONS, start=lambda params: params)
    assert_equal(same.state.params, begun)


def test_averaged_parameters_begin_there_too():
    module, player = models.DiagonalNormal((3,)), Player(NLL, optax.sgd(0.0))
    learner = gradient_learner(module, {"model": player}, ema_decay=0.5)
    state = fit(learner, {"x": X}, **OPTIONS, start=moved).state
    assert_equal(state.ema, moved(state.params))


def test_a_resumed_run_does_not_begin_again(still, tmp_path):
    run = RunFolder.create(tmp_path / "run", "test", {}, 0)
    first = fit(still, {"x": X}, **OPTIONS | {"steps": 3}, start=moved, run=run)

    def never(params):
        raise AssertionError

    again = fit(still, {"x": X}, **OPTIONS, start=never, run=run)
    assert again.seconds >= first.seconds
    assert_equal(again.state.params, moved(first.state.params))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda params: {},
        lambda params: jax.tree.map(lambda leaf: leaf[:1], params),
        lambda params: jax.tree.map(lambda leaf: leaf.astype(np.int32), params),
    ],
)
def test_other_names_shapes_or_types_are_refused(still, wrong):
    with pytest.raises(DgmjaxError, match="start"):
        fit(still, {"x": X}, **OPTIONS, start=wrong)


def blobs(num=300, seed=0):
    rng = np.random.default_rng(seed)
    means = np.array([[0.0, 4.0], [5.0, 0.0], [-4.0, -3.0]])
    stretch = np.array([[1.0, 0.0], [0.8, 0.5]])
    which = rng.integers(0, 3, num)
    return (means[which] + rng.normal(size=(num, 2)) @ stretch.T).astype(np.float32), which


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_fitted_mixture_is_scikit_learn_s(covariance):
    x, _ = blobs()
    fitted = fitted_mixture(x, 3, covariance, key=jax.random.key(0), restarts=2)
    prior = models.NormalMixture(2, 3, covariance=covariance)
    density = applied(prior, {"params": prior.fitted(*fitted)})
    reference = GaussianMixture(3, covariance_type=covariance, n_init=3, random_state=0).fit(x)
    got = density.log_prob(x)
    np.testing.assert_allclose(got.mean(), reference.score(x), atol=1e-3)
    np.testing.assert_allclose(got, reference.score_samples(x), atol=5e-2)


def test_full_mixture_against_scipy():
    rng = np.random.default_rng(1)
    loc, logits = rng.normal(size=(3, 2)), rng.normal(size=3)
    lower = np.tril(rng.normal(size=(3, 2, 2)), -1) + np.eye(2) * rng.uniform(0.5, 2, (3, 1, 2))
    prior = models.NormalMixture(2, 3, covariance="full")
    params = prior.fitted(*(jnp.float32(a) for a in (logits, loc, lower)))
    x = rng.normal(size=(7, 2))
    parts = [scipy.stats.multivariate_normal(m, c @ c.T).pdf(x) for m, c in zip(loc, lower)]
    truth = np.log(scipy.special.softmax(logits) @ np.array(parts))
    np.testing.assert_allclose(prior.apply({"params": params}).log_prob(x), truth, rtol=1e-4)


def test_the_prior_begins_at_the_clusters_of_the_codes():
    x, which = blobs()
    prior = models.NormalMixture(2, 3, covariance="full")
    module = models.DenseVAE((2,), 2, (8,), observation=families.Normal(), prior_model=prior)
    splits = {"train": {"x": x, "label": which}}
    dataset = data.Dataset("blobs", splits, {})
    loss = objectives.elbo
    player = Player(loss, optax.adam(1e-2))
    experiment = Experiment("vae", module, {"model": player}, dataset, steps=3, batch_size=50)
    learner = experiment.learner()
    state = jax.jit(learner.init)(jax.random.key(1), {"x": x[:50]})
    begun = jax.device_get(state.params)
    params = clustered_start(experiment, begun, jax.random.key(2), player=player, steps=200)
    assert jax.tree.structure(params) == jax.tree.structure(begun)
    kernel = lambda tree: jax.tree.leaves(tree["decoder"])[-1]
    assert not np.array_equal(kernel(params), kernel(begun))
    trained = Trained(experiment, learner, dataclasses.replace(state, params=params))
    means = codes(trained, {"x": x})
    density = trained.model.prior()
    reference = GaussianMixture(3, n_init=3, random_state=0).fit(means)
    np.testing.assert_allclose(density.log_prob(means).mean(), reference.score(means), atol=1e-2)


def test_views_choose_the_fit():
    """The likelihood prefers the heaps that a second view does not share."""
    rng = np.random.default_rng(0)
    which = rng.integers(0, 2, 600)
    # One coordinate tells the cluster and stays in a second view; the other, a mixture of two
    # narrow heaps, does not, and its likelihood is the higher of the two splits.
    heap = lambda: np.where(rng.random(600) < 0.5, -1.0, 1.0)
    code = lambda: np.stack([3.0 * which + 0.3 * rng.normal(size=600), 1.3 * heap()], 1)
    x, views = code(), code()
    x[:, 1] += 0.1 * rng.normal(size=600)
    views[:, 1] += 0.1 * rng.normal(size=600)
    x, views = x.astype(np.float32), views.astype(np.float32)

    def accuracy(**options):
        fitted = fitted_mixture(x, 2, "diag", key=jax.random.key(0), restarts=12, **options)
        prior = models.NormalMixture(2, 2, covariance="diag")
        density = applied(prior, {"params": prior.fitted(*fitted)})
        found = np.asarray(density.responsibilities(x)).argmax(-1)
        return max((found == which).mean(), (found != which).mean())

    assert accuracy() < 0.6
    assert accuracy(views=views) > 0.95


def test_a_corrupted_start_learns_what_views_share():
    x, which = blobs()
    seen = []

    def corruption(batch, key):
        seen.append(batch["x"].shape)
        return {"x": batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)}

    prior = models.NormalMixture(2, 3, covariance="full")
    module = models.DenseVAE((2,), 2, (8,), observation=families.Normal(), prior_model=prior)
    dataset = data.Dataset("blobs", {"train": {"x": x, "label": which}}, {})
    player = Player(partial(objectives.elbo, corruption=corruption), optax.adam(1e-2))
    experiment = Experiment("vae", module, {"model": player}, dataset, steps=3, batch_size=50)
    state = jax.jit(experiment.learner().init)(jax.random.key(1), {"x": x[:50]})
    options = {"player": player, "steps": 100, "restarts": 2, "corruption": corruption}
    begun = jax.device_get(state.params)
    params = clustered_start(experiment, begun, jax.random.key(2), **options)
    assert jax.tree.structure(params) == jax.tree.structure(begun)
    assert (300, 2) in seen and (50, 2) in seen


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda: fitted_mixture(X[0], 2, key=jax.random.key(0)), "x"),
        (lambda: fitted_mixture(X, 2, key=jax.random.key(0), views=X[:1]), "views"),
        (lambda: fitted_mixture(X, 2, key=jax.random.key(0), restarts=0), "restarts"),
        (lambda: models.NormalMixture(2, 3).fitted(jnp.zeros(3), jnp.zeros((3, 1)), 1), "loc"),
        (
            lambda: models.NormalMixture(2, 3, covariance="full").fitted(
                jnp.zeros(3), jnp.zeros((3, 2)), jnp.ones((3, 2))
            ),
            "scale",
        ),
        (lambda: models.NormalMixture(2, 3, covariance="tied").init(jax.random.key(0)), "covaria"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=word):
        act()


@pytest.mark.slow
def test_a_full_mixture_learns_as_a_prior():
    """Gradients of the ELBO reach its weights, means and factors."""
    prior = models.NormalMixture(2, 3, covariance="full")
    model = models.DenseVAE((2,), 2, (8,), observation=families.Normal(), prior_model=prior)
    batch = {"x": jnp.asarray(blobs(20)[0])}
    variables = compiled_start(
        model, jax.random.key(0), batch, jax.random.key(1), method=objectives.elbo
    )

    def loss(params):
        value, _ = model.apply({"params": params}, batch, jax.random.key(2), method=objectives.elbo)
        return value.mean()

    gradients = jax.grad(loss)(variables["params"])["prior_model"]
    assert set(gradients) == {"logits", "loc", "log_scale", "below_diagonal"}
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all() and np.all(np.abs(gradient) > 0), name
