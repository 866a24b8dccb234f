"""Penalties of gradient descent against their minimum in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgmjax import training


def minimum(**options):
    """Of 1/2 |w - target|^2 and the penalties, after 300 steps."""
    target = jnp.array([2.0, 0.3, -1.0])
    optimiser = training.sgd(0.1, 300, **options)

    def body(_, state):
        w, moments = state
        updates, moments = optimiser.update(w - target, moments, w)
        return optax.apply_updates(w, updates), moments

    w = jnp.zeros(3)
    return np.asarray(jax.lax.fori_loop(0, 300, body, (w, optimiser.init(w)))[0])


def test_penalties_shrink_as_they_should():
    np.testing.assert_allclose(minimum(), [2.0, 0.3, -1.0], atol=1e-3)
    np.testing.assert_allclose(minimum(l2=1.0), [1.0, 0.15, -0.5], atol=1e-3)
    np.testing.assert_allclose(minimum(l1=0.5), [1.5, 0.0, -0.5], atol=1e-2)  # soft threshold
