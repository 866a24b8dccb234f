"""Rates, information and distortion of a linear model whose terms are known."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import evaluation, models
from dgmjax.distributions import Ancestral, FullNormal, Transformed
from dgmjax.errors import DataError, DgmjaxError

X = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2)), jnp.float32)
KEY = jax.random.key(0)


def normal(loc, scale):
    return distrax.Independent(distrax.Normal(loc, scale * jnp.ones_like(loc)), 1)


class Model:
    """q(z | x) = N(a x, s^2), p(z) = N(0, 1), p(x | z) = N(z, 1)."""

    a = jnp.array([0.8, 0.0])

    def prior(self):
        return normal(jnp.zeros(2), 1.0)

    def posterior(self, x):
        return normal(self.a * x, jnp.array([0.5, 1.0]))

    def likelihood(self, z):
        return normal(z, 1.0)


def test_rates_of_dimensions_in_closed_form():
    total, metrics = evaluation.dimension_rates(Model(), {"x": X}, KEY)
    first = 0.5 * (0.64 * X[:, 0] ** 2 + 0.25 - 1.0) - math.log(0.5)
    np.testing.assert_allclose(metrics["dimension_kl"][:, 0], first, rtol=1e-4)
    np.testing.assert_allclose(metrics["dimension_kl"][:, 1], 0.0, atol=1e-6)  # collapsed
    np.testing.assert_allclose(total, first, rtol=1e-4)


def test_rate_and_distortion_add_up_to_the_bound():
    loss, metrics = evaluation.rate_and_distortion(Model(), {"x": X}, KEY)
    np.testing.assert_allclose(loss, metrics["rate"] + metrics["distortion"], rtol=1e-5)
    rates, _ = evaluation.dimension_rates(Model(), {"x": X}, KEY)
    np.testing.assert_allclose(metrics["rate"], rates, rtol=1e-5)
    expected = math.log(2 * math.pi) + 0.5 * (0.04 * (X[:, 0] ** 2) + 0.25 + X[:, 1] ** 2 + 1.0)
    keys = jax.random.split(KEY, 2000)
    each = jax.vmap(lambda k: evaluation.rate_and_distortion(Model(), {"x": X}, k)[1])(keys)
    np.testing.assert_allclose(each["distortion"].mean(), expected.mean(), atol=0.02)


def test_information_is_that_of_the_gaussian_channel():
    """For x ~ N(0, 1): I = 1/2 log(1 + a^2 / s^2), the aggregate N(0, a^2 + s^2); 200 rows."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(2000, 2)), jnp.float32)
    information, gap = evaluation.index_code_information(Model(), x, KEY, num_samples=2)
    variance = 0.64 + 0.25
    assert float(information) == pytest.approx(0.5 * math.log(variance / 0.25), abs=0.03)
    assert float(gap) == pytest.approx(0.5 * (variance - 1 - math.log(variance)), abs=0.03)
    rates, _ = evaluation.dimension_rates(Model(), {"x": x}, KEY)
    assert float(information + gap) == pytest.approx(float(rates.mean()), abs=0.03)
    with pytest.raises(DgmjaxError, match=r"^`chunk` must divide"):
        evaluation.index_code_information(Model(), X, KEY, chunk=7)


class Exponential(Model):
    """z = exp(y) with y ~ N(a x, s^2): a flow's posterior, E[z | x] = exp(a x + s^2 / 2)."""

    scale = jnp.array([0.5, 0.1])

    def posterior(self, x):
        bijector = distrax.Block(distrax.Lambda(jnp.exp), 1)
        return Transformed(normal(self.a * x, self.scale), bijector)


def test_the_mean_of_a_flow_is_an_average_of_samples():
    """Five standard errors of a log-normal's mean over `MEAN_SAMPLES`; the same each time."""
    model, few = Exponential(), X[:20]
    with pytest.raises(NotImplementedError):
        model.posterior(few).mean()
    means = evaluation.posterior_mean(model, few)
    truth = jnp.exp(model.a * few + 0.5 * model.scale**2)
    error = truth * jnp.sqrt(jnp.expm1(model.scale**2) / evaluation.MEAN_SAMPLES)
    assert (jnp.abs(means - truth) < 5 * error).all()
    np.testing.assert_array_equal(means, evaluation.posterior_mean(model, few))
    np.testing.assert_array_equal(evaluation.posterior_mean(Model(), few), Model.a * few)


def test_the_mean_of_a_chain_with_a_flow_has_its_latents():
    class Chain(Exponential):
        def posterior(self, x):
            flow = super().posterior(x)
            return Ancestral({"z1": lambda z: flow, "z2": lambda z: normal(z["z1"], 1.0)})

    means = evaluation.posterior_mean(Chain(), X[:20])
    truth = jnp.exp(Exponential.a * X[:20] + 0.5 * Exponential.scale**2)
    assert set(means) == {"z1", "z2"} and means["z2"].shape == (20, 2)
    np.testing.assert_allclose(means["z2"], truth, atol=0.3, rtol=0.2)


def test_noise_of_the_average_makes_no_unit_active():
    """A posterior that is the prior, as a flow: 1000 samples leave a variance of 0.001."""

    class Dead(Model):
        def posterior(self, x):
            unit = distrax.Block(distrax.Lambda(lambda y: y), 1)
            return Transformed(normal(0.0 * x, 1.0), unit)

    means = np.asarray(evaluation.posterior_mean(Dead(), jnp.zeros((2000, 2))))
    assert evaluation.active_units(means) == 0
    assert means.var(0) == pytest.approx(1 / evaluation.MEAN_SAMPLES, rel=0.3)


@pytest.mark.staggered
@pytest.mark.parametrize(
    "flow",
    [
        models.PlanarFlow(3, 2, amortised=True, base=models.DiagonalNormal((3,))),
        models.IAF(3, 1, (8,), context_features=5, base=models.DiagonalNormal((3,))),
    ],
    ids=["planar", "iaf"],
)
def test_codes_of_amortised_flows(flow):
    """Against an average over other samples of the same posterior."""
    vae = models.DenseVAE((2, 2, 1), 3, (5,), posterior_model=flow)
    x = jnp.asarray(np.random.default_rng(2).integers(0, 2, (6, 2, 2, 1)), jnp.float32)
    variables = compiled_start(vae, KEY, x, KEY, method="reconstruct")
    means = jax.jit(lambda: vae.apply(variables, x, method=evaluation.posterior_mean))()
    others = vae.apply(variables, x, method=lambda m, x: m.posterior(x)).sample(
        seed=jax.random.key(7), sample_shape=(4000,)
    )
    error = others.std(0) * math.sqrt(1 / 4000 + 1 / evaluation.MEAN_SAMPLES)
    assert means.shape == (6, 3) and (jnp.abs(means - others.mean(0)) < 5 * error).all()


FLOW = models.PlanarFlow(3, 1, amortised=True, base=models.DiagonalNormal((3,)))


@pytest.mark.parametrize(
    "module, expected",
    [
        (models.DenseVAE((2, 2, 1), 3, (4,)), ((3,), True, True, 0, True, True)),
        (
            models.DenseVAE((2, 2, 1), 3, (4,), posterior_model=FLOW),
            ((3,), False, True, 0, False, False),
        ),
        (
            models.DenseVAE((2, 2, 1), 3, (4,), prior_model=models.NormalMixture(3, 7)),
            ((3,), True, False, 7, True, False),
        ),
        (
            models.DenseVAE((2, 2, 1), 3, (4,), prior_model=models.VampPrior((2, 2, 1), 5)),
            ((3,), True, False, 5, True, False),
        ),
        (
            models.DenseHierarchicalVAE((2, 2, 1), (3, 2), ((4,), (4,))),
            (None, False, False, 0, True, False),
        ),
        (models.DenseCVAE((2, 2, 1), 3, (4,), num_classes=2), None),
        (models.RealNVP(2, layers=2, hidden=(4,)), None),
    ],
    ids=["plain", "flow", "mixture", "vamp", "hierarchy", "conditional", "no latents"],
)
def test_structure_is_read_off_the_distributions(module, expected):
    assert evaluation.latent_structure(module, (2, 2, 1)) == expected


class Correlated(Model):
    def prior(self):
        return FullNormal(jnp.zeros(2), jnp.eye(2))


def information(x, **options):
    return evaluation.index_code_information(Model(), x, KEY, **options)


EMPTY = {"x": np.zeros((0, 2)), "observed": np.zeros((0, 2), np.uint8)}


@pytest.mark.parametrize(
    "act, word, error",
    [
        (lambda: evaluation.active_units(np.full((4, 2), np.nan)), "means", DataError),
        (lambda: evaluation.active_units(np.full((4, 2), np.inf)), "means", DataError),
        (lambda: evaluation.active_units(np.zeros(4)), "means", DataError),
        (lambda: evaluation.active_units(np.zeros((0, 2))), "means", DataError),
        (lambda: evaluation.active_units(np.zeros((4, 0))), "means", DataError),
        (lambda: information(X, num_samples=0), "num_samples", DgmjaxError),
        (lambda: information(X[:0]), "x", DataError),
        (lambda: information(X, chunk=0), "chunk", DgmjaxError),
        (lambda: evaluation.dimension_rates(Correlated(), {"x": X}, KEY), "model", DgmjaxError),
        (lambda: evaluation.impute(lambda *_: None, EMPTY, 4, KEY), "arrays", DataError),
    ],
)
def test_bad_input_is_named(act, word, error):
    with pytest.raises(error, match=f"^`{word}` must"):
        act()


def test_latents_of_any_shape_have_active_units():
    means = np.zeros((50, 3, 2))
    means[:, 1, 0] = np.linspace(-1, 1, 50)
    assert evaluation.active_units(means) == 1
    assert evaluation.active_dimensions(means).tolist() == [[0, 0], [1, 0], [0, 0]]
