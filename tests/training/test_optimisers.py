"""Penalties of gradient descent against their minimum in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgmjax import training
from dgmjax.errors import DgmjaxError


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


@pytest.mark.parametrize("make", [training.adam, training.sgd])
@pytest.mark.parametrize(
    "given, argument",
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"steps": 0}, "steps"),
        ({"schedule": "linear"}, "schedule"),
    ],
)
def test_rates_that_cannot_descend_are_named(make, given, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}` "):
        make(**({"learning_rate": 1e-3, "steps": 10} | given))


@pytest.mark.parametrize(
    "make, argument",
    [(training.adam, name) for name in ("weight_decay", "clip", "eps")]
    + [(training.sgd, name) for name in ("momentum", "l1", "l2")],
)
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_negative_penalties_are_named(make, argument, value):
    with pytest.raises(DgmjaxError, match=f"`{argument}` must be a number of at least 0"):
        make(1e-3, 10, **{argument: value})


def test_weights_stay_within_their_bound_and_move_freely_inside():
    """A step of plain descent, then the nearest point of the box."""
    optimiser = optax.chain(optax.sgd(1.0), training.keep_within(0.1))
    params = {"w": jnp.array([0.0, 0.05, -0.09]), "b": {"c": jnp.array(3.0)}}
    grads = {"w": jnp.array([0.05, -1.0, 0.5]), "b": {"c": jnp.array(0.0)}}
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_allclose(moved["w"], [-0.05, 0.1, -0.1], rtol=1e-6)
    np.testing.assert_allclose(moved["b"]["c"], 0.1, rtol=1e-6)
    with pytest.raises(DgmjaxError, match="`bound` must be a positive number"):
        training.keep_within(0.0)


def test_no_weight_is_beyond_its_bound_by_rounding():
    optimiser = training.keep_within(0.01)
    old = jax.random.uniform(jax.random.key(0), (20_000,), minval=-0.01, maxval=0.01)
    updates = jax.random.normal(jax.random.key(1), old.shape)
    moved = optax.apply_updates(old, optimiser.update(updates, optimiser.init(old), old)[0])
    assert float(jnp.abs(moved).max()) <= 0.01
    np.testing.assert_allclose(moved, jnp.clip(old + updates, -0.01, 0.01), atol=3e-9)


def test_a_group_that_is_none_cannot_decay():
    optimiser = training.adam(0.1, 10, weight_decay=0.5, decayed=("encodr",))
    with pytest.raises(DgmjaxError, match=r"^`decayed` must be groups among \['encoder'\]"):
        optimiser.init({"encoder": jnp.ones(2)})


def test_only_the_groups_that_are_named_decay():
    """Without a gradient a decayed weight shrinks by rate times decay, and no other moves."""
    params = {"encoder": {"w": jnp.ones(2)}, "decoder": {"w": jnp.ones(2)}}
    optimiser = training.adam(0.1, 10, schedule="constant", weight_decay=0.5, decayed=("decoder",))
    updates, _ = optimiser.update(
        jax.tree.map(jnp.zeros_like, params), optimiser.init(params), params
    )
    np.testing.assert_allclose(updates["decoder"]["w"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["encoder"]["w"], 0.0)
