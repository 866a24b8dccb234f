"""Rates, information and distortion of a linear model whose terms are known."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import evaluation
from dgmjax.errors import DgmjaxError

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
