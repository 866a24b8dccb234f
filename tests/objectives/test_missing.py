"""The MIWAE bound and imputations, against a linear-Gaussian model whose conditionals are known."""

from functools import partial

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from fitting import fit

from dgmjax import data, evaluation, models, objectives
from dgmjax.distributions import Factorised, families
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.objectives.variational.missing import (
    ObservedPart,
    ObservedSites,
    importance_samples,
    observed_part,
)
from dgmjax.training import Player, gradient_learner

KEY = jax.random.key(0)
W = np.array([[1.0, 0.5], [-0.7, 1.2], [0.3, -0.4], [0.8, 0.1]])
LOC = np.array([0.5, -0.3, 0.0, 0.2])
NOISE = np.array([0.5, 0.6, 0.7, 0.4])
COVARIANCE = W @ W.T + np.diag(NOISE**2)


class LinearGaussian:
    """x = W z + mu + noise; q(z | x) is the prior, whatever x."""

    def prior(self):
        return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)

    def posterior(self, x):
        zeros = jnp.zeros((*x.shape[:-1], 2))
        return distrax.Independent(distrax.Normal(zeros, jnp.ones_like(zeros)), 1)

    def likelihood(self, z):
        loc = z @ jnp.asarray(W.T, jnp.float32) + jnp.asarray(LOC, jnp.float32)
        scale = jnp.broadcast_to(jnp.asarray(NOISE, jnp.float32), loc.shape)
        return distrax.Independent(distrax.Normal(loc, scale), 1)


MODEL = LinearGaussian()
OBSERVED = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.uint8)
X = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
BATCH = {"x": jnp.where(OBSERVED > 0, X, 0.0), "observed": jnp.asarray(OBSERVED)}


def test_a_site_counts_where_all_of_its_channels_were_observed():
    """Also where rows, columns, channels and the batch are as many as each other."""
    family = families.DiscretisedLogisticMixture(2, levels=4, channels=3)
    rng = np.random.default_rng(1)
    params = jnp.asarray(rng.normal(size=(3, 3, 3, family.num_params)), jnp.float32)
    x = jnp.asarray(rng.integers(0, 4, (3, 3, 3, 3)), jnp.float32)
    observed = rng.integers(0, 2, (3, 3, 3, 3)) | (rng.random((3, 3, 3, 1)) < 0.5)
    likelihood = Factorised(family, params, (3, 3, 3))
    part = ObservedSites(likelihood, jnp.asarray(observed > 0))
    filled = jnp.where(observed > 0, x, 0.0)
    by_site = np.where(observed.all(-1), family(params).log_prob(filled), 0.0)
    np.testing.assert_allclose(part.log_prob(x), by_site.sum((1, 2)), rtol=1e-5)


def exact_log_prob():
    """log N(x_o; mu_o, Sigma_oo); 0 where nothing was observed."""
    values = np.zeros(4)
    for n, mask in enumerate(OBSERVED > 0):
        if mask.any():
            law = scipy.stats.multivariate_normal(LOC[mask], COVARIANCE[np.ix_(mask, mask)])
            values[n] = law.logpdf(X[n][mask])
    return values


def conditional(row):
    """Mean and covariance of the missing entries of a row given the observed ones."""
    seen, missing = OBSERVED[row] > 0, OBSERVED[row] == 0
    gain = COVARIANCE[np.ix_(missing, seen)] @ np.linalg.inv(COVARIANCE[np.ix_(seen, seen)])
    mean = LOC[missing] + gain @ (X[row][seen] - LOC[seen])
    return mean, COVARIANCE[np.ix_(missing, missing)] - gain @ COVARIANCE[np.ix_(seen, missing)]


@pytest.fixture(scope="module")
def large():
    """The bound of 20,000 samples, a thousand at a time."""
    bound = partial(objectives.importance_bound, chunk=1000)
    run = partial(objectives.miwae, MODEL, num_samples=20_000, objective=bound)
    return -np.asarray(jax.jit(run)(BATCH, KEY)[0])


def test_the_bound_reaches_the_marginal_of_what_was_observed(large):
    """Relative weights have a standard deviation below 3: an error of 4 * 3 / sqrt(20,000)."""
    np.testing.assert_allclose(large, exact_log_prob(), atol=0.09)
    assert large[3] == pytest.approx(0.0, abs=1e-5)


def compiled(objective, **options):
    """`(batch, key) -> (loss, metrics)` of MODEL."""
    return jax.jit(partial(objective, MODEL, **options))


def test_the_bound_rises_with_the_number_of_samples(large):
    keys = jax.random.split(KEY, 400)

    def mean(num_samples):
        bound = compiled(objectives.miwae, num_samples=num_samples)
        return -jax.jit(jax.vmap(lambda key: bound(BATCH, key)[0]))(keys).mean(0)

    one, fifty = mean(1), mean(50)
    assert (one[:3] < fifty[:3]).all() and (fifty < large + 0.05).all()


def test_everything_observed_is_iwae():
    whole, plain = {"x": jnp.asarray(X), "observed": jnp.ones((4, 4))}, {"x": jnp.asarray(X)}
    ours, metrics = compiled(objectives.miwae, num_samples=7)(whole, KEY)
    expected, others = compiled(objectives.iwae, num_samples=7)(plain, KEY)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    assert set(metrics) == set(others)
    one = partial(objectives.miwae, num_samples=1, objective=objectives.elbo)
    elbo, _ = compiled(one)(whole, KEY)
    np.testing.assert_allclose(elbo, compiled(objectives.elbo)(plain, KEY)[0], rtol=1e-6)


def test_missing_values_are_never_read():
    vae = models.DenseVAE((4,), 2, (8,), observation=families.StudentT())
    bound = partial(objectives.miwae, num_samples=3)
    variables = jax.jit(partial(vae.init, method=bound))(KEY, BATCH, KEY)
    loss = lambda v, x: vae.apply(v, {**BATCH, "x": x}, KEY, method=bound)[0].sum()
    slope = jax.jit(jax.value_and_grad(loss))
    value, gradient = slope(variables, BATCH["x"])
    for other in (jnp.nan, 1e30, -3.0):
        x = jnp.where(OBSERVED > 0, X, other)
        again, slopes = slope(variables, x)
        assert value == again
        jax.tree.map(np.testing.assert_array_equal, gradient, slopes)
    assert all(np.abs(g).sum() > 0 for g in jax.tree.leaves(gradient))


def test_a_site_of_channels_counts_where_all_were_observed():
    family = families.DiscretisedLogisticMixture(2, levels=4, channels=3)
    params = jax.random.normal(KEY, (1, 2, family.num_params))
    x = jnp.array([[[0.0, 1, 2], [3, 0, 1]]])

    class Colours(LinearGaussian):
        def likelihood(self, z):
            return Factorised(family, params, (2, 3))

    observed = jnp.array([[[1, 1, 1], [1, 0, 1]]])
    part = ObservedPart(Colours(), observed)
    expected = family(params).log_prob(x)[0, 0]
    assert float(part.likelihood(None).log_prob(x)[0]) == pytest.approx(float(expected), rel=1e-5)


def test_the_bound_trains_a_vae_through_fit():
    rows = np.random.default_rng(1).multivariate_normal(LOC, COVARIANCE, 256).astype(np.float32)
    dataset = data.Dataset("rows", {"train": {"x": rows}}, {})
    arrays = data.remove_entries(dataset, data.AtRandom(0.3)).splits["train"]
    vae = models.DenseVAE((4,), 2, (16,), observation=families.Normal())
    player = Player(partial(objectives.miwae, num_samples=5), optax.adam(1e-2))
    learner = gradient_learner(vae, {"model": player})
    result = fit(
        learner,
        arrays,
        key=KEY,
        steps=300,
        batch_size=64,
        transform=data.FillMissing(),
        log_every=20,
    )
    losses = [line["loss"] for line in result.history]
    assert losses[-1] < losses[0] - 0.3


def imputed(**options):
    run = partial(evaluation.imputations, MODEL, **options)
    return evaluation.impute(jax.jit(run), {"x": X, "observed": OBSERVED}, 4, KEY)


@pytest.fixture(scope="module")
def many():
    with pytest.warns(UserWarning, match="1 of 4 rows have no observed entry"):
        return imputed(num_samples=8000, num_imputations=500, chunk=500)


def test_single_imputation_is_the_conditional_mean(many):
    np.testing.assert_array_equal(many.single[OBSERVED > 0], X[OBSERVED > 0])
    for row in (1, 2):
        np.testing.assert_allclose(
            many.single[row][OBSERVED[row] == 0], conditional(row)[0], atol=0.07
        )


def test_multiple_imputation_has_the_conditional_distribution(many):
    """Mean and covariance of 500 draws, 5 sigma; the 8000 samples add half of the variance."""
    assert many.multiple.shape == (4, 500, 4)
    for row in (1, 2):
        mean, covariance = conditional(row)
        drawn = many.multiple[row][:, OBSERVED[row] == 0]
        error = 5 * np.sqrt(1.5 * np.diag(covariance) / 500)
        assert (np.abs(drawn.mean(0) - mean) < error).all()
        scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        assert (np.abs(np.cov(drawn.T) - covariance) / scale < 5 * np.sqrt(3 / 500)).all()
        seen = OBSERVED[row] > 0
        expected = np.broadcast_to(X[row][seen], (500, seen.sum()))
        np.testing.assert_array_equal(many.multiple[row][:, seen], expected)


def test_a_row_without_observations_comes_from_the_prior_and_says_so(many):
    assert many.from_prior.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(many.single[3], LOC, atol=0.07)
    assert many.effective_sample_size[3] == pytest.approx(8000, rel=1e-3)
    spread = np.cov(many.multiple[3].T)
    np.testing.assert_allclose(spread, COVARIANCE, atol=5 * 2 * np.sqrt(2 / 500))


def samples_by_hand(model, batch, chunks, size):
    """The latents and log-weights `[K, B]` that `imputations` draws, all at once."""

    @jax.jit
    def draw():
        key, part = jax.random.split(KEY, 3)[0], observed_part(model, batch)
        keys = [jax.random.fold_in(key, i) for i in range(chunks)]
        parts = [importance_samples(part, batch["x"], key, size) for key in keys]
        return tuple(jnp.concatenate(leaves) for leaves in zip(*parts))

    return tuple(np.asarray(leaf, np.float64) for leaf in draw())


def test_chunks_are_one_self_normalised_estimate():
    """Three chunks of samples, weighted together by hand."""
    ours = compiled(evaluation.imputations, num_samples=30, chunk=10)(BATCH, KEY)
    z, log_w = samples_by_hand(MODEL, BATCH, 3, 10)
    weights = np.exp(log_w - log_w.max(0))
    weights /= weights.sum(0)
    mean = np.einsum("kb,kbd->bd", weights, z @ W.T + LOC)
    np.testing.assert_allclose(ours.single, np.where(OBSERVED > 0, X, mean), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.effective_sample_size, 1 / (weights**2).sum(0), rtol=1e-4)
    assert ours.multiple.shape == (4, 0, 4)


class Sharp(LinearGaussian):
    """Two entries that show z: the first with noise, the second almost without."""

    def likelihood(self, z):
        loc = jnp.stack([z[..., 0], z[..., 0]], -1)
        return distrax.Independent(distrax.Normal(loc, jnp.array([1.0, 1e-4])), 1)


def test_resampling_chooses_in_proportion_to_the_weights():
    """Of 4 latents, 6000 draws: chi-squared at level 1e-4."""
    batch = {"x": jnp.array([[0.7, 0.0]]), "observed": jnp.array([[1, 0]])}
    run = partial(evaluation.imputations, num_samples=4, num_imputations=6000, chunk=2)
    ours = jax.jit(partial(run, Sharp()))(batch, KEY)
    z, log_w = (leaf[:, 0] for leaf in samples_by_hand(Sharp(), batch, 2, 2))
    chosen = np.abs(np.asarray(ours.multiple)[0, :, 1, None] - z[:, 0]).argmin(1)
    expected = 6000 * np.exp(log_w) / np.exp(log_w).sum()
    assert scipy.stats.chisquare(np.bincount(chosen, minlength=4), expected).pvalue > 1e-4


def test_error_of_imputation_and_its_standard_error():
    rng = np.random.default_rng(0)
    observed = (rng.random((500, 6)) < 0.4).astype(np.uint8)
    truth = rng.normal(size=(500, 6))
    noise = rng.normal(size=(500, 6)) * 0.3
    measured = evaluation.imputation_error(truth + noise, truth, observed)
    squares = noise[observed == 0] ** 2
    assert measured.value == pytest.approx(squares.mean())
    # Independent entries: the rows' standard error is that of the entries.
    naive = squares.std() / np.sqrt(len(squares))
    assert measured.standard_error == pytest.approx(naive, rel=0.2)


def test_baselines_by_hand_and_on_a_line():
    x, observed = np.array([[1.0, 5.0], [3.0, 0.0], [0.0, 9.0]]), np.array([[1, 1], [1, 0], [0, 1]])
    filled = evaluation.mean_imputation(x, observed)
    np.testing.assert_array_equal(filled, [[1, 5], [3, 7], [2, 9]])
    t = np.random.default_rng(0).normal(size=200)
    line = np.stack([t, 2 * t + 1, -t], 1)
    observed = np.ones((200, 3), np.uint8)
    observed[np.arange(100), np.arange(100) % 3] = 0
    filled = evaluation.iterative_imputation(line * observed, observed)
    np.testing.assert_allclose(filled, line, atol=1e-3)


SHORT = {"x": jnp.zeros((4, 4)), "observed": jnp.ones((4, 3))}


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: objectives.miwae(MODEL, BATCH, KEY, num_samples=0), "num_samples"),
        (lambda: objectives.miwae(MODEL, SHORT, KEY), "observed"),
        (lambda: objectives.miwae(MODEL, {"x": BATCH["x"]}, KEY), "batch"),
        (lambda: objectives.miwae(MODEL, {**BATCH, "log_det": 0.0}, KEY), "batch"),
        (lambda: evaluation.imputations(MODEL, BATCH, KEY, num_samples=0), "num_samples"),
        (lambda: evaluation.imputations(MODEL, BATCH, KEY, num_samples=10, chunk=3), "chunk"),
        (lambda: evaluation.imputations(MODEL, BATCH, KEY, num_imputations=-1), "num_imputations"),
        (lambda: evaluation.impute(lambda *_: None, SHORT, 4, KEY), "observed"),
        (
            lambda: evaluation.impute(lambda *_: None, {"x": X, "observed": 0.5 * X}, 4, KEY),
            "observed",
        ),
        (lambda: evaluation.imputation_error(X, X, np.ones((4, 4))), "observed"),
        (lambda: evaluation.imputation_error(X[:2], X, OBSERVED), "imputed"),
        (lambda: evaluation.mean_imputation(X, np.zeros((4, 4))), "observed"),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()


def test_a_likelihood_without_sites_is_refused():
    class Joint(LinearGaussian):
        def likelihood(self, z):
            full = jnp.broadcast_to(jnp.eye(4), (*z.shape[:-1], 4, 4))
            return distrax.MultivariateNormalTri(jnp.zeros((*z.shape[:-1], 4)), full)

    with pytest.raises(DgmjaxError, match="independent sites"):
        objectives.miwae(Joint(), BATCH, KEY, num_samples=2)


def test_a_mask_that_is_not_zero_or_one_is_refused_before_training():
    vae = models.DenseVAE((4,), 2, (8,), observation=families.Normal())
    learner = gradient_learner(vae, {"model": Player(objectives.miwae, optax.sgd(0.1))})
    for mask, words in ((2 * OBSERVED, "must be 0 or 1"), (OBSERVED[:, :3], "shape of `x`")):
        with pytest.raises(DataError, match=f"^`observed` {words}|^`observed` must have the"):
            fit(
                learner,
                {"x": X, "observed": mask},
                key=KEY,
                steps=1,
                batch_size=4,
                transform=data.FillMissing(),
            )
