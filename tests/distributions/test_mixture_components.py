"""Densities of every component of a mixture: the fast derivative is the plain one."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgmjax.distributions import mixture
from dgmjax.distributions.mixture import log_prob_of_each

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(2, 3, 4))
LOC, LOG_SCALE = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))


def mixture_log_prob(z, loc, log_scale):
    normals = distrax.Independent(distrax.Normal(loc, jnp.exp(log_scale)), 1)
    return log_prob_of_each(normals, z)


def truth(z, loc, log_scale):
    return stats.norm.logpdf(z[..., None, :], loc, np.exp(log_scale)).sum(-1)


@pytest.mark.parametrize("largest", [2**24, 1])
def test_values_and_slopes_equal_float64(largest, monkeypatch):
    monkeypatch.setattr(mixture, "LARGEST", largest)
    arguments = Z, LOC, LOG_SCALE
    single = tuple(np.float32(a) for a in arguments)
    np.testing.assert_allclose(mixture_log_prob(*single), truth(*arguments), rtol=1e-5)
    weights = RNG.normal(size=(2, 3, 5))
    loss = lambda *a: jnp.sum(mixture_log_prob(*a) * weights)
    slopes = jax.jit(jax.grad(loss, (0, 1, 2)))(*single)
    direction = [RNG.normal(size=a.shape) for a in arguments]
    for which, slope in enumerate(slopes):
        for index in np.ndindex(slope.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arguments]
                moved[which][index] += sign * 1e-6
                ends.append(np.sum(truth(*moved) * weights))
            assert float(slope[index]) == pytest.approx(
                (ends[0] - ends[1]) / 2e-6, rel=1e-3, abs=1e-3
            )
    _, along = jax.jvp(loss, single, tuple(np.float32(d) for d in direction))
    expected = sum(np.sum(s * d) for s, d in zip(slopes, direction))
    assert float(along) == pytest.approx(float(expected), rel=1e-4)


def test_components_of_other_kinds_take_the_plain_way():
    normals = distrax.Independent(
        distrax.Normal(jnp.zeros((3, 5, 4)), 1.0), 1
    )  # one set an example
    z = np.float32(Z[0])
    expected = np.broadcast_to(truth(Z[0], 0.0 * LOC, 0.0 * LOG_SCALE), (3, 5))
    np.testing.assert_allclose(log_prob_of_each(normals, z), expected, rtol=1e-5)
    shared = distrax.Independent(
        distrax.Normal(np.float32(LOC[:1]), np.float32(np.exp(LOG_SCALE))), 1
    )
    expected = truth(Z, LOC[:1] + 0.0 * LOG_SCALE, LOG_SCALE)
    np.testing.assert_allclose(log_prob_of_each(shared, np.float32(Z)), expected, rtol=1e-5)
    scalars = distrax.Normal(jnp.array([0.0, 1.0]), 2.0)
    found = log_prob_of_each(scalars, jnp.array([0.5]))
    np.testing.assert_allclose(found, [stats.norm.logpdf(0.5, [0.0, 1.0], 2.0)], rtol=1e-5)
