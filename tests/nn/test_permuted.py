"""Permutations whose gradient is the inverse permutation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.nn.autoregressive.permuted import permuted

VALUES = np.random.default_rng(0).normal(size=(7, 5, 6)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_values_and_gradients_are_those_of_plain_indexing(axis):
    order = np.random.default_rng(axis).permutation(VALUES.shape[axis])
    weights = np.random.default_rng(9).normal(size=VALUES.shape).astype(np.float32)

    def cubed(look_up):
        return lambda values: jnp.sum(weights * look_up(values) ** 3)

    ours = cubed(lambda values: permuted(values, jnp.asarray(order), axis))
    plain = cubed(lambda values: jnp.take(values, order, axis))
    np.testing.assert_array_equal(permuted(VALUES, order, axis), np.take(VALUES, order, axis))
    np.testing.assert_allclose(jax.grad(ours)(VALUES), jax.grad(plain)(VALUES), rtol=1e-6)


def test_gradient_does_not_scatter():
    def total(values, order):
        return jnp.sum(permuted(values, order) ** 2)

    assert "scatter" not in str(jax.make_jaxpr(jax.grad(total))(VALUES, jnp.arange(7)))


def test_batched_and_mapped():
    orders = jnp.asarray([np.random.default_rng(seed).permutation(7) for seed in range(3)])

    def gradient(order):
        return jax.grad(lambda values: jnp.sum(jnp.exp(permuted(values, order))))(VALUES)

    expected = np.broadcast_to(np.exp(VALUES), (3, *VALUES.shape))
    np.testing.assert_allclose(jax.vmap(gradient)(orders), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.lax.map(gradient, orders), expected, rtol=1e-6)
