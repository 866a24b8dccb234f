"""Concrete distributions by quadrature; one-hot categories by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from dgmjax.distributions import (
    Bernoulli,
    OneHotCategorical,
    RelaxedBernoulli,
    RelaxedCategorical,
    discrete_sites,
    families,
)
from dgmjax.distributions.relaxation import BINARY, ONE_HOT
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
LOGITS = np.array([0.5, -0.8, 0.2], np.float32)
NUM = 20_000
SIGMAS = 4.5  # of one comparison: an error rate of 7e-6


def shares_agree(share, mass):
    assert abs(share - mass) < SIGMAS * np.sqrt(mass * (1 - mass) / NUM) + 2e-3


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_relaxed_bernoulli_integrates_to_one_and_samples_follow_it(temperature):
    """In t = logit(y) over the line, and in y through the change of variables."""
    t = np.linspace(-150.0, 150.0, 60_001)
    unbounded = RelaxedBernoulli(temperature, 0.7, unbounded=True)
    density = np.exp(np.asarray(unbounded.log_prob(jnp.float32(t)), np.float64)) * (t[1] - t[0])
    assert density.sum() == pytest.approx(1.0, abs=1e-4)
    inside = np.abs(t) < 6
    y = 1.0 / (1.0 + np.exp(-t[inside]))
    bounded = RelaxedBernoulli(temperature, 0.7).log_prob(jnp.float32(y))
    jacobian = np.log(y) + np.log1p(-y)
    expected = np.log(density[inside] / (t[1] - t[0])) - jacobian
    np.testing.assert_allclose(bounded, expected, rtol=1e-3, atol=1e-3)
    samples = RelaxedBernoulli(temperature, 0.7).sample(seed=KEY, sample_shape=(NUM,))
    for edge in (0.2, 0.5, 0.9):
        shares_agree((samples < edge).mean(), density[t < np.log(edge / (1 - edge))].sum())
    assert 1 - density[t < 0].sum() == pytest.approx(1 / (1 + np.exp(-0.7)), abs=2e-3)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_relaxed_categorical_integrates_to_one_and_samples_follow_it(temperature):
    """Over the simplex, parameterised by the softmax of (a, b, 0), whose Jacobian is y1 y2 y3."""
    line = np.linspace(-40.0, 40.0, 801)
    a, b = np.meshgrid(line, line, indexing="ij")
    y = softmax(np.stack([a, b, np.zeros_like(a)], -1), axis=-1)
    distribution = RelaxedCategorical(temperature, LOGITS)
    with jax.enable_x64(True):
        log_prob = np.asarray(
            RelaxedCategorical(temperature, jnp.asarray(LOGITS)).log_prob(jnp.asarray(y))
        )
    mass = np.exp(log_prob) * y.prod(-1) * (line[1] - line[0]) ** 2
    assert mass.sum() == pytest.approx(1.0, abs=1e-3)
    samples = np.asarray(distribution.sample(seed=KEY, sample_shape=(NUM,)))
    largest = samples.argmax(-1)
    for k, probability in enumerate(softmax(LOGITS)):
        shares_agree((largest == k).mean(), probability)
        shares_agree((samples[:, k] > 0.8).mean(), mass[y[..., k] > 0.8].sum())


def test_unbounded_categories_have_finite_densities_where_bounded_ones_vanish():
    low = RelaxedCategorical(0.01, LOGITS, unbounded=True)
    t, log_prob = low.sample_and_log_prob(seed=KEY, sample_shape=(1000,))
    assert jnp.isfinite(log_prob).all() and (low.bounded(t) == 0).any()
    warm = RelaxedCategorical(1.0, LOGITS)
    y = warm.sample(seed=KEY, sample_shape=(50,))
    other = RelaxedCategorical(1.0, LOGITS, unbounded=True).log_prob(jnp.log(y))
    np.testing.assert_allclose(other - jnp.log(y).sum(-1), warm.log_prob(y), rtol=1e-4, atol=1e-4)
    binary = RelaxedBernoulli(0.01, jnp.array([-30.0, 0.0, 30.0]), unbounded=True)
    t, log_prob = binary.sample_and_log_prob(seed=KEY, sample_shape=(100,))
    assert jnp.isfinite(log_prob).all() and ((binary.bounded(t) == 0) | (t > 0)).any()


def test_shapes_and_pytrees():
    temperature = jnp.array([[0.5], [1.0]])
    relaxed = RelaxedCategorical(temperature, jnp.zeros((4, 3)))
    assert relaxed.batch_shape == (2, 4) and relaxed.event_shape == (3,)
    y = jax.jit(lambda d: d.sample(seed=KEY, sample_shape=(5,)))(relaxed)
    assert y.shape == (5, 2, 4, 3)
    assert jax.jit(lambda d, y: d.log_prob(y))(relaxed, y).shape == (5, 2, 4)
    assert RelaxedBernoulli(temperature, jnp.zeros(4)).sample(seed=0).shape == (2, 4)


def test_one_hot_categories_by_enumeration():
    q, p = OneHotCategorical(jnp.asarray(LOGITS)), OneHotCategorical(jnp.array([0.0, 1.0, -1.0]))
    every = jnp.eye(3)
    probs = np.exp(np.asarray(q.log_prob(every), np.float64))
    np.testing.assert_allclose(probs, softmax(LOGITS), rtol=1e-5)
    np.testing.assert_allclose(q.mean(), probs, rtol=1e-5)
    expected = (probs * np.asarray(q.log_prob(every) - p.log_prob(every))).sum()
    np.testing.assert_allclose(q.kl_divergence(p), expected, rtol=1e-5)
    np.testing.assert_allclose(q.entropy(), -(probs * np.log(probs)).sum(), rtol=1e-5)
    samples = q.sample(seed=KEY, sample_shape=(NUM,))
    assert set(np.unique(samples)) == {0.0, 1.0} and (samples.sum(-1) == 1).all()
    for k in range(3):
        shares_agree(samples[:, k].mean(), probs[k])
    assert q.mode().tolist() == [1.0, 0.0, 0.0]
    family = families.OneHotCategorical(3)
    x = jnp.eye(3)[jnp.array([0, 0, 1, 2])][:, None]
    np.testing.assert_allclose(jnp.exp(family.marginal(x))[0], [0.4667, 0.2667, 0.2667], atol=1e-3)


@pytest.mark.parametrize("relaxation", [BINARY, ONE_HOT], ids=["binary", "one_hot"])
def test_noise_drawn_again_keeps_the_value_and_has_the_conditional_gradient(relaxation):
    """E over noise of d/da h(zeta) is that of d/da h(zeta') plus h(zeta) d log q(z)/da."""
    logits = jnp.array([[-1.0, 0.3], [2.0, -4.0], [0.0, 30.0]])
    zeta = relaxation.perturb(KEY, logits, (200,))
    again = relaxation.again(logits, zeta)
    np.testing.assert_allclose(again, zeta, rtol=1e-3, atol=1e-4)
    assert jnp.isfinite(jax.grad(lambda a: relaxation.again(a, zeta).sum())(logits)).all()
    a = jnp.array([0.4]) if relaxation is BINARY else jnp.asarray(LOGITS)
    weights = jnp.arange(1.0, 1.0 + a.size)
    h = lambda zeta: (jnp.tanh(zeta / 2) * weights).sum()

    def one(key):
        zeta = relaxation.perturb(key, a, ())
        z, noise = relaxation.harden(zeta), zeta - a
        if relaxation is BINARY:
            score = jax.grad(lambda a: Bernoulli(a).log_prob(z).sum())(a)
            path = jax.grad(lambda a: h(a + noise))(a)
        else:
            score = jax.grad(lambda a: OneHotCategorical(a).log_prob(z))(a)
            path = jax.grad(lambda a: h(jax.nn.log_softmax(a) + zeta - jax.nn.log_softmax(LOGITS)))(
                a
            )
        return path - jax.grad(lambda a: h(relaxation.again(a, zeta)))(a) - h(zeta) * score

    each = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, NUM)), np.float64)
    z = each.mean(0) / (each.std(0) / np.sqrt(NUM))
    assert np.abs(z).max() < SIGMAS, z


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: RelaxedBernoulli(0.0, 0.0), "temperature"),
        (lambda: RelaxedCategorical(-1.0, jnp.zeros(3)), "temperature"),
        (lambda: RelaxedCategorical(float("nan"), jnp.zeros(3)), "temperature"),
        (lambda: families.OneHotCategorical(1), "levels"),
        (lambda: discrete_sites(families.Normal()(jnp.zeros((3, 2)))), "model"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
