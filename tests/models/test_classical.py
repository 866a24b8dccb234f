"""Shallow models against scikit-learn, closed forms and quadrature, trained by EM through `fit`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from fitting import fit
from scrambling import perturbed
from sklearn.decomposition import PCA, FactorAnalysis as SklearnFactorAnalysis
from sklearn.mixture import GaussianMixture as SklearnMixture

from dgmjax import models, objectives
from dgmjax.distributions import LowRankNormal
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.training import Player, em_learner, gradient_learner
from dgmjax.training.gradients import Microbatches

KEY = jax.random.key(0)
ROWS = 400


def factor_data():
    """Two strong factors of six features, each with a noise of its own."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 2)) * 2.0
    noise = rng.normal(size=(ROWS, 6)) * np.linspace(0.4, 1.0, 6)
    return rng.normal(size=(ROWS, 2)) @ weights.T + noise + np.arange(6.0)


def cluster_data():
    """Three clusters in three dimensions, far apart, of different shapes."""
    rng = np.random.default_rng(1)
    shapes = rng.normal(size=(3, 3, 3)) * np.array([0.5, 1.0, 1.5])[:, None, None]
    centres = 8.0 * np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
    label = rng.integers(0, 3, ROWS)
    return centres[label] + np.einsum("nij,nj->ni", shapes[label], rng.normal(size=(ROWS, 3)))


def run_em(module, x, steps):
    """Steps of EM in float64: the final parameters and all log-likelihoods."""
    learner = em_learner(module)
    batch = {"x": jnp.asarray(x, jnp.float64)}
    state = jax.jit(learner.init)(KEY, batch)

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda s, _: learner.step(s, batch), state, None, length=steps)

    state, metrics = run(state)
    return learner.bind(state), np.asarray(metrics["log_likelihood"])


LINEAR = {"ppca": models.PPCA(6, 2), "factor_analysis": models.FactorAnalysis(6, 2)}


def linear_reference(name, x):
    """scikit-learn's mean log-likelihood and covariance."""
    if name == "ppca":
        fitted = PCA(2, svd_solver="full").fit(x)
        # It divides by N - 1: the likelihood, at its maximum, differs by O(1 / N^2) only.
        return fitted.score(x), fitted.get_covariance() * (ROWS - 1) / ROWS
    fitted = SklearnFactorAnalysis(2, tol=1e-12, max_iter=20_000, svd_method="lapack").fit(x)
    return fitted.score(x), fitted.get_covariance()


@pytest.mark.parametrize("name", LINEAR)
def test_em_reaches_scikit_learns_maximum_and_never_falls(name):
    x = factor_data()
    score, covariance = linear_reference(name, x)
    with jax.enable_x64(True):
        model, history = run_em(LINEAR[name], x, 2000)
        assert (np.diff(history) > -1e-10).all() and history[-1] - history[0] > 1.0
        assert history[-1] == pytest.approx(score, abs=1e-4)
        np.testing.assert_allclose(model().covariance(), covariance, atol=1e-4)
        np.testing.assert_allclose(model().loc, x.mean(0), atol=1e-10)


def test_closed_form_ppca_is_scikit_learns_and_a_fixed_point_of_em():
    x = factor_data()
    score, covariance = linear_reference("ppca", x)
    module, variables = models.PPCA(6, 2), models.ppca_maximum_likelihood(x, 2)
    with jax.enable_x64(True):
        model = module.bind(variables)
        np.testing.assert_allclose(model.log_prob(jnp.asarray(x)).mean(), score, atol=1e-4)
        np.testing.assert_allclose(model().covariance(), covariance, atol=1e-9)
        params, _ = module.em_step(variables["params"], jnp.asarray(x), jnp.ones(ROWS))
        for name, value in variables["params"].items():
            np.testing.assert_allclose(params[name], value, atol=1e-8)


def test_em_runs_through_fit():
    x = factor_data().astype(np.float32)
    learner = em_learner(models.PPCA(6, 2))
    result = fit(learner, {"x": x}, key=KEY, steps=300, batch_size=ROWS, log_every=10, every=100)
    values = np.array([line["log_likelihood"] for line in result.history])
    assert (np.diff(values) > -1e-4).all()
    score, covariance = linear_reference("ppca", factor_data())
    assert values[-1] == pytest.approx(score, abs=1e-4)
    np.testing.assert_allclose(learner.bind(result.state)().covariance(), covariance, atol=2e-3)


@pytest.mark.staggered
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_mixture_reaches_scikit_learns_maximum_and_never_falls(covariance):
    x = cluster_data()
    reference = SklearnMixture(3, covariance_type=covariance, tol=1e-10, max_iter=1000).fit(x)
    with jax.enable_x64(True):
        model, history = run_em(models.GaussianMixture(3, 3, covariance), x, 200)
        assert (np.diff(history) > -1e-7).all() and history[-1] > history[0]
        assert history[-1] == pytest.approx(reference.score(x), abs=1e-4)
        np.testing.assert_allclose(
            model.log_prob(jnp.asarray(x)), reference.score_samples(x), atol=1e-4
        )
        ours = np.sort(np.asarray(jax.nn.softmax(model().logits)))
        np.testing.assert_allclose(ours, np.sort(reference.weights_), atol=1e-4)
        same = np.asarray(model.responsibilities(jnp.asarray(x)).argmax(-1))
        pairs = len(set(zip(same.tolist(), reference.predict(x).tolist())))
        assert pairs == 3  # the same clusters, by other names


def test_mixture_of_one_component_is_the_closed_form():
    x = cluster_data()
    with jax.enable_x64(True):
        model, history = run_em(models.GaussianMixture(3, 1), x, 2)
        expected = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(x)
        np.testing.assert_allclose(model.log_prob(jnp.asarray(x)), expected, atol=1e-4)
        assert history[1] == pytest.approx(expected.mean(), abs=1e-4)


EXACT = {
    "ppca": models.PPCA(4, 2),
    "factor_analysis": models.FactorAnalysis(4, 2),
    **{
        f"mixture_{c}": models.GaussianMixture(4, 3, c)
        for c in ("full", "tied", "diag", "spherical")
    },
}


@partial(jax.jit, static_argnums=(0, 1))
def call(module, function, variables, *arguments):
    """`function(model, *arguments)` of the bound module, compiled."""
    return module.apply(variables, *arguments, method=function)


@pytest.fixture(params=EXACT)
def ask(request):
    """`ask(function, *arguments)` of a model with scrambled parameters."""
    module = EXACT[request.param]
    variables = jax.jit(partial(module.init, method="log_prob"))(KEY, jnp.zeros((2, 4)))
    return partial(_ask, module, perturbed(variables, scale=0.5))


def _ask(module, variables, function, *arguments):
    return call(module, function, variables, *arguments)


X = jnp.asarray(np.random.default_rng(2).normal(size=(5, 4)), jnp.float32)


def everything(model, x, key):
    """What an exact posterior determines."""
    log_w = objectives.log_weights(model, {"x": x}, key, num_samples=7)
    loss, metrics = objectives.iwae(model, {"x": x}, key, num_samples=7)
    _, terms = objectives.elbo(model, {"x": x}, key)
    size = metrics["effective_sample_size"]
    return log_w, model.log_prob(x), -loss, size, terms["elbo"], model.reconstruct(x, key)


def test_importance_weights_are_constant_and_the_marginal(ask):
    log_w, log_prob, bound, size, elbo, x_hat = ask(everything, X, KEY)
    np.testing.assert_allclose(log_w, np.broadcast_to(log_prob, (7, 5)), atol=1e-4)
    np.testing.assert_allclose(bound, log_prob, atol=1e-4)
    np.testing.assert_allclose(size, 7.0, rtol=1e-4)
    assert np.isfinite(elbo).all() and x_hat.shape == X.shape


def draws(model, key):
    z = model.prior().sample(seed=key, sample_shape=(40_000,))
    through = model.likelihood(z).sample(seed=jax.random.fold_in(key, 1))
    return model.sample(key, (40_000,)), through, model().mean(), model.mean(key, (3,))


def test_samples_have_the_moments_of_the_density(ask):
    """Mean and covariance of 40,000 samples (5 sigma), and those by way of the latent."""
    x, other, mean, means = (np.asarray(a, np.float64) for a in ask(draws, KEY))
    assert x.shape == other.shape == (40_000, 4) and means.shape == (3, 4)
    error = 5 * np.sqrt(2 / 40_000) * x.std(0)
    assert (np.abs(x.mean(0) - other.mean(0)) < error).all()
    assert (np.abs(x.mean(0) - mean) < error).all()
    scale = np.outer(x.std(0), x.std(0))
    assert (np.abs(np.cov(x.T) - np.cov(other.T)) / scale < 5 * np.sqrt(2 / 40_000) * 2).all()


def test_low_rank_normal_is_the_full_one():
    rng = np.random.default_rng(3)
    factor, variance, loc = rng.normal(size=(5, 2)), rng.uniform(0.1, 1, 5), rng.normal(size=5)
    x = rng.normal(size=(7, 5))
    with jax.enable_x64(True):
        ours = LowRankNormal(jnp.asarray(loc), jnp.asarray(factor), jnp.asarray(variance))
        reference = scipy.stats.multivariate_normal(loc, factor @ factor.T + np.diag(variance))
        np.testing.assert_allclose(ours.log_prob(jnp.asarray(x)), reference.logpdf(x), atol=1e-10)
        # p(z | x) by conditioning the joint normal of (x, z).
        gain = factor.T @ np.linalg.inv(reference.cov)
        posterior = ours.latent_posterior(jnp.asarray(x))
        np.testing.assert_allclose(posterior.mean(), (x - loc) @ gain.T, atol=1e-10)
        np.testing.assert_allclose(posterior.covariance(), np.eye(2) - gain @ factor, atol=1e-10)


def test_low_rank_normal_keeps_its_digits_where_the_noise_is_small():
    """Woodbury's formula loses them: a factor of 1e3 above the noise, in float32."""
    factor, variance = np.array([[30.0], [-20.0], [10.0]]), np.full(3, 1e-3)
    x = np.array([[15.0, -10.0, 5.01], [-30.0, 20.05, -10.0]])
    covariance = factor @ factor.T + np.diag(variance)
    expected = scipy.stats.multivariate_normal(np.zeros(3), covariance).logpdf(x)
    float32 = lambda a: jnp.asarray(a, jnp.float32)
    ours = LowRankNormal(jnp.zeros(3), float32(factor), float32(variance)).log_prob(float32(x))
    np.testing.assert_allclose(ours, expected, rtol=2e-3)


def test_padding_does_not_count_in_em():
    x = jnp.asarray(factor_data()[:50], jnp.float32)
    padded = {"x": x.at[40:].set(1e3), "mask": jnp.arange(50.0) < 40}
    for module in (models.FactorAnalysis(6, 2), models.GaussianMixture(6, 2)):
        learner = em_learner(module)
        step = jax.jit(learner.step)
        params = jax.jit(learner.init)(KEY, {"x": x[:40]})
        a, first = step(params, padded)
        b, second = step(params, {"x": x[:40]})
        jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-4), a.params, b.params)
        assert float(first["loss"]) == pytest.approx(float(second["loss"]), abs=1e-4)


def test_a_step_that_is_not_finite_changes_nothing():
    learner = em_learner(models.PPCA(2, 1))
    batch = {"x": jax.random.normal(KEY, (20, 2))}
    state = jax.jit(learner.init)(KEY, batch)
    new, metrics = learner.step(state, {"x": batch["x"].at[0, 0].set(jnp.nan)})
    jax.tree.map(np.testing.assert_array_equal, new.params, state.params)
    assert int(new.skipped) == int(new.skipped_in_row) == 1 and float(metrics["loss"]) == 0.0


def test_gradients_train_the_same_models():
    x = factor_data().astype(np.float32)
    player = Player(objectives.negative_log_likelihood, optax.adam(3e-2))
    learner = gradient_learner(models.FactorAnalysis(6, 2), {"model": player})
    result = fit(learner, {"x": x}, key=KEY, steps=1500, batch_size=ROWS, log_every=1500)
    score, _ = linear_reference("factor_analysis", factor_data())
    log_prob = learner.bind(result.state).log_prob(jnp.asarray(x))
    assert float(log_prob.mean()) == pytest.approx(score, abs=0.01)


def test_poisson_ppca_bound_reaches_the_marginal_by_quadrature():
    """One latent dimension: p(x) by quadrature over z; the bound must reach it from below."""
    module = models.PoissonPPCA(3, 1, hidden=(8,))
    x = jnp.array([[0, 1, 4], [2, 0, 1], [7, 3, 0], [0, 0, 0]])
    variables = jax.jit(partial(module.init, method=objectives.elbo))(KEY, {"x": x}, KEY)
    variables = perturbed(variables, scale=0.3)
    z = np.linspace(-8, 8, 2001)[:, None, None]
    rate = lambda model, z: model.likelihood(z).mean()
    rates = np.asarray(call(module, rate, variables, jnp.asarray(z, jnp.float32)), np.float64)
    given = scipy.stats.poisson(rates).logpmf(np.asarray(x)).sum(-1)
    joint = np.exp(given + scipy.stats.norm.logpdf(z[..., 0]))
    exact = np.log(np.trapezoid(joint, z[:, 0, 0], axis=0))
    bound = partial(objectives.importance_bound, num_samples=20_000, chunk=1000)
    loss, _ = call(module, bound, variables, {"x": x}, KEY)
    np.testing.assert_allclose(-loss, exact, atol=0.05)
    sample = call(module, lambda model, key: model.sample(key, (6,)), variables, KEY)
    assert sample.shape == (6, 3) and (sample >= 0).all()


def test_poisson_ppca_learns_what_counts_share():
    """Two groups of words: better than independent Poisson counts of the same means."""
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 2, 512)
    x = rng.poisson(np.array([[8.0, 8, 8, 1, 1, 1], [1, 1, 1, 8, 8, 8]])[topic]).astype(np.int32)
    player = Player(objectives.elbo, optax.adam(1e-2))
    learner = gradient_learner(models.PoissonPPCA(6, 1), {"model": player})
    result = fit(learner, {"x": x}, key=KEY, steps=800, batch_size=128, log_every=800)
    bound = partial(objectives.importance_bound, num_samples=200)
    loss, _ = call(learner.module, bound, learner.variables(result.state), {"x": x}, KEY)
    independent = -scipy.stats.poisson(x.mean(0)).logpmf(x).sum(-1).mean()
    assert float(loss.mean()) < independent - 3.0


@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_columns_that_depend_on_each_other_have_a_density_in_any_unit(covariance):
    """The least variance was lost in rounding beside variances of a hundred."""
    module = models.GaussianMixture(3, 2, covariance)
    start, step = jax.jit(module.em_start), jax.jit(module.em_step)
    two = np.random.default_rng(0).normal(size=(200, 2))
    data = np.concatenate([two, two.sum(-1, keepdims=True)], -1)
    for scale in (1.0, 30.0, 1000.0):
        x = jnp.asarray(scale * data, jnp.float32)
        params = start(KEY, x, jnp.ones(200))
        for _ in range(3):
            params, log_prob = step(params, x, jnp.ones(200))
            assert np.isfinite(log_prob).all()


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: models.PPCA(3, 0), "latent"),
        (lambda: models.LinearGaussian(3, 1, "spherical"), "noise"),
        (lambda: models.GaussianMixture(3, 0), "num_components"),
        (lambda: models.GaussianMixture(3, 2, "round"), "covariance"),
        (lambda: models.GaussianMixture(3, 2, least_variance=0.0), "least_variance"),
        (lambda: models.PoissonPPCA(3, 0), "latent"),
        (lambda: models.ppca_maximum_likelihood(np.ones((5, 3)), 3), "latent"),
        (lambda: models.ppca_maximum_likelihood(np.ones((5, 3)), 1), "x"),
        (lambda: em_learner(models.GaussianMixture(3, 2)).init(KEY, {"x": jnp.ones((1, 3))}), "x"),
        (lambda: em_learner(models.PPCA(3, 2)).init(KEY, {"x": jnp.ones((9, 2))}), "x"),
        (lambda: em_learner(models.MAF(2)), "module"),
        (lambda: em_learner(models.PPCA(3, 2)).with_gradients(Microbatches(2)), "gradients"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()


def test_counts_that_are_not_counts_are_refused():
    learner = gradient_learner(
        models.PoissonPPCA(2, 1), {"model": Player(objectives.elbo, optax.sgd(0.1))}
    )
    for x in (np.array([[0.5, 1.0]]), np.array([[-1, 2]])):
        with pytest.raises(DataError, match="integers of at least 0"):
            fit(learner, {"x": x}, key=KEY, steps=1, batch_size=1)
