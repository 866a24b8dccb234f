"""Distributions of latents against SciPy, quadrature and closed forms."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgmjax.distributions import AR1, Ancestral, FullNormal, Mixture, PointMass, base
from dgmjax.errors import DgmjaxError

RNG = np.random.default_rng(0)


def normal(loc, scale=1.0):
    loc = jnp.asarray(loc, jnp.float32)
    return distrax.Independent(distrax.Normal(loc, scale * jnp.ones_like(loc)), 1)


def full_normal(seed=0, batch=()):
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.normal(size=(*batch, 3, 3)), -1) + np.eye(3) * rng.uniform(0.5, 2, 3)
    return FullNormal(jnp.float32(rng.normal(size=(*batch, 3))), jnp.float32(lower))


def test_full_normal_is_scipy_s():
    p = full_normal()
    truth = scipy.stats.multivariate_normal(np.asarray(p.loc), np.asarray(p.covariance()))
    x = RNG.normal(size=(5, 3))
    np.testing.assert_allclose(p.log_prob(jnp.float32(x)), truth.logpdf(x), rtol=1e-4)
    np.testing.assert_allclose(p.entropy(), truth.entropy(), rtol=1e-5)
    draws = np.asarray(p.sample(seed=1, sample_shape=(40_000,)))
    # Standard errors of a covariance: at most sqrt(2) var / 200; five of them.
    np.testing.assert_allclose(np.cov(draws.T), p.covariance(), atol=5 * 1.5 * 8 / 200)
    np.testing.assert_allclose(draws.mean(0), p.loc, atol=5 * 3 / 200)


def test_full_normal_kl_against_the_formula_and_samples():
    q, p = full_normal(1, (2,)), full_normal(2)
    z, log_q = q.sample_and_log_prob(seed=3, sample_shape=(100_000,))
    gaps = np.asarray(log_q - p.log_prob(z), np.float64)
    error = 5 * gaps.std(0) / np.sqrt(len(gaps))
    assert (np.abs(gaps.mean(0) - q.kl_divergence(p)) < error).all()
    diagonal = normal(jnp.array([0.5, -1.0, 0.0]), 0.7)
    as_full = FullNormal(jnp.array([0.5, -1.0, 0.0]), 0.7 * jnp.eye(3))
    np.testing.assert_allclose(q.kl_divergence(diagonal), q.kl_divergence(as_full), rtol=1e-5)
    np.testing.assert_allclose(as_full.kl_divergence(diagonal), 0.0, atol=1e-6)


def test_full_normal_kl_to_a_batch_is_that_to_each():
    q, p = full_normal(1), full_normal(2, (4,))
    each = [q.kl_divergence(FullNormal(*row)) for row in zip(p.loc, p.cholesky)]
    np.testing.assert_allclose(q.kl_divergence(p), each, rtol=1e-5)
    shared = FullNormal(jnp.zeros((4, 3)), q.cholesky)  # one covariance, a batch of means
    each = [
        FullNormal(jnp.zeros(3), q.cholesky).kl_divergence(FullNormal(*row))
        for row in zip(p.loc, p.cholesky)
    ]
    np.testing.assert_allclose(shared.kl_divergence(p), each, rtol=1e-5)


def test_rows_that_share_their_components_are_drawn_independently():
    mixture = Mixture(jnp.zeros((3, 3)), normal(jnp.zeros((3, 1))))
    draws = np.asarray(mixture.sample(seed=0, sample_shape=(2, 1000)))[..., 0]
    assert draws.shape == (2, 1000, 3)
    np.testing.assert_allclose(np.corrcoef(draws.reshape(-1, 3).T), np.eye(3), atol=5 / 2000**0.5)
    parts = base.draw_batch(
        normal(jnp.array([[[[0.0]], [[9.0]]]])), jax.random.key(1), (7,), (3, 2, 4)
    )
    assert parts.shape == (7, 3, 2, 4, 1) and len(np.unique(parts)) == parts.size
    np.testing.assert_allclose(parts.mean((0, 1, 3, 4)), [0.0, 9.0], atol=5 / 84**0.5)


def test_mixture_of_normals_integrates_to_one_and_knows_its_clusters():
    components = normal([[-2.0, 0.0], [1.0, 1.0], [3.0, -1.0]], 0.8)
    mixture = Mixture(jnp.log(jnp.array([0.2, 0.5, 0.3])), components)
    line = np.linspace(-8, 8, 321, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(line, line), -1))
    mass = np.exp(np.asarray(mixture.log_prob(grid), np.float64)) * (line[1] - line[0]) ** 2
    assert mass.sum() == pytest.approx(1.0, abs=1e-4)
    shares = mixture.responsibilities(jnp.array([[-2.0, 0.0], [3.0, -1.0]]))
    np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-6)
    assert shares.argmax(-1).tolist() == [0, 2]
    draws = np.asarray(mixture.sample(seed=0, sample_shape=(20_000,)))
    np.testing.assert_allclose(draws.mean(0), mixture.mean(), atol=5 * 2.2 / np.sqrt(20_000))
    np.testing.assert_allclose((draws[:, 0] < -0.5).mean(), mass[:, line < -0.5].sum(), atol=0.02)


def test_mixture_has_batches_and_leaves_jit():
    logits = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
    make = jax.jit(lambda logits: Mixture(logits, normal(jnp.zeros((5, 3, 2)))))
    mixture = make(logits)
    assert mixture.batch_shape == (5,) and mixture.event_shape == (2,)
    assert mixture.sample(seed=0, sample_shape=(7, 4)).shape == (7, 4, 5, 2)
    # One component for all rows, the same normal: its density.
    np.testing.assert_allclose(
        mixture.log_prob(jnp.ones((7, 5, 2))), -1.0 - np.log(2 * np.pi), rtol=1e-5
    )


def chain():
    return Ancestral(
        {
            "a": lambda z: normal(jnp.zeros(2)),
            "b": lambda z: normal(z["a"] @ jnp.array([[1.0], [2.0]]), 0.5),
            "c": lambda z: normal(jnp.ones(3)),
        }
    )


def test_chain_of_normals_is_the_joint_normal():
    p = chain()
    z, log_prob = p.sample_and_log_prob(seed=0, sample_shape=(4, 6))
    assert {n: a.shape for n, a in z.items()} == {"a": (4, 6, 2), "b": (4, 6, 1), "c": (4, 6, 3)}
    w = np.array([1.0, 2.0])
    covariance = np.eye(6)
    covariance[2, 2] = w @ w + 0.25
    covariance[:2, 2] = covariance[2, :2] = w
    joint = np.concatenate([z["a"], z["b"], z["c"]], -1)
    truth = scipy.stats.multivariate_normal([0, 0, 0, 1, 1, 1], covariance).logpdf(joint)
    np.testing.assert_allclose(log_prob, truth, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(p.log_prob(z), log_prob, rtol=1e-5)
    assert p.event_shape == {"a": (2,), "b": (1,), "c": (3,)} and p.batch_shape == ()
    assert p.mean()["b"].tolist() == [0.0]


def test_chain_names_what_is_missing():
    with pytest.raises(DgmjaxError, match=r"^`value` must be a dict of the latents"):
        chain().log_prob({"a": jnp.zeros(2)})


def test_ar1_is_the_normal_of_its_covariance():
    alpha, length = np.array([0.9, -0.3]), 4
    p = AR1(jnp.float32(alpha), length)
    z = RNG.normal(size=(5, length, 2))
    lags = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    truth = sum(
        scipy.stats.multivariate_normal(np.zeros(length), a**lags).logpdf(z[..., d])
        for d, a in enumerate(alpha)
    )
    np.testing.assert_allclose(p.log_prob(jnp.float32(z)), truth, rtol=1e-4)
    draws = np.asarray(p.sample(seed=0, sample_shape=(40_000,)))
    for d, a in enumerate(alpha):
        np.testing.assert_allclose(np.cov(draws[..., d].T), a**lags, atol=5 * 1.5 / 200)


def test_committed_rate_is_the_smallest_kl_of_independent_normals():
    """Gradient descent on means and variances does not get below it, and reaches it."""
    p = AR1(jnp.array([0.8]), 5)
    precision = np.linalg.inv(0.8 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5))))
    best = FullNormal(jnp.zeros(5), jnp.diag(1.0 / np.sqrt(np.diag(precision))))
    whole = FullNormal(jnp.zeros(5), jnp.asarray(np.linalg.cholesky(np.linalg.inv(precision))))
    np.testing.assert_allclose(best.kl_divergence(whole), p.committed_rate(), rtol=1e-4)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scale = np.diag(best.cholesky) * np.exp(0.1 * rng.normal(size=5))
        other = FullNormal(jnp.float32(0.1 * rng.normal(size=5)), jnp.diag(jnp.float32(scale)))
        assert other.kl_divergence(whole) > p.committed_rate()
    assert float(AR1(jnp.array([0.8]), 1).committed_rate()) == 0.0


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: Mixture(jnp.zeros(2), normal(jnp.zeros((3, 2)))), "logits"),
        (lambda: FullNormal(jnp.zeros(2), jnp.eye(3)), "cholesky"),
        (lambda: Ancestral({}), "conditionals"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


def test_a_point_mass_is_its_vector_and_no_density():
    loc = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    p = jax.jit(PointMass)(loc)
    z, log_q = p.sample_and_log_prob(seed=0, sample_shape=(2,))
    np.testing.assert_array_equal(z, np.broadcast_to(loc, (2, 4, 3)))
    np.testing.assert_array_equal(log_q, np.inf)
    np.testing.assert_array_equal(p.log_prob(loc + 1e-3), -np.inf)
    slope = jax.grad(lambda loc: (PointMass(loc).sample(seed=0) ** 2).sum())(loc)
    np.testing.assert_allclose(slope, 2 * loc, rtol=1e-6)
