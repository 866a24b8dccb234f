"""Identities of bounds and gradients, on models whose evidence and posterior are known."""

import itertools
import math
from functools import partial

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from scrambling import compiled_start

from dgmjax import models, objectives
from dgmjax.distributions import Ancestral, Categorical, FullNormal, Mixture
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.objectives.mmd import gram, mmd
from dgmjax.objectives.variational.aggregate import F_DIVERGENCES, aggregate_divergence

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)), jnp.float32)
BATCH, KEY = {"x": X}, jax.random.key(0)
EXACT = scipy.stats.norm(0, math.sqrt(2)).logpdf(np.asarray(X[:, 0]))


def normal(loc, scale):
    return distrax.Independent(distrax.Normal(loc, scale * jnp.ones_like(loc)), 1)


class Scalar:
    """z ~ N(0, 1), x | z ~ N(w z, 1), q(z | x) = N(a x, s^2); at w = 1 exact for a = s^2 = 1/2."""

    def __init__(self, a=0.3, log_scale=-0.1, w=1.0):
        self.a, self.log_scale, self.w = a, log_scale, w

    def prior(self):
        return normal(jnp.zeros(1), 1.0)

    def posterior(self, x):
        return normal(self.a * x, jnp.exp(self.log_scale))

    def likelihood(self, z):
        return normal(self.w * z, 1.0)


def mean_loss(objective, model, keys, **options):
    losses = jax.vmap(lambda key: objective(model, BATCH, key, **options)[0])(keys)
    return losses.mean()


def test_renyi_at_zero_is_iwae_and_near_one_the_elbo():
    iwae, _ = objectives.iwae(Scalar(), BATCH, KEY, num_samples=7)
    zero, _ = objectives.renyi(Scalar(), BATCH, KEY, alpha=0.0, num_samples=7)
    np.testing.assert_allclose(zero, iwae, rtol=1e-6)
    near, metrics = objectives.renyi(Scalar(), BATCH, KEY, alpha=1.0 - 1e-6, num_samples=7)
    np.testing.assert_allclose(-near, metrics["elbo"], atol=2e-5)
    with pytest.raises(DgmjaxError, match=r"^`alpha` must not be 1.*elbo"):
        objectives.renyi(Scalar(), BATCH, KEY, alpha=1.0)


@pytest.mark.parametrize("alpha", [-3.0, 0.0, 0.9, 1 - 1e-4, 1 - 1e-7, 1 + 1e-5, 1.2, 3.0])
@pytest.mark.parametrize("far", [0.0, 20.0])
def test_renyi_in_double_precision(alpha, far):
    """Far data have log w near -200, whose powers near alpha = 1 leave nothing in float32."""

    @jax.jit
    def run(x):
        """The weights and the bound, and the slopes of each row at its own x."""
        log_w = lambda x: objectives.log_weights(Scalar(), {"x": x}, KEY, num_samples=7)
        options = {"alpha": alpha, "num_samples": 7}
        bound = lambda x: -objectives.renyi(Scalar(), {"x": x}, KEY, **options)[0]
        slopes = jax.jacobian(bound)(x)[..., 0].diagonal()
        held = jax.jacobian(log_w)(x)[..., 0].diagonal(axis1=1, axis2=2)
        return log_w(x), bound(x), slopes, held

    log_w, bound, slopes, held = run(X + far)
    powers = (1 - alpha) * np.float64(log_w)
    truth = (scipy.special.logsumexp(powers, 0) - math.log(7)) / (1 - alpha)
    np.testing.assert_allclose(bound, truth, rtol=1e-5, atol=1e-5)
    shares = scipy.special.softmax(powers, 0)
    expected = (shares * held).sum(0)
    np.testing.assert_allclose(slopes, expected, rtol=2e-3, atol=1e-4)


def test_renyi_falls_with_alpha_between_the_largest_and_the_smallest_weight():
    bound = lambda alpha: -objectives.renyi(Scalar(), BATCH, KEY, alpha=alpha, num_samples=50)[0]
    values = [bound(a) for a in (-math.inf, -3.0, -1.0, 0.0, 0.5, 2.0, math.inf)]
    assert all((a >= b - 1e-5).all() for a, b in itertools.pairwise(values))


def test_chi_bound_is_above_and_the_elbo_below_the_evidence():
    keys = jax.random.split(KEY, 4)
    above = mean_loss(objectives.chi_upper_bound, Scalar(), keys, num_samples=20_000)
    below = -mean_loss(objectives.iwae, Scalar(), keys, num_samples=1)
    assert below < EXACT.mean() - 0.01 and above > EXACT.mean() + 0.01
    # The chi-square bound of two normals in closed form: log p + KL-like term, by quadrature.
    z = np.linspace(-12, 12, 4001)
    truth = []
    for x in np.asarray(X[:, 0]):
        joint = scipy.stats.norm.logpdf(z) + scipy.stats.norm.logpdf(x, z, 1)
        log_q = scipy.stats.norm.logpdf(z, 0.3 * x, 0.9)
        truth.append(0.5 * np.log(np.trapezoid(np.exp(2 * joint - log_q), z)))
    assert above == pytest.approx(np.mean(truth), abs=0.02)


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_the_score_of_the_chi_bound_is_its_gradient_and_leaves_p_alone(power):
    """Of many samples both are that of the bound, whose value is the same."""

    def loss(parameters, key, gradient):
        options = {"power": power, "num_samples": 20_000, "gradient": gradient}
        return objectives.chi_upper_bound(Scalar(*parameters), BATCH, key, **options)[0].mean()

    parameters = (jnp.array(0.3), jnp.log(0.9), jnp.array(0.8))
    of = jax.jit(jax.vmap(jax.value_and_grad(loss), (None, 0, None)), static_argnums=2)
    keys = jax.random.split(KEY, 20)
    (value, total), (same, score) = (of(parameters, keys, kind) for kind in ("total", "score"))
    np.testing.assert_allclose(value, same, rtol=1e-6)
    assert not np.any(score[2])
    for one, other in zip(total[:2], score[:2]):
        error = np.hypot(one.std(), other.std()) / np.sqrt(len(keys))
        assert abs(one.mean() - other.mean()) < 5 * error + 1e-4
    assert power == 1.0 or abs(score[0].mean()) > 0.01


@pytest.mark.parametrize("num_samples", [1, 4])
def test_gradients_of_the_bound_agree_in_expectation(num_samples):
    """Total, doubly reparameterised and (at K = 1) sticking the landing: 5 standard errors.

    Nine comparisons at 5 sigma: a false alarm once in 200,000 seeds.
    """
    keys = jax.random.split(KEY, 20_000)

    def slopes(gradient):
        def loss(parameters, key):
            model = Scalar(*parameters)
            options = {"num_samples": num_samples, "gradient": gradient}
            return objectives.iwae(model, BATCH, key, **options)[0].mean()

        parameters = (jnp.array(0.3), jnp.log(0.9), jnp.array(0.8))
        return np.stack(jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(parameters, keys), -1)

    total, dreg = slopes("total"), slopes("dreg")
    error = np.sqrt((total.var(0) + dreg.var(0)) / len(keys))
    assert (np.abs(total.mean(0) - dreg.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(total[:, 2], dreg[:, 2], rtol=1e-3, atol=1e-4)  # the model's own
    stl = slopes("stl")
    if num_samples == 1:
        np.testing.assert_allclose(stl, dreg, rtol=1e-3, atol=1e-4)
    else:
        assert (np.abs(total.mean(0) - stl.mean(0)) > 5 * error)[:2].any()  # biased, as known


def test_landing_sticks_at_the_exact_posterior():
    """The path's gradient is zero without variance where q is the posterior; the total is not."""

    def slopes(gradient):
        def loss(parameters, key):
            model = Scalar(parameters[0], parameters[1])
            return objectives.iwae(model, BATCH, key, num_samples=3, gradient=gradient)[0].mean()

        exact = (jnp.array(0.5), 0.5 * jnp.log(0.5))
        keys = jax.random.split(KEY, 50)
        return np.stack(jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(exact, keys), -1)

    assert np.abs(slopes("dreg")).max() < 1e-5 and np.abs(slopes("stl")).max() < 1e-5
    assert slopes("total").std() > 1e-2


def test_signal_to_noise_rises_for_dreg_and_falls_for_iwae():
    """Rainforth et al. 2018: the posterior's gradient drowns with K; Tucker et al. 2019: not so."""
    keys = jax.random.split(KEY, 4000)

    def ratio(gradient, k):
        def loss(a, key):
            model = Scalar(a, jnp.log(0.6))
            return objectives.iwae(model, BATCH, key, num_samples=k, gradient=gradient)[0].mean()

        slopes = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(jnp.array(0.45), keys)
        return float(abs(slopes.mean()) / slopes.std())

    assert ratio("total", 1) > 2.0 * ratio("total", 64)
    assert ratio("dreg", 64) > 2.0 * ratio("dreg", 1)


def test_combinations_of_bounds():
    options = {"num_samples": 3, "num_bounds": 2}
    log_w = objectives.log_weights(Scalar(), BATCH, KEY, num_samples=6)
    average = (jax.nn.logsumexp(log_w.reshape(2, 3, 8), axis=1) - math.log(3)).mean(0)
    loss, metrics = objectives.iwae(Scalar(), BATCH, KEY, **options)
    np.testing.assert_allclose(-loss, average, rtol=1e-5)
    both, _ = objectives.iwae(Scalar(), BATCH, KEY, elbo_weight=0.25, **options)
    np.testing.assert_allclose(-both, 0.75 * average + 0.25 * metrics["elbo"], rtol=1e-5)


def test_wake_phase_has_the_gradient_of_the_inclusive_divergence():
    """At the exact posterior the slope is zero in expectation, elsewhere towards it."""
    keys = jax.random.split(KEY, 2000)

    def slope(a, log_scale):
        loss = lambda a, s: mean_loss(objectives.wake_phase, Scalar(a, s), keys, num_samples=50)
        return np.array(jax.jit(jax.grad(loss, (0, 1)))(a, log_scale))

    np.testing.assert_allclose(slope(0.5, 0.5 * math.log(0.5)), 0.0, atol=0.02)
    assert slope(0.2, 0.5 * math.log(0.5))[0] < -0.05 and slope(0.5, 0.0)[1] > 0.05


class Bimodal(Scalar):
    """q is a mixture with learned logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def posterior(self, x):
        loc = jnp.stack([0.1 * x, 0.9 * x - 0.5], -2)
        return Mixture(jnp.broadcast_to(self.logits, (len(x), 2)), normal(loc, 0.8))


def test_mixture_posterior_has_the_bound_and_the_gradient_of_quadrature():
    z = np.linspace(-10, 10, 2001)
    x = np.asarray(X, np.float64)

    def elbo(logit):
        weights = np.array([1.0, np.exp(logit)]) / (1.0 + np.exp(logit))
        parts = [scipy.stats.norm.pdf(z, loc, 0.8) for loc in (0.1 * x, 0.9 * x - 0.5)]
        q = weights[0] * parts[0] + weights[1] * parts[1]
        joint = scipy.stats.norm.logpdf(z) + scipy.stats.norm.logpdf(x, z, 1)
        return np.trapezoid(q * (joint - np.log(q)), z, axis=-1).mean()

    keys = jax.random.split(KEY, 4000)
    for function in (objectives.elbo, partial(objectives.iwae, num_samples=1)):
        bound = lambda logit, key, f=function: f(
            Bimodal(jnp.array([0.0, 1.0]) * logit), BATCH, key
        )[1]["elbo"].mean()
        values, slopes = jax.jit(jax.vmap(jax.value_and_grad(bound), (None, 0)))(0.7, keys)
        error = 5 * float(values.std()) / math.sqrt(len(keys))
        assert float(values.mean()) == pytest.approx(elbo(0.7), abs=error + 1e-4)
        truth = (elbo(0.71) - elbo(0.69)) / 0.02
        error = 5 * float(slopes.std()) / math.sqrt(len(keys))
        assert float(slopes.mean()) == pytest.approx(truth, abs=error + 1e-4)
    nll, _ = objectives.importance_bound(Bimodal(jnp.zeros(2)), BATCH, KEY, num_samples=20_000)
    np.testing.assert_allclose(-nll, EXACT, atol=0.03)


def test_free_bits_cost_their_floor_and_have_no_slope_below():
    def loss(a, **options):
        return objectives.elbo(Scalar(a), BATCH, KEY, **options)[0].mean()

    number = lambda *a, **options: float(loss(*a, **options))
    _, metrics = objectives.elbo(Scalar(0.3), BATCH, KEY)
    rate = float(metrics["kl"].mean())
    plain = number(0.3)
    for per in ("dimension", "latent", "total"):
        below = number(0.3, free_bits=rate - 0.01, free_bits_per=per)
        above = number(0.3, free_bits=rate + 0.5, free_bits_per=per)
        assert below == pytest.approx(plain, rel=1e-5)
        assert above == pytest.approx(plain + 0.5, rel=1e-4)
    options = {"free_bits": rate + 0.5}
    slope = jax.grad(loss)(0.3, **options)
    only = jax.grad(lambda a: -objectives.elbo(Scalar(a), BATCH, KEY)[1]["log_likelihood"].mean())
    np.testing.assert_allclose(slope, only(0.3), rtol=1e-4)


def test_a_corruption_is_seen_by_the_posterior_alone():
    """Of Scalar(a), whose posterior has the mean a x, that of 2 x is that of Scalar(2 a)."""
    double = lambda batch, key: {**batch, "x": 2.0 * batch["x"]}
    options = {"num_samples": 20_000}
    _, found = objectives.elbo(Scalar(0.3), BATCH, KEY, corruption=double, **options)
    _, wanted = objectives.elbo(Scalar(0.6), BATCH, KEY, **options)
    np.testing.assert_allclose(found["kl"], wanted["kl"], rtol=1e-6)
    np.testing.assert_allclose(found["log_likelihood"], wanted["log_likelihood"], atol=0.05)


def test_a_capacity_is_the_distance_of_the_rate_to_it():
    """beta |mean KL - C| and its slope on both sides of C, with padding left out of the mean."""
    mask = jnp.array([1.0] * 6 + [0.0] * 2)
    batch = {**BATCH, "mask": mask}

    def parts(a):
        _, metrics = objectives.elbo(Scalar(a), batch, KEY)
        return [(metrics[name] * mask).sum() / 6 for name in ("log_likelihood", "kl")]

    def loss(a, capacity):
        loss, _ = objectives.elbo(Scalar(a), batch, KEY, beta=30.0, capacity=capacity)
        return (loss * mask).sum() / 6

    rate = float(parts(0.3)[1])
    for capacity, sign in ((rate / 2, 1.0), (rate + 0.2, -1.0), (0.0, 1.0)):
        truth = lambda a, c=capacity, s=sign: 30.0 * s * (parts(a)[1] - c) - parts(a)[0]
        np.testing.assert_allclose(loss(0.3, capacity), truth(0.3), rtol=1e-5)
        np.testing.assert_allclose(jax.grad(loss)(0.3, capacity), jax.grad(truth)(0.3), rtol=1e-4)
    rising = optax.linear_schedule(0.0, 2.0, 10)
    at = lambda c, **step: objectives.elbo(Scalar(), {**BATCH, **step}, KEY, capacity=c)[0]
    np.testing.assert_allclose(at(rising, step=jnp.int32(5)), at(1.0), rtol=1e-6)
    np.testing.assert_allclose(at(rising), at(2.0), rtol=1e-6)


def test_a_regularised_autoencoder_has_the_norms_of_its_codes_and_of_its_jacobian():
    """x | z ~ N(w z, 1) at z = a x: the Jacobian is w, its estimate w^2 v^2 with v ~ N(0, 1)."""
    w, a = 1.7, 0.3
    keys = jax.random.split(KEY, 4000)
    run = partial(
        objectives.regularised_autoencoder, Scalar(a, w=w), BATCH, weight=0.2, gradient_penalty=0.6
    )
    loss, metrics = jax.jit(jax.vmap(lambda key: run(key)))(keys)
    x = np.asarray(X[:, 0])
    likelihood = scipy.stats.norm(w * a * x, 1).logpdf(x)
    np.testing.assert_allclose(metrics["log_likelihood"][0], likelihood, rtol=1e-5)
    np.testing.assert_allclose(metrics["code_norm"][0], (a * x) ** 2, rtol=1e-5)
    truth = 0.1 * (a * x) ** 2 + 0.3 * w**2 - likelihood
    error = 5 * 0.3 * w**2 * math.sqrt(2 / len(keys))  # five standard errors
    np.testing.assert_allclose(loss.mean(0), truth, atol=error)
    plain, _ = objectives.regularised_autoencoder(Scalar(a, w=w), BATCH, KEY, weight=0.2)
    np.testing.assert_allclose(plain, 0.1 * (a * x) ** 2 - likelihood, rtol=1e-5)


def test_beta_follows_its_schedule_in_training_and_is_at_its_end_outside():
    warm_up = optax.linear_schedule(0.0, 1.0, 10)
    at = lambda step: objectives.elbo(Scalar(), {**BATCH, "step": step}, KEY, beta=warm_up)[0]
    plain, metrics = objectives.elbo(Scalar(), BATCH, KEY)
    np.testing.assert_allclose(plain - at(jnp.int32(4)), 0.6 * metrics["kl"], rtol=1e-4)
    np.testing.assert_allclose(objectives.elbo(Scalar(), BATCH, KEY, beta=warm_up)[0], plain)


def test_kl_of_chains_is_the_sum_of_its_terms():
    top, bottom = (
        (lambda z: normal(jnp.full((8, 2), 0.3), 0.7)),
        (lambda z: normal(0.5 * z["top"], 0.5)),
    )
    q = Ancestral({"top": top, "bottom": bottom})
    p = Ancestral(
        {"top": lambda z: normal(jnp.zeros(2), 1.0), "bottom": lambda z: normal(z["top"], 1.0)}
    )
    z, log_q = q.sample_and_log_prob(seed=KEY, sample_shape=(20_000,))
    terms = objectives.kl_terms(q, p, z)
    assert list(terms) == ["top", "bottom"] and terms["top"].shape == (8,)
    gaps = np.asarray(log_q - p.log_prob(z), np.float64)
    error = 5 * gaps.std(0) / math.sqrt(len(gaps))
    assert (np.abs(gaps.mean(0) - sum(terms.values())) < error).all()
    apart = objectives.kl_terms(q, p, z, dimensions=True)
    np.testing.assert_allclose(apart["bottom"].sum(-1), terms["bottom"], rtol=1e-5)
    turned = Ancestral(
        {
            "bottom": lambda z: normal(jnp.zeros((8, 2)), 1.0),
            "top": lambda z: p.conditional("top", {}),
        }
    )
    assert list(objectives.kl_terms(turned, p, z)) == ["z"]


def test_mmd_is_zero_for_equal_laws_and_the_closed_form_for_shifted_ones():
    """E exp(-|x - y|^2 / 2h) of unit normals m apart is sqrt(h / (h + 2)) exp(-m^2 / 2(h + 2))."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 64, 1)).astype(np.float32)
    shifted = jax.jit(jax.vmap(partial(mmd, kernel="rbf", bandwidth=2.0)))
    values = np.asarray(shifted(x + 1.0, y), np.float64)
    expected = 2 * math.sqrt(0.5) * (1 - math.exp(-1 / 8))
    assert np.mean(values) == pytest.approx(expected, abs=5 * np.std(values) / math.sqrt(200))
    pairs = rng.normal(size=(2, 200, 64, 3)).astype(np.float32)
    same = np.asarray(jax.jit(jax.vmap(mmd))(*pairs), np.float64)
    assert abs(np.mean(same)) < 5 * np.std(same) / math.sqrt(200)
    x = jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)
    padded = jnp.concatenate([x, 9.0 * jnp.ones((2, 2))])
    weights = jnp.array([1.0] * 6 + [0.0] * 2)
    np.testing.assert_allclose(mmd(padded, x, weights), mmd(x, x), rtol=1e-4, atol=1e-5)
    assert gram(x, x, "imq").shape == (6, 6)


@pytest.mark.parametrize(
    "divergence, truth",
    [
        ("kl", lambda r, p, dz: (r * np.log(r) * p).sum() * dz),
        ("reverse_kl", lambda r, p, dz: -(np.log(r) * p).sum() * dz),
        ("squared_hellinger", lambda r, p, dz: ((np.sqrt(r) - 1) ** 2 * p).sum() * dz),
        ("chi_squared", lambda r, p, dz: ((r - 1) ** 2 * p).sum() * dz),
        (
            "jensen_shannon",
            lambda r, p, dz: 0.5 * ((r * np.log(r) - (r + 1) * np.log((r + 1) / 2)) * p).sum() * dz,
        ),
    ],
)
def test_f_divergence_of_the_aggregated_posterior_by_quadrature(divergence, truth):
    """Many samples of each of eight posteriors; their mixture is known on a grid."""
    model = Scalar(0.4, math.log(0.8))
    q, p = model.posterior(X), model.prior()
    z = q.sample(seed=KEY, sample_shape=(20_000,))
    value = objectives.aggregate_divergence(q, p, z.reshape(-1, 1), KEY, divergence)
    grid = np.linspace(-6, 6, 4001)
    each = scipy.stats.norm.pdf(grid, 0.4 * np.asarray(X), 0.8)
    prior = scipy.stats.norm.pdf(grid)
    expected = truth(each.mean(0) / prior, prior, grid[1] - grid[0])
    assert float(value) == pytest.approx(expected, abs=0.01)


def test_infovae_without_its_divergence_is_the_elbo():
    plain, metrics = objectives.infovae(Scalar(), BATCH, KEY, alpha=0.0, weight=0.0)
    np.testing.assert_allclose(plain, -metrics["elbo"], rtol=1e-6)
    loss, metrics = objectives.wae(Scalar(), BATCH, KEY, weight=3.0)
    np.testing.assert_allclose(
        loss, 3.0 * metrics["divergence"] - metrics["log_likelihood"], rtol=1e-5
    )


def test_beta_tc_at_one_is_the_elbo_and_its_terms_add_up():
    loss, metrics = objectives.beta_tc(Scalar(), BATCH, KEY, num_examples=100, beta=1.0)
    np.testing.assert_allclose(loss, -metrics["elbo"], rtol=1e-5)
    parts = ("mutual_information", "total_correlation", "dimension_kl")
    np.testing.assert_allclose(sum(metrics[p] for p in parts), metrics["kl"], rtol=1e-4, atol=1e-4)
    heavy, _ = objectives.beta_tc(Scalar(), BATCH, KEY, num_examples=100, beta=4.0)
    np.testing.assert_allclose(heavy - loss, 3 * metrics["total_correlation"], rtol=1e-4, atol=1e-4)


def test_linear_vae_has_the_evidence_of_probabilistic_pca():
    """scikit-learn's PCA score is log p(x) of PPCA at its maximum; L_K of that model equals it."""
    from sklearn.datasets import load_iris
    from sklearn.decomposition import PCA

    x = load_iris().data
    x = (x - x.mean(0)) / x.std(0)
    pca = PCA(2, svd_solver="full").fit(x)
    scale = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    w = jnp.asarray((pca.components_.T * scale), jnp.float32)
    sigma = math.sqrt(pca.noise_variance_)
    precision = np.eye(2) + np.asarray(w.T @ w, np.float64) / sigma**2
    chol = jnp.asarray(np.linalg.cholesky(np.linalg.inv(precision)), jnp.float32)

    class PPCA:
        widen = 1.0

        def prior(self):
            return normal(jnp.zeros(2), 1.0)

        def posterior(self, x):
            mean = x @ w @ jnp.asarray(np.linalg.inv(precision), jnp.float32) / sigma**2
            return FullNormal(mean, self.widen * chol)

        def likelihood(self, z):
            return normal(z @ w.T, sigma)

    batch = {"x": jnp.asarray(x, jnp.float32)}
    exact = objectives.log_weights(PPCA(), batch, KEY, num_samples=3)
    np.testing.assert_allclose(exact[0], pca.score_samples(x), atol=1e-3)
    wide = PPCA()
    wide.widen = 1.3
    nll, _ = objectives.importance_bound(wide, batch, KEY, num_samples=5000, chunk=1000)
    np.testing.assert_allclose(-nll, pca.score_samples(x), atol=0.05)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: objectives.iwae(Scalar(), BATCH, KEY, num_samples=0), "num_samples"),
        (lambda: objectives.iwae(Scalar(), BATCH, KEY, gradient="none"), "gradient"),
        (lambda: objectives.iwae(Scalar(), BATCH, KEY, elbo_weight=2.0), "elbo_weight"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, free_bits=-1.0), "free_bits"),
        (lambda: objectives.elbo(Bimodal(jnp.zeros(2)), BATCH, KEY, kl="analytic"), "kl"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, free_bits_per="row"), "free_bits_per"),
        (lambda: objectives.infovae(Scalar(), BATCH, KEY, divergence="tv"), "divergence"),
        (lambda: objectives.wae(Scalar(), BATCH, KEY, kernel="linear"), "kernel"),
        (lambda: objectives.beta_tc(Scalar(), BATCH, KEY, num_examples=0), "num_examples"),
        (lambda: objectives.chi_upper_bound(Scalar(), BATCH, KEY, power=0.5), "power"),
        (lambda: objectives.chi_upper_bound(Scalar(), BATCH, KEY, gradient="stl"), "gradient"),
        (lambda: objectives.elbo(Scalar(), {"y": BATCH["x"]}, KEY), "batch"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, beta=-1.0), "beta"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, beta=np.float32(-1.0)), "beta"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, beta=jnp.float32(np.nan)), "beta"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, beta=math.nan), "beta"),
        (lambda: objectives.elbo(Scalar(), BATCH, KEY, capacity=-1.0), "capacity"),
        (lambda: objectives.regularised_autoencoder(Scalar(), BATCH, KEY, weight=-1.0), "weight"),
        (lambda: objectives.renyi(Scalar(), BATCH, KEY, alpha=math.nan), "alpha"),
        (lambda: objectives.importance_bound(Scalar(), BATCH, KEY, chunk=0), "chunk"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


LOSSES = {
    "elbo": objectives.elbo,
    "iwae": objectives.iwae,
    "renyi": partial(objectives.renyi, alpha=0.5),
    "chi": objectives.chi_upper_bound,
    "wake": objectives.wake_phase,
    "rejection": objectives.variational_rejection,
    "reinforce": objectives.reinforce,
    "vimco": objectives.vimco,
    "wae": objectives.wae,
    "infovae": partial(objectives.infovae, divergence="kl"),
    "beta_tc": partial(objectives.beta_tc, num_examples=50),
    "importance_bound": partial(objectives.importance_bound, num_samples=4),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("width", [1, 3])
def test_latents_of_different_shapes_are_named(loss, width):
    """A prior of one dimension would be broadcast over the two of the posterior."""

    class Mismatched(Scalar):
        def posterior(self, x):
            return normal(jnp.concatenate([x, x], -1), 1.0)

        def prior(self):
            return normal(jnp.zeros(width), 1.0)

    with pytest.raises(DgmjaxError, match=r"^`prior` must be over the latents of the posterior"):
        LOSSES[loss](Mismatched(), BATCH, KEY)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "batch, word",
    [
        ({**BATCH, "mask": jnp.ones(3)}, "mask"),
        ({"x": X[:0]}, "x"),
        ({}, "batch"),
        (X, "batch"),
    ],
)
def test_batches_that_are_none_are_named(loss, batch, word):
    with pytest.raises(DataError, match=f"^`{word}` must"):
        LOSSES[loss](Scalar(), batch, KEY)


@pytest.mark.parametrize(
    "loss", [objectives.elbo, objectives.iwae, objectives.vq_vae, objectives.relax]
)
def test_models_of_another_kind_are_named(loss):
    with pytest.raises(DgmjaxError, match=r"^`model` must .*got Categorical"):
        loss(Categorical(jnp.zeros(3)), BATCH, KEY)


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_a_mixture_has_no_gradient_along_paths(gradient):
    with pytest.raises(DgmjaxError, match=r"^`gradient` must be 'total' for a mixture"):
        objectives.iwae(Bimodal(jnp.zeros(2)), BATCH, KEY, num_samples=2, gradient=gradient)


@pytest.mark.staggered
@pytest.mark.parametrize("divergence", sorted(F_DIVERGENCES))
def test_padding_far_from_the_data_leaves_divergences_finite(divergence):
    """A padded row's own z is impossible under every posterior that counts."""
    q = normal(jnp.array([[0.0], [0.5], [300.0]]), 0.1)
    p, z = normal(jnp.zeros(1), 1.0), jnp.array([[0.1], [0.4], [300.0]])
    found = lambda loc: aggregate_divergence(
        normal(loc, 0.1), p, z, KEY, divergence, jnp.array([1.0, 1.0, 0.0])
    )
    value, slope = jax.jit(jax.value_and_grad(found))(q.distribution.loc)
    loc = q.distribution.loc[:2]
    alone = aggregate_divergence(normal(loc, 0.1), p, z[:2], KEY, divergence)
    np.testing.assert_allclose(value, alone, rtol=1e-5)
    assert np.isfinite(slope).all() and slope[2] == 0


def test_total_correlation_needs_a_posterior_of_independent_dimensions():
    class Joint(Scalar):
        def posterior(self, x):
            return distrax.MultivariateNormalDiag(x, jnp.ones_like(x))

    with pytest.raises(DgmjaxError, match=r"^`model` must have a posterior whose dimensions are"):
        objectives.beta_tc(Joint(), BATCH, KEY, num_examples=50)


def test_importance_bound_makes_the_parameters_of_a_mixture_prior():
    vae = models.DenseVAE((1,), 2, (4,), prior_model=models.NormalMixture(2, 3))
    bound = partial(objectives.importance_bound, num_samples=4, chunk=2)
    variables = jax.eval_shape(lambda: vae.init(KEY, BATCH, KEY, method=bound))
    assert "prior_model" in variables["params"]


def test_vamp_prior_of_the_data_is_the_aggregated_posterior():
    """Pseudo-inputs at the data: the mixture is q(z), and the mean KL the mutual information."""
    vae = models.DenseVAE((1,), 1, (4,), prior_model=models.VampPrior((1,), 8, (-4.0, 4.0), 0.0))
    variables = compiled_start(vae, KEY, BATCH, KEY, method=objectives.elbo)
    share = (np.asarray(X) + 4.0) / 8.0
    variables["params"]["prior_model"]["pseudo_inputs"] = jnp.asarray(np.log(share / (1 - share)))
    model = vae.bind(variables)
    z = jnp.linspace(-2.0, 2.0, 5)[:, None]
    aggregated = objectives.aggregated_log_prob(model.posterior(X), z)
    np.testing.assert_allclose(model.prior().log_prob(z), aggregated, rtol=1e-4, atol=1e-5)


def test_mmd_to_a_mixture_is_unbiased_and_so_is_its_gradient_by_the_weights():
    """Against the closed form: E exp(-|a - b|^2 / (2 h)) of normals, by components."""
    loc, logits = np.array([-1.5, 0.5, 2.0]), jnp.array([0.3, -0.4, 0.1])
    points, h = np.array([[0.2], [1.0], [-0.7]], np.float32), 1.5

    def prior(logits):
        normals = distrax.Normal(jnp.asarray(loc[:, None], jnp.float32), 0.6)
        return Mixture(logits, distrax.Independent(normals, 1))

    def expected(difference, variance):
        return (h / (h + variance)) ** 0.5 * np.exp(-(difference**2) / (2 * (h + variance)))

    def truth(logits):
        w = jax.nn.softmax(logits)
        yy = w @ expected(loc[:, None] - loc[None], 2 * 0.6**2) @ w
        xy = (expected(points - loc[None], 0.6**2) @ w).mean()
        k = np.exp(-((points - points.T) ** 2) / (2 * h))
        return (k.sum() - 3) / 6 - 2 * xy + yy

    def estimate(logits, key):
        q = distrax.Independent(distrax.Normal(jnp.asarray(points), 1.0), 1)
        options = {"kernel": "rbf", "bandwidth": h}
        return aggregate_divergence(q, prior(logits), jnp.asarray(points), key, **options)

    keys = jax.random.split(jax.random.key(0), 4000)
    both = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))
    values, gradients = (np.asarray(a, np.float64) for a in both(logits, keys))
    wanted, wanted_gradient = jax.value_and_grad(truth)(logits)
    assert abs(values.mean() - wanted) < 4.5 * values.std() / np.sqrt(len(keys))
    error = np.abs(gradients.mean(0) - wanted_gradient)
    assert np.all(error < 4.5 * gradients.std(0) / np.sqrt(len(keys)))
    assert np.all(gradients.std(0) > 0)


def test_distances_of_bytes_do_not_wrap():
    x, y = jax.random.randint(KEY, (2, 8, 3), 0, 256).astype(jnp.uint8)
    real = mmd(x.astype(jnp.float32), y.astype(jnp.float32), bandwidth=1e4)
    assert float(mmd(x, y, bandwidth=1e4)) == float(real)


class Bounded(Scalar):
    """x | z ~ U(z - 1, z + 1): many weights are 0, and far from q all are."""

    def likelihood(self, z):
        return distrax.Independent(distrax.Uniform(z - 1.0, z + 1.0), 1)


SOME = {"x": jnp.array([[0.3], [1.2], [3.0]])}
FAR = {"x": jnp.array([[50.0]])}


def test_weights_of_zero_count_as_zero():
    model, truth = Bounded(), np.asarray(SOME["x"][:, 0], np.float64)
    truth = -np.log((scipy.stats.norm.cdf(truth + 1) - scipy.stats.norm.cdf(truth - 1)) / 2)
    for chunk in (2, 200):
        options = {"num_samples": 20_000, "chunk": chunk}
        nll, _ = objectives.importance_bound(model, SOME, KEY, **options)
        np.testing.assert_allclose(nll, truth, atol=0.1)
    few = {"num_samples": 4, "chunk": 2}
    assert objectives.importance_bound(model, FAR, KEY, **few)[0].tolist() == [math.inf]


@pytest.mark.staggered
@pytest.mark.parametrize(
    "objective",
    [
        partial(objectives.renyi, alpha=0.0),
        partial(objectives.renyi, alpha=0.5),
        *(partial(objectives.vimco, baseline=b) for b in ("geometric", "arithmetic", "none")),
    ],
)
def test_weights_of_zero_leave_bounds_and_gradients_finite(objective):
    key, found = jax.random.key(18), partial(objective, num_samples=3)

    @jax.jit
    def run():
        loss = lambda a, s: (lambda each: (each.sum(), each))(found(Bounded(a, s), SOME, key)[0])
        slopes, value = jax.grad(loss, (0, 1), has_aux=True)(0.3, -0.1)
        log_w = objectives.log_weights(Bounded(), SOME, key, num_samples=3)
        iwae = objectives.iwae(Bounded(), SOME, key, num_samples=3)[0]
        return log_w, iwae, value, slopes, found(Bounded(), FAR, key)[0]

    log_w, expected, loss, slopes, far = run()
    assert jnp.isneginf(log_w).sum(0).tolist() == [1, 1, 2]
    if objective.keywords.get("alpha") == 0.5:
        expected = 2.0 * (math.log(3) - jax.nn.logsumexp(0.5 * log_w, 0))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert np.isfinite(slopes).all() and far.tolist() == [math.inf]
