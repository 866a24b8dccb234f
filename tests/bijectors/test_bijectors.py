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
from dgmjax.evaluation.bijector_uses import USES, Subject, unusable

from .table import ROWS

SEEDS = 3


@pytest.fixture(autouse=True)
def free_after_each_row():
    yield
    jax.clear_caches()


def build(bijector):
    return bijector.forward_and_log_det, bijector.inverse_and_log_det


@pytest.mark.staggered
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


@pytest.mark.staggered
@pytest.mark.parametrize("name", ROWS)
def test_is_usable_wherever_an_array_is(name):
    row = ROWS[name]
    z = np.random.default_rng(0).standard_normal((4, *row.shape)).astype(np.float32)
    x = domain_points(row.data_shape or row.shape, row.data)[:4].astype(np.float32)
    bijector = row.make(jax.random.key(0), 1.0)
    assert unusable(Subject(lambda made: made, build, bijector, z, x)) == {}


class Plain:
    """x = z + b, as a pytree, with faults to be found."""

    fault = ""

    def __init__(self, b):
        self.b = b

    def forward_and_log_det(self, z):
        if self.fault == "float64":
            z = z.astype(jnp.float32)
        if self.fault == "empty batch":
            z = z.reshape(-1, z.shape[-1]) if len(z) else z.reshape(*z.shape, -1)
        if self.fault == "argument of jit":
            assert np.asarray(self.b).shape == (2,)
        if self.fault == "shard_map":
            zeros = jnp.zeros(z.shape)
            z = jax.lax.fori_loop(0, 1, lambda _, total: total + z, zeros)
        return z + self.b, jnp.zeros_like(z[:, 0])

    def inverse_and_log_det(self, x):
        return x - self.b, jnp.zeros_like(x[:, 0])


def subject(fault):
    """Of a class of its own, registered with the fault."""
    kind = type("Faulty", (Plain,), {"fault": fault})
    hidden = ("parameters as leaves", "one trace")
    flatten = lambda made: ((), made.b) if made.fault in hidden else ((made.b,), None)

    def unflatten(aux, children):
        made = object.__new__(kind)
        made.b = aux if kind.fault in hidden else children[0]
        if kind.fault in ("tree.map", "optax.masked"):
            made.b = made.b + 0.0  # refuses what is no number
            assert not isinstance(children[0], bool)
        return made

    jax.tree_util.register_pytree_node(kind, flatten, unflatten)
    points = np.ones((3, 2), np.float32)

    def make(b):
        if fault == "made inside jit":
            assert float(jnp.abs(b).max()) > 0
        return kind(b)

    return Subject(make, build, jnp.ones(2), points, points)


def test_the_suite_sees_every_use_that_fails():
    assert unusable(subject("")) == {}
    for name in USES:
        if name != "grad by the bijector":  # fails with those before it
            assert name in unusable(subject(name)), name


@pytest.mark.staggered
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
