"""The dense layer is flax's, in values and in gradients, whatever the batch axes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax.nn import Dense


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (2, 3, 4), (0, 3)])
def test_equals_flax(batch):
    x = jax.random.normal(jax.random.key(0), (*batch, 6))
    ours, theirs = Dense(4), nn.Dense(4)
    variables = compiled_start(theirs, jax.random.key(1), x)
    same = jax.tree.map(jnp.array_equal, variables, compiled_start(ours, jax.random.key(1), x))
    assert all(jax.tree.leaves(same))

    def loss(layer):
        return lambda variables, x: (layer.apply(variables, x) ** 2).sum()

    for function in (lambda layer: layer.apply, lambda layer: jax.grad(loss(layer), (0, 1))):
        values = function(ours)(variables, x), function(theirs)(variables, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *values)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_derives_forwards_backwards_and_under_vmap(transform):
    layer, x = Dense(4), jax.random.normal(jax.random.key(0), (2, 3, 6))
    variables = compiled_start(layer, jax.random.key(1), x)
    jacobian = jax.vmap(transform(lambda x: layer.apply(variables, x)))(x)
    kernel = variables["params"]["kernel"]
    expected = np.zeros((2, 3, 4, 3, 6), np.float32)
    expected[:, range(3), :, range(3)] = kernel.T
    np.testing.assert_allclose(jacobian, expected, atol=1e-6)
