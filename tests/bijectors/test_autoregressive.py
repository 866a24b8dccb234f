"""Masked autoregressive layers: exact structure, three ways to sample, gradients of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import bijectors as bj
from dgmjax.bijectors.masked_autoregressive import FORWARD_METHODS

from .networks import Autoregressive

SIZE = 5
NETWORK = Autoregressive(SIZE, 2, 3)
VARIABLES = NETWORK.init(jax.random.key(0))
Z = jax.random.normal(jax.random.key(1), (6, SIZE))
CONTEXT = jax.random.normal(jax.random.key(2), (6, 3))


def layer(method="incremental", variables=VARIABLES, context=CONTEXT):
    conditioner = bj.Conditioner(NETWORK, variables)
    return bj.MaskedAutoregressive(conditioner, bj.Affine(), context=context, forward_method=method)


@pytest.mark.parametrize("inverse", [False, True])
def test_jacobian_is_exactly_triangular(inverse):
    bijector = layer(context=CONTEXT[0])
    run = bijector.inverse if inverse else bijector.forward
    jacobian = np.asarray(jax.jit(jax.jacfwd(run))(Z[0]))
    np.testing.assert_array_equal(np.triu(jacobian, 1), 0.0)
    assert (np.diagonal(jacobian) > 0).all()
    assert np.abs(np.tril(jacobian, -1)).max() > 0.1


@jax.jit
def losses(variables, z, context):
    """Loss and all its gradients, by each method, in one compiled function."""

    def loss(variables, z, context, method):
        x, log_det = layer(method, variables, context).forward_and_log_det(z)
        return jnp.sum(jnp.sin(x)) + jnp.sum(log_det**2), (x, log_det)

    return {
        method: jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(
            variables, z, context, method
        )
        for method in FORWARD_METHODS
    }


def test_all_methods_agree_in_value_and_gradient():
    found = losses(VARIABLES, Z, CONTEXT)
    for method in ("incremental", "jacobi"):
        for ours, reference in zip(jax.tree.leaves(found[method]), jax.tree.leaves(found["naive"])):
            np.testing.assert_allclose(ours, reference, rtol=2e-4, atol=2e-4)


def test_forward_mode_equals_reverse_mode_through_jacobi():
    def run(z):
        return layer("jacobi").forward(z)

    tangent = jnp.cos(jnp.arange(6.0 * SIZE)).reshape(6, SIZE)
    pushed = jax.jit(lambda z: jax.jvp(run, (z,), (tangent,))[1])(Z)
    pulled = jax.jit(lambda z: jax.vjp(run, z)[1](tangent)[0])(Z)
    np.testing.assert_allclose(jnp.vdot(tangent, pushed), jnp.vdot(pulled, tangent), rtol=1e-4)


def test_network_runs_once_for_a_density_and_never_for_incremental_sampling():
    calls = []

    class Counting(Autoregressive):
        def run(self, variables, x, context=None):
            calls.append("parallel")
            return super().run(variables, x, context)

    network = Counting(SIZE, 2, 3)
    bijector = bj.MaskedAutoregressive(
        bj.Conditioner(network, VARIABLES), bj.Affine(), context=CONTEXT
    )
    bijector.forward_and_log_det(Z)
    assert calls == []
    bijector.inverse_and_log_det(Z)
    assert calls == ["parallel"]


def test_jacobi_stops_early_when_dependence_is_shallow():
    """Here only x_0 matters to the rest: two sweeps and one to see that nothing changes."""
    sweeps = []
    variables = jax.tree.map(lambda a: a, VARIABLES)
    variables["w"] = variables["w"].at[1:].set(0.0)

    class Counting(Autoregressive):
        def run(self, variables, x, context=None):
            jax.debug.callback(lambda: sweeps.append(1))
            return super().run(variables, x, context)

    network = Counting(SIZE, 2, 3)
    bijector = bj.MaskedAutoregressive(
        bj.Conditioner(network, variables), bj.Affine(), context=CONTEXT, forward_method="jacobi"
    )
    jax.block_until_ready(jax.jit(lambda b, z: b.forward(z))(bijector, Z))
    jax.effects_barrier()
    assert len(sweeps) <= 4


def test_context_broadcasts_both_ways_and_matters():
    one = layer(context=CONTEXT[0]).forward(Z)
    np.testing.assert_allclose(one[0], layer(context=CONTEXT).forward(Z)[0], rtol=1e-5)
    assert jnp.abs(one[1] - layer(context=CONTEXT).forward(Z)[1]).max() > 1e-2
    np.testing.assert_allclose(
        layer(context=CONTEXT).forward(Z[0]),
        layer(context=CONTEXT).forward(jnp.broadcast_to(Z[0], Z.shape)),
    )
    assert layer(context=CONTEXT).forward(jnp.zeros((2, 1, SIZE))).shape == (2, 6, SIZE)


def test_events_of_higher_rank_are_read_in_row_major_order():
    network = Autoregressive(4, 2)
    conditioner = bj.Conditioner(network, network.init(jax.random.key(0)))
    flat = bj.MaskedAutoregressive(conditioner, bj.Affine())
    square = bj.MaskedAutoregressive(conditioner, bj.Affine(), event_ndims=2)
    z = jax.random.normal(jax.random.key(1), (3, 2, 2))
    x, log_det = square.forward_and_log_det(z)
    flat_x, flat_log_det = flat.forward_and_log_det(z.reshape(3, 4))
    np.testing.assert_array_equal(x.reshape(3, 4), flat_x)
    np.testing.assert_array_equal(log_det, flat_log_det)


def test_inverse_autoregressive_flow_samples_in_one_pass():
    iaf = bj.Inverse(layer())
    x, log_det = iaf.forward_and_log_det(Z)
    z, back = iaf.inverse_and_log_det(x)
    np.testing.assert_allclose(z, Z, atol=1e-4)
    np.testing.assert_allclose(log_det, -back, atol=1e-4)


def test_density_integrates_to_one():
    """By quadrature on a grid, for a two-dimensional layer."""
    network = Autoregressive(2, 2)
    bijector = bj.MaskedAutoregressive(
        bj.Conditioner(network, compiled_start(network, jax.random.key(3), 0.5)), bj.Affine()
    )
    side = jnp.linspace(-30, 30, 1201)
    x = jnp.stack(jnp.meshgrid(side, side, indexing="ij"), axis=-1)
    z, log_det = bijector.inverse_and_log_det(x)
    log_prob = jax.scipy.stats.norm.logpdf(z).sum(-1) + log_det
    np.testing.assert_allclose(jnp.exp(log_prob).sum() * 0.05**2, 1.0, atol=1e-3)
