"""Every bijector of the table keeps the numerics contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.evaluation.bijector_conformance import (
    Case,
    Conformance,
    domain_points,
    special_points,
    violations,
)

from .table import ROWS

SEEDS = 3


@pytest.fixture(autouse=True)
def free_after_each_row():
    yield
    jax.clear_caches()


def build(bijector):
    return bijector.forward_and_log_det, bijector.inverse_and_log_det


@pytest.mark.parametrize("name", ROWS)
def test_numerics_contract(name):
    row = ROWS[name]
    random = np.random.default_rng(0).standard_normal((8, *row.shape))
    special = special_points(row.shape, row.extra)
    measure = Conformance(
        Case(
            build, random, special, domain_points(row.data_shape or row.shape, row.data, row.extra)
        )
    )
    for scale in (1.0, 5.0):
        for seed in range(SEEDS):
            found = measure(row.make(jax.random.key(seed), scale))
            assert violations(found, scale, row.data) == {}


@pytest.mark.parametrize("name", ROWS)
def test_is_a_pytree_and_compiles_once(name):
    row = ROWS[name]
    traces = []

    @jax.jit
    def forward(bijector, z):
        traces.append(name)
        return bijector.forward_and_log_det(z)

    z = jnp.zeros((2, *row.shape))
    built = [row.make(jax.random.key(seed), 1.0) for seed in range(3)]
    for bijector in built:
        forward.trace(bijector, z)
    assert len(traces) == 1
    assert jax.tree.structure(built[0]) == jax.tree.structure(built[2])
    leaves, structure = jax.tree.flatten(built[0])
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is type(built[0])
    assert again.event_ndims_in == built[0].event_ndims_in == len(row.shape)
    # Every leaf is something to train: integers and masks are part of the structure.
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)


def test_the_suite_sees_a_wrong_gradient_and_a_wrong_sign():
    def broken(params):
        def forward(z):
            value = jnp.where(z > 0, z * jnp.exp(params), jax.lax.stop_gradient(z) + 0.5 * z)
            return value, -params * jnp.ones(z.shape[0])

        return forward, lambda x: (x, jnp.zeros(x.shape[0]))

    points = special_points((1,))
    found = Conformance(Case(broken, points, points, points))(jnp.array(0.7))
    assert found["gradient"] > 0.1
    assert found["log_det"] > 0.5
    assert found["round_trip"] > 0.1
    assert found["finite_values"]


def test_the_suite_sees_nan_gradients():
    def broken(params):
        def forward(z):
            return jnp.where(z > 0, jnp.sqrt(z), z) + params, jnp.zeros(z.shape[0])

        return forward, forward

    points = special_points((1,))
    found = Conformance(Case(broken, points, points, points))(jnp.array(0.0))
    assert found["finite_values"] and not found["finite_gradients"]
