"""Priors fitted after training: against the law of the codes, which is known here."""

import json
from functools import partial

import distrax
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from scrambling import applied, compiled_start, scrambled

from dgmjax import data, lab, models, nn, objectives
from dgmjax.cli.commands import main
from dgmjax.data.dataset import Dataset
from dgmjax.distributions.families import Normal
from dgmjax.errors import DgmjaxError, RunError
from dgmjax.lab.priors import code_nats, drawn_codes, second_stage
from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.training import Player, adam, gradient_learner

CORRELATED = scipy.stats.multivariate_normal([1.0, -2.0], [[2.0, 1.2], [1.2, 1.0]])


class Scaled(LatentVariableModel):
    """q(z | x) = N(w x, s^2), p(x | z) = N(z / w, (s / w)^2): codes are the data, scaled by w."""

    outputs: int = 1

    def setup(self):
        self.w = self.param("w", lambda key: jnp.array(2.0))

    def prior(self):
        return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)

    def posterior(self, x):
        return distrax.Independent(distrax.Normal(self.w * x, 1e-2), 1)

    def likelihood(self, z):
        return distrax.Independent(distrax.Normal(z / self.w, 1e-2 / self.w), 1)


def trained(module):
    draw = lambda seed: {"x": CORRELATED.rvs(4000, random_state=seed).astype(np.float32)}
    arrays = {split: draw(seed) for seed, split in enumerate(("train", "validation", "test"))}
    loss = objectives.elbo if isinstance(module, LatentVariableModel) else (lambda m, b, k: m(b, k))
    experiment = lab.Experiment(
        model="scaled",
        module=module,
        players={"model": Player(loss, adam(1e-3, 1))},
        dataset=Dataset("normal", arrays, data.dataset.describe(arrays)),
        steps=1,
        batch_size=200,
        estimators=(lab.Estimator("nll_bound_k1", "ELBO", lab.averaged(objectives.elbo)),),
    )
    learner = gradient_learner(module, experiment.players)
    state = jax.jit(learner.init)(jax.random.key(0), {"x": jnp.ones((2, 2))})
    return lab.Trained(experiment, learner, state)


ENTROPY = CORRELATED.entropy() + 2 * np.log(2.0)  # of codes 2 x


def check_samples(fitted):
    """Kolmogorov-Smirnov of two projections at level 1e-4, fixed seed."""
    x = fitted.sample(2000, seed=3)
    for direction in ([1.0, 0.0], [1.0, -1.0]):
        v = np.asarray(direction)
        truth = scipy.stats.norm(v @ CORRELATED.mean, np.sqrt(v @ CORRELATED.cov @ v))
        assert scipy.stats.kstest(x @ v, truth.cdf).statistic < 0.06


def test_a_normal_prior_has_the_moments_of_the_codes_and_the_model_samples_the_data():
    base = trained(Scaled())
    fitted = lab.fit_prior(base, models.NormalMixture(2, 1, covariance="full"), name="normal")
    codes = drawn_codes(base, base.arrays("train"))
    components = fitted.call(lambda model: model.prior().components)
    np.testing.assert_allclose(components.mean()[0], codes.mean(0), rtol=1e-3)
    np.testing.assert_allclose(components.covariance()[0], np.cov(codes.T, bias=True), rtol=2e-3)
    # Five standard errors of -log p(z) of a normal, whose variance is D / 2.
    measured = code_nats(fitted, fitted.arrays("test"))
    assert measured.value == pytest.approx(ENTROPY, abs=5 / np.sqrt(4000))
    assert code_nats(base, base.arrays("test")).value > ENTROPY + 3
    check_samples(fitted)
    assert fitted.experiment.model == "scaled, normal prior after training"
    # The ELBO is -log p(x) here, up to the width of the posterior.
    bound = lab.averaged(objectives.elbo)(fitted, fitted.arrays("test")).value
    assert bound == pytest.approx(CORRELATED.entropy(), abs=0.1)
    np.testing.assert_array_equal(fitted.state.params["model"]["w"], 2.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior, objective, room",
    [
        (models.MAF(2, 2, (16,)), objectives.negative_log_likelihood, 0.1),
        (second_stage(2, (32,)), objectives.elbo, 0.4),  # of one sample, from a posterior
    ],
    ids=["flow", "two_stage"],
)
def test_priors_that_descend_gradients_come_near_the_entropy_of_the_codes(prior, objective, room):
    base = trained(models.FactorVAE(Scaled(), nn.MLP((), (2,))))
    options = {"objective": objective, "steps": 800, "learning_rate": 1e-2}
    fitted = lab.fit_prior(base, prior, **options)
    measured = code_nats(fitted, fitted.arrays("test")).value
    assert ENTROPY - 0.1 < measured < ENTROPY + room
    check_samples(fitted)
    np.testing.assert_array_equal(fitted.state.params["model"]["w"], 2.0)
    np.testing.assert_array_equal(base.state.params["model"]["w"], 2.0)  # not donated


def test_the_density_of_a_second_stage_is_unbiased_and_the_same_for_equal_codes():
    """Against quadrature over one latent; five standard errors of the mean of the densities."""
    decoder, encoder = nn.MLP((8,), (2, 2)), nn.MLP((8,), (1, 2))
    vae = models.VAE(1, encoder, decoder, Normal(), event_ndims=1, marginal_start=False)
    module = models.SecondStage(vae, num_samples=4)
    z = jnp.array([[0.3, -0.2], [1.0, 0.5]])
    variables = compiled_start(module, jax.random.key(0), z, method=lambda m, z: m.model.make_all())
    variables = scrambled(variables, scale=0.5)
    grid = jnp.linspace(-8.0, 8.0, 4001)[:, None]
    joint = lambda model: (
        model.prior().log_prob(grid)[:, None]
        + jax.vmap(lambda u: model.likelihood(u).log_prob(z))(grid)
    )
    truth = np.trapezoid(np.exp(applied(module, variables, method=joint)), grid[:, 0], axis=0)
    many = jnp.tile(z, (20_000, 1)).reshape(20_000, 2, 2)
    found = applied(module, variables, many, method="log_prob")
    densities = np.exp(np.asarray(found, np.float64))
    error = 5 * densities.std(0) / np.sqrt(len(densities))
    assert (np.abs(densities.mean(0) - truth) < error + 1e-6).all()
    again = applied(module, variables, many, method="log_prob")
    np.testing.assert_array_equal(found, again)


class WithoutCodes(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, batch, key):
        w = self.param("w", lambda key: jnp.array(2.0))
        return w * batch["x"].sum(-1), {}


class OfParts(Scaled):
    def prior(self):
        return distrax.Independent(distrax.Normal(jnp.zeros((2, 1)), jnp.ones((2, 1))), 2)

    def likelihood(self, z):
        return super().likelihood(z[..., 0])

    def posterior(self, x):
        return distrax.Independent(distrax.Normal(self.w * x[..., None], 1e-2), 2)


def test_runs_without_codes_and_priors_of_another_shape_are_named():
    mixture = partial(models.NormalMixture, num_components=2)
    with pytest.raises(RunError, match=r"`run` must have codes.*without a posterior"):
        lab.fit_prior(trained(WithoutCodes()), mixture(2))
    with pytest.raises(RunError, match=r"`run` must have codes that are one vector.*\(2, 1\)"):
        lab.fit_prior(trained(OfParts()), mixture(2))
    with pytest.raises(
        RunError, match=r"`prior` must be over the codes of scaled, of shape \(2,\)"
    ):
        lab.fit_prior(trained(Scaled()), mixture(3))
    with pytest.raises(DgmjaxError, match="`name` must be one of"):
        lab.prior_after("flows")


class OnManifold(Scaled):
    """Codes of `place`: `models.VonMisesFisher` or `models.WrappedNormal`."""

    place: flax.linen.Module = None
    own: flax.linen.Module = None

    def prior(self):
        return self.own()

    def posterior(self, x):
        return self.place(self.w * x)


SPHERE = OnManifold(place=models.VonMisesFisher(2), own=models.SphericalUniform(2))
BALL = OnManifold(place=models.WrappedNormal(2), own=models.WrappedNormal(2))


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize(
    "module, place",
    [(SPHERE, "the unit sphere"), (BALL, "the Poincare ball")],
    ids=["sphere", "ball"],
)
def test_priors_of_all_space_are_refused_where_codes_lie_on_a_manifold(module, place):
    base = trained(module)
    rule = rf"`prior` must be a density on {place}, where the codes of scaled lie; got \w+, a "
    remedy = r"density on R\^2\. Give `lab.fit_prior` a prior on it, or take a run"
    for name in ("mixture", "two_stage"):
        supplement = lab.prior_after(name, steps=1)
        with pytest.raises(RunError, match=rule + remedy):
            supplement.estimators(base)  # before anything is measured
    with pytest.raises(RunError, match=rule + remedy):
        lab.fit_prior(base, models.NormalMixture(2, 1))
    with pytest.raises(RunError, match=r"`prior` must be a density on R\^2.*got.* on the"):
        lab.fit_prior(trained(Scaled()), module.own)


@pytest.mark.slow
def test_a_prior_on_the_manifold_of_the_codes_is_fitted_to_them_as_they_are():
    """The most likely von Mises-Fisher prior points to the mean of the codes."""
    base = trained(SPHERE)
    options = {"steps": 100, "learning_rate": 0.1}
    fitted = lab.fit_prior(base, models.VonMisesFisher(2), **options)
    codes = drawn_codes(base, base.arrays("train"))
    loc, mean = fitted.call(lambda model: model.prior().loc), codes.mean(0)
    np.testing.assert_allclose(loc, mean / np.linalg.norm(mean), atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1.0, rtol=1e-5)
    uniform = lab.fit_prior(base, models.SphericalUniform(2))
    nats = [code_nats(one, one.arrays("test")).value for one in (fitted, uniform)]
    assert nats[0] < nats[1] == pytest.approx(np.log(2 * np.pi), rel=1e-5)


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    run = str(tmp_path / "run")
    assert not main(["train", "vae_digits", "--tiny", "--steps", "4", "--run-dir", run])
    own = json.loads((tmp_path / "run" / "results.json").read_text())
    assert not main(["evaluate", run, "--prior-after", "mixture"])
    records = json.loads((tmp_path / "run" / "results.json").read_text())
    kept = [record for record in records if "prior after" not in record["model"]]
    assert kept == own
    metrics = sorted({r["metric"] for r in own if r["model"] == "VAE"} | {"code_nats"})
    name = "VAE, mixture prior after training"
    assert sorted(r["metric"] for r in records if r["model"] == name) == metrics
    value = lambda metric, model: next(
        r["value"] for r in records if (r["metric"], r["model"]) == (metric, model)
    )
    assert value("nll_bound_k1", name) < value("nll_bound_k1", "VAE")
    kept = [value("distortion_nats", model) for model in (name, "VAE")]
    assert kept[0] == pytest.approx(kept[1], rel=1e-3)
