"""Sequences of steps, padded sequences and products of normals against closed forms."""

import dataclasses

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgmjax.distributions import Factorised, Padded, Sequential, families, product_of_normals
from dgmjax.errors import DgmjaxError

T = 3


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Chain:
    """z_t ~ N(decay z_{t-1} + input_t, exp(log_scale)^2), z_{-1} = 0."""

    decay: jax.Array
    log_scale: jax.Array
    inputs: jax.Array

    def init_carry(self, batch_shape):
        return jnp.zeros((*batch_shape, 1))

    def emit(self, carry, inputs):
        loc = self.decay * carry + inputs[..., None]
        return carry, jnp.stack([loc, jnp.full_like(loc, self.log_scale)], -1)

    def absorb(self, carry, inputs, value):
        return value


def chain(decay, scale, inputs):
    raw = 10.0 * np.arctanh(np.log(scale) / 10.0)  # the family bounds log scales smoothly
    steps = Chain(jnp.float32(decay), jnp.float32(raw), jnp.asarray(inputs, jnp.float32))
    return Sequential(steps, families.Normal(), (T, 1), steps.inputs.shape[1:])


def moments(decay, scale, inputs):
    """Mean and covariance of the joint normal: z = A (input + scale noise)."""
    mix = np.array([[decay ** (i - j) if i >= j else 0.0 for j in range(T)] for i in range(T)])
    return mix @ inputs, scale**2 * mix @ mix.T


INPUTS = np.array([[0.5, -1.0], [0.2, 0.3], [-0.4, 2.0]])  # [T, B]
Q, P = (0.8, 0.5, INPUTS), (-0.3, 0.9, np.zeros((T, 2)))


def test_log_prob_is_that_of_the_joint_normal():
    z = np.random.default_rng(0).normal(size=(4, 2, T, 1))
    ours = chain(*Q).log_prob(jnp.asarray(z, jnp.float32))
    for b in range(2):
        mean, covariance = moments(*Q[:2], INPUTS[:, b])
        expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(z[:, b, :, 0])
        np.testing.assert_allclose(ours[:, b], expected, rtol=1e-4, atol=1e-4)


def test_samples_follow_the_joint_normal_and_carry_their_log_prob():
    """Means of 4000 draws within 5 standard errors; 6 numbers: one false alarm in 3e5 runs."""
    q = chain(*Q)
    draw = jax.jit(lambda q, key: q.sample_and_log_prob(seed=key, sample_shape=(4000,)))
    z, log_prob = draw(q, jax.random.key(0))
    assert z.shape == (4000, 2, T, 1)
    np.testing.assert_allclose(log_prob, q.log_prob(z), atol=1e-4)
    for b in range(2):
        mean, covariance = moments(*Q[:2], INPUTS[:, b])
        error = 5 * np.sqrt(np.diag(covariance) / 4000)
        assert (np.abs(z[:, b, :, 0].mean(0) - mean) < error).all()


def exact_kl(b):
    (m, s), (n, r) = moments(*Q[:2], INPUTS[:, b]), moments(*P[:2], P[2][:, b])
    inverse = np.linalg.inv(r)
    log_ratio = np.linalg.slogdet(r)[1] - np.linalg.slogdet(s)[1]
    return 0.5 * (np.trace(inverse @ s) + (n - m) @ inverse @ (n - m) - T + log_ratio)


def test_divergence_along_paths_is_the_kl_with_less_noise():
    """Within 5 standard errors of the KL of two joint normals, for chains and a normal prior."""
    q, p = chain(*Q), chain(*P)
    z, log_q = q.sample_and_log_prob(seed=1, sample_shape=(4000,))
    along, sampled = np.asarray(q.kl_along(p, z)), np.asarray(log_q - p.log_prob(z))
    for b in range(2):
        error = 5 * along[:, b].std() / np.sqrt(4000)
        assert abs(along[:, b].mean() - exact_kl(b)) < error
    assert (along.std(0) < sampled.std(0)).all()
    prior = distrax.Independent(distrax.Normal(jnp.zeros((T, 1)), jnp.ones((T, 1))), 2)
    along, sampled = q.kl_along(prior, z), log_q - prior.log_prob(z)
    difference = np.asarray(along - sampled)
    assert (np.abs(difference.mean(0)) < 5 * difference.std(0) / np.sqrt(4000)).all()


def test_it_leaves_jit_and_compiles_once():
    traces = []

    @jax.jit
    def log_prob(q, z):
        traces.append(1)
        return q.log_prob(z)

    made = jax.jit(
        lambda decay: chain(0.5, 0.5, INPUTS).__class__(
            Chain(decay, jnp.float32(0.0), jnp.asarray(INPUTS, jnp.float32)),
            families.Normal(),
            (T, 1),
            (2,),
        )
    )
    z = jnp.ones((2, T, 1))
    values = [log_prob(made(jnp.float32(decay)), z) for decay in (0.1, 0.7)]
    assert len(traces) == 1 and (values[0] != values[1]).all()


def test_padding_is_neither_read_nor_scored():
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(5, 2, 4, 3)), jnp.float32)
    observed = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    padded = Padded(Factorised(families.Bernoulli(), logits[..., None], (4, 3)), observed)
    x = jnp.asarray(np.random.default_rng(3).integers(0, 2, (2, 4, 3)), jnp.float32)
    garbage = jnp.where(observed[..., None] > 0, x, jnp.nan)
    rate = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    each = np.where(x > 0, np.log(rate), np.log1p(-rate)).sum(-1) * np.asarray(observed)
    assert padded.batch_shape == (5, 2)
    np.testing.assert_allclose(padded.step_log_prob(garbage), each, atol=1e-5)
    np.testing.assert_allclose(padded.log_prob(garbage), each.sum(-1), atol=1e-5)
    assert (padded.sample(seed=0, sample_shape=(6,))[:, :, 0, 2:] == 0).all()
    np.testing.assert_allclose(padded.mean()[:, 1], rate[:, 1], rtol=1e-5)
    one = Factorised(families.Bernoulli(), jnp.zeros((4, 3, 1)), (4, 3))
    drawn = Padded(one, jnp.ones((9, 4))).sample(seed=0, sample_shape=(2,))
    assert drawn.shape == (2, 9, 4, 3) and len(np.unique(drawn.reshape(18, 12), axis=0)) > 9


def test_product_of_normals_is_the_normalised_product_of_densities():
    locs, scales = [0.3, -1.0, 2.5], [0.5, 2.0, 1.2]
    grid = np.linspace(-10, 10, 20_001)
    for weights in ((1, 1, 1), (1, 0, 1), (1, 0, 0)):
        density = np.prod(
            [scipy.stats.norm(m, s).pdf(grid) ** w for m, s, w in zip(locs, scales, weights)], 0
        )
        density /= density.sum()
        mean = (grid * density).sum()
        deviation = np.sqrt(((grid - mean) ** 2 * density).sum())
        experts = [distrax.Normal(jnp.float32(m), jnp.float32(s)) for m, s in zip(locs, scales)]
        product = product_of_normals(experts, [jnp.float32(w) for w in weights])
        np.testing.assert_allclose(product.loc, mean, rtol=1e-4)
        np.testing.assert_allclose(product.scale, deviation, rtol=1e-4)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: chain(*Q).log_prob(jnp.zeros((2, T + 1, 1))), "value"),
        (lambda: chain(0.1, 1.0, np.zeros((T + 1, 2))), "steps.inputs"),
        (lambda: Sequential(chain(*Q).steps, families.Normal(), ()), "event_shape"),
        (lambda: product_of_normals([]), "experts"),
        (lambda: product_of_normals([distrax.Normal(0.0, 1.0)], [None, None]), "present"),
        (
            lambda: Padded(
                Factorised(families.Bernoulli(), jnp.zeros((4, 3, 1)), (4, 3)), jnp.ones(3)
            ),
            "observed",
        ),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()
