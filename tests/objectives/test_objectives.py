"""Objectives against a linear-Gaussian model whose marginal and posterior are known exactly."""

from functools import partial

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, objectives
from dgmjax.distributions import families
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.evaluation import active_units, bits_per_dim, independent_bernoulli
from dgmjax.evaluation.baselines import full_normal

W = np.array([[1.0, 0.5], [-0.7, 1.2], [0.3, -0.4]])
NOISE = 0.6


class LinearGaussian:
    """x = W z + noise, z ~ N(0, I); the posterior is exact, scaled by `widen`."""

    def __init__(self, widen: float = 1.0):
        precision = np.eye(2) + W.T @ W / NOISE**2
        self.covariance = np.linalg.inv(precision)
        self.widen = widen

    def prior(self):
        return distrax.MultivariateNormalFullCovariance(jnp.zeros(2), jnp.eye(2))

    def posterior(self, x):
        mean = x @ jnp.asarray(W @ self.covariance / NOISE**2)
        covariance = jnp.asarray(self.widen**2 * self.covariance)
        return distrax.MultivariateNormalFullCovariance(mean, covariance)

    def likelihood(self, z):
        mean = z @ jnp.asarray(W.T)
        return distrax.Independent(distrax.Normal(mean, jnp.full(mean.shape, NOISE)), 1)


X = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)), jnp.float32)
BATCH = {"x": X}
EXACT = scipy.stats.multivariate_normal(np.zeros(3), W @ W.T + NOISE**2 * np.eye(3)).logpdf(X)
KEY = jax.random.key(0)


def test_with_the_exact_posterior_every_weight_is_the_marginal():
    log_w = objectives.log_weights(LinearGaussian(), BATCH, KEY, num_samples=5)
    np.testing.assert_allclose(log_w, np.broadcast_to(EXACT, (5, 16)), atol=1e-4)
    loss, metrics = objectives.iwae(LinearGaussian(), BATCH, KEY, num_samples=5)
    np.testing.assert_allclose(-loss, EXACT, atol=1e-4)
    np.testing.assert_allclose(metrics["effective_sample_size"], 5.0, rtol=1e-3)


def test_elbo_is_the_marginal_less_the_posterior_gap():
    """ELBO = log p(x) - KL(q || p(z | x)), known in closed form for a widened posterior."""
    widen = 1.5
    gap = 2 * (0.5 * (widen**2 - 1) - np.log(widen))
    for kl in ("analytic", "sampled"):
        elbo = jax.jit(partial(objectives.elbo, LinearGaussian(widen), num_samples=20_000, kl=kl))
        _, metrics = elbo(BATCH, KEY)
        error = 4 * 1.5 / np.sqrt(20_000 / 10)
        np.testing.assert_allclose(metrics["elbo"], EXACT - gap, atol=error)


@pytest.mark.slow
def test_bounds_rise_with_the_number_of_samples_towards_the_marginal():
    model = LinearGaussian(2.0)
    means = []
    for k in (1, 5, 50, 500):
        keys = jax.random.split(KEY, 4000 // k + 40)
        loss, _ = jax.vmap(partial(objectives.iwae, model, BATCH, num_samples=k))(keys)
        means.append(-float(loss.mean()))
    assert means[0] < means[1] < means[2] < means[3] < EXACT.mean() + 0.01
    assert EXACT.mean() - means[3] < 0.02


def test_iwae_of_one_sample_is_the_sampled_elbo():
    model = LinearGaussian(1.5)
    iwae, _ = objectives.iwae(model, BATCH, KEY, num_samples=1)
    elbo, _ = objectives.elbo(model, BATCH, KEY, num_samples=1, kl="sampled")
    np.testing.assert_allclose(iwae, elbo, rtol=1e-6)


def test_iwae_gradient_favours_the_larger_weight():
    """d L_K / d log w_k = w_k / sum w: the sign that another library has wrong."""

    def bound(log_w):
        return (jax.nn.logsumexp(log_w, axis=0) - jnp.log(log_w.shape[0])).sum()

    log_w = objectives.log_weights(LinearGaussian(2.0), BATCH, KEY, num_samples=4)
    weights = jax.grad(bound)(log_w)
    np.testing.assert_allclose(weights, jax.nn.softmax(log_w, 0), rtol=1e-5)
    assert (weights.argmax(0) == log_w.argmax(0)).all()
    np.testing.assert_allclose(weights.sum(0), 1.0, rtol=1e-5)


def test_chunked_bound_is_the_log_mean_of_all_weights():
    model = LinearGaussian(2.0)
    nll, metrics = objectives.importance_bound(model, BATCH, KEY, num_samples=60, chunk=20)
    log_w = jnp.concatenate(
        [
            objectives.log_weights(model, BATCH, jax.random.fold_in(KEY, i), num_samples=20)
            for i in range(3)
        ]
    )
    np.testing.assert_allclose(-nll, jax.nn.logsumexp(log_w, 0) - np.log(60), rtol=1e-5)
    assert list(metrics) == ["nll_bound_k60"]


def test_large_bound_is_the_marginal_and_honours_its_number_of_samples():
    """Another library ignores the number it is given: the draws must differ with it."""
    model = LinearGaussian(1.3)
    bound = {
        k: objectives.importance_bound(model, BATCH, KEY, num_samples=k)[0] for k in (50, 5000)
    }
    np.testing.assert_allclose(-bound[5000], EXACT, atol=0.05)
    assert np.abs(bound[50] - bound[5000]).max() > 1e-3


def test_beta_weights_the_loss_and_never_the_reported_bound():
    model = LinearGaussian(1.5)
    plain, one = objectives.elbo(model, BATCH, KEY)
    heavy, four = objectives.elbo(model, BATCH, KEY, beta=4.0)
    np.testing.assert_allclose(one["elbo"], four["elbo"])
    np.testing.assert_allclose(heavy - plain, 3.0 * one["kl"], rtol=1e-4)


def test_likelihood_counts_the_transforms():
    """-log p(x) of data scaled by 4 and brought back is that of the original."""
    base = distrax.Independent(distrax.Normal(jnp.zeros(3), jnp.ones(3)), 1)

    class Model:
        def log_prob(self, x):
            return base.log_prob(x)

    scaled = {"x": X / 4.0, "log_det": jnp.full(16, -3 * np.log(4.0))}
    nll, metrics = objectives.negative_log_likelihood(Model(), scaled)
    expected = -scipy.stats.norm(0, 4).logpdf(X).sum(-1)
    np.testing.assert_allclose(nll, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["nll_nats"], nll)


def test_sampled_ordering_averages_to_the_mean_over_masks():
    made = models.MADE((4,), (8,), num_orders=2)
    x = jnp.asarray(np.random.default_rng(1).integers(0, 2, (6, 4)), jnp.float32)
    variables = perturbed(compiled_start(made, KEY, x, method="log_prob"), scale=1.0)
    each = jnp.stack([made.apply(variables, None, m).log_prob(x) for m in range(2)])
    values = [
        applied(made, variables, {"x": x}, jax.random.key(i), method=objectives.sampled_ordering)
        for i in range(8)
    ]
    assert {int(m["order"]) for _, m in values} == {0, 1}
    for loss, metrics in values:
        np.testing.assert_allclose(-loss, each[int(metrics["order"])], rtol=1e-5)
    exact = applied(made, variables, x, method="log_prob")
    assert (exact >= each.mean(0) - 1e-5).all()


def test_adversarial_losses_at_known_logits():
    class Model:
        def sample(self, key, shape):
            return jnp.full((*shape, 1), -2.0)

        def logit(self, x):
            return x[..., 0]

    batch = {"x": jnp.full((3, 1), 1.0)}
    loss, metrics = objectives.critic_loss(Model(), batch, KEY)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-1)) + np.log1p(np.exp(-2)), rtol=1e-6)
    assert metrics["accuracy"].tolist() == [1.0] * 3
    loss, _ = objectives.generator_loss(Model(), batch, KEY)
    np.testing.assert_allclose(loss, np.log1p(np.exp(2)), rtol=1e-6)


def test_gradient_penalty_of_a_linear_and_a_quadratic_discriminator():
    """logit = w.x has slope w everywhere; logit = |x|^2 has slope 2 x."""

    class Model:
        def __init__(self, logit):
            self.logit = logit

        def sample(self, key, shape):
            return jnp.zeros((*shape, 2))

    w, x = jnp.array([3.0, -4.0]), jnp.array([[1.0, 0.0], [0.5, 2.0]])
    for logit, slopes in ((lambda x: x @ w, [25.0, 25.0]), (lambda x: (x**2).sum(-1), [4.0, 17.0])):
        plain, _ = objectives.critic_loss(Model(logit), {"x": x}, KEY)
        loss, metrics = objectives.critic_loss(
            Model(logit), {"x": x}, KEY, penalties=(objectives.r1(0.2),)
        )
        np.testing.assert_allclose(metrics["gradient_penalty"], 0.1 * np.array(slopes), rtol=1e-6)
        np.testing.assert_allclose(loss, plain + 0.1 * np.array(slopes), rtol=1e-6)


def test_an_nnx_model_serves_too():
    """Objectives know nothing of Linen: any object with the named methods will do."""

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.encoder, self.decoder = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(2, 4, rngs=rngs)

        def prior(self):
            return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)

        def posterior(self, x):
            return distrax.Independent(families.Normal()(self.encoder(x).reshape(-1, 2, 2)), 1)

        def likelihood(self, z):
            return distrax.Independent(families.Bernoulli()(self.decoder(z)[..., None]), 1)

    model = Nnx(nnx.Rngs(0))
    batch = {"x": jnp.asarray(np.random.default_rng(0).integers(0, 2, (5, 4)), jnp.float32)}
    gradients = nnx.grad(lambda m: objectives.elbo(m, batch, KEY)[0].mean())(model)
    assert all(jnp.abs(g).sum() > 0 for g in jax.tree.leaves(gradients))
    loss, _ = objectives.importance_bound(model, batch, KEY, num_samples=200)
    assert loss.shape == (5,)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: objectives.elbo(LinearGaussian(), BATCH, KEY, num_samples=0), "num_samples"),
        (lambda: objectives.iwae(LinearGaussian(), BATCH, KEY, num_samples=0), "num_samples"),
        (
            lambda: objectives.importance_bound(
                LinearGaussian(), BATCH, KEY, num_samples=50, chunk=7
            ),
            "chunk",
        ),
        (lambda: objectives.elbo(LinearGaussian(), BATCH, KEY, kl="exact"), "kl"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


def test_evaluation_numbers():
    means = np.random.default_rng(0).normal(size=(1000, 3)) * np.array([1.0, 0.05, 0.11])
    assert active_units(means) == 2
    assert bits_per_dim(np.log(2) * 10, 10) == pytest.approx(1.0)
    train, test = np.array([[0.0, 1], [0, 1], [1, 1]]), np.array([[0.0, 1], [1, 0]])
    expected = [-np.log(3 / 5) - np.log(4 / 5), -np.log(2 / 5) - np.log(1 / 5)]
    np.testing.assert_allclose(independent_bernoulli(train, test), expected)


def test_a_normal_of_dependent_columns_is_refused():
    """Rounding left about 1e-8 of the last pivot, and every second draw was accepted."""
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(100, 2))
        with pytest.raises(DataError, match="`train` must have a covariance that is not singular"):
            full_normal(np.c_[x, x.sum(1)], np.zeros((1, 3)))
        scaled = np.c_[x, x.sum(1) + 1e-3 * x[:, 0] ** 2] * np.array([1.0, 1e6, 1e-6])
        assert np.isfinite(full_normal(scaled, scaled[:5])).all()
