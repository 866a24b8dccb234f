"""Failures measured in other libraries, each by name."""

import subprocess
import sys

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import bijectors as bj

from .networks import Autoregressive, Dense


def test_spline_gradient_at_a_knot_is_one_at_the_identity():
    spline = bj.RationalQuadraticSpline(8)(jnp.zeros(23))
    points = jnp.array([0.0, -3.0, 3.0, -0.75, 1.5, 2.25])
    for run in (spline.forward, spline.inverse):
        np.testing.assert_allclose(jax.vmap(jax.grad(run))(points), 1.0, atol=1e-6)


@pytest.mark.staggered
@pytest.mark.parametrize("seed", range(5))
def test_spline_gradient_at_bounds_and_outside_is_one(seed):
    spline = bj.RationalQuadraticSpline(8)(5 * jax.random.normal(jax.random.key(seed), (23,)))
    outside = jnp.array([-1e4, -3.5, np.nextafter(np.float32(3), np.float32(4)), 50.0, 1e30])
    for run in (spline.forward, spline.inverse):
        np.testing.assert_array_equal(jax.vmap(jax.grad(run))(outside), 1.0)
        np.testing.assert_allclose(jax.vmap(jax.grad(run))(jnp.array([-3.0, 3.0])), 1, rtol=1e-3)
        np.testing.assert_array_equal(jax.vmap(run)(outside), outside)


def test_spline_round_trip_in_float32_with_parameters_of_standard_deviation_five():
    params = 5 * jax.random.normal(jax.random.key(0), (4096, 23))
    z = jax.random.uniform(jax.random.key(1), (4096,), minval=-3, maxval=3)

    @jax.jit
    def error(params, z):
        spline = bj.RationalQuadraticSpline(8)(params)
        return jnp.abs(spline.inverse(spline.forward(z)) - z).max()

    assert error(params, z) < 2e-3  # distrax: 5.0


def test_spline_has_finite_gradients_for_its_parameters_outside():
    def loss(params):
        x, log_det = bj.RationalQuadraticSpline(8)(params).inverse_and_log_det(jnp.array(7.0))
        return x + log_det

    np.testing.assert_array_equal(jax.grad(loss)(jnp.ones(23)), 0.0)


def test_coupling_runs_its_transformer_on_the_transformed_part_only():
    seen = []

    class Spy:
        num_params = 2

        def __call__(self, params):
            seen.append(params.shape)
            return bj.Affine()(params)

    network = Dense((2,), (3, 2))
    conditioner = bj.Conditioner(network, network.init(jax.random.key(0)))
    bj.Coupling(bj.halves(), conditioner, Spy(), (5,)).forward(jnp.ones((7, 5)))
    network = Dense((4, 4, 1), (4, 4, 1, 2))
    conditioner = bj.Conditioner(network, network.init(jax.random.key(0)))
    bj.Coupling(bj.checkerboard(), conditioner, Spy(), (4, 4, 1)).forward(jnp.ones((7, 4, 4, 1)))
    assert seen == [(7, 3, 2), (7, 4, 2, 1, 2)]


def test_parameters_of_untouched_entries_cannot_poison_gradients():
    """A network that overflows where the mask hides it."""
    hidden = np.zeros((2, 2, 1, 2), np.float32)
    hidden[0, 0] = hidden[1, 1] = np.inf

    class Overflowing:
        def __call__(self, kept, context):
            return jnp.broadcast_to(hidden, (*kept.shape, 2)) + 0.1 * kept[..., None]

    layer = bj.Coupling(bj.checkerboard(), Overflowing(), bj.Affine(), (2, 2, 1))
    gradient = jax.grad(lambda z: layer.forward(z).sum())(jnp.ones((2, 2, 1)))
    assert jnp.isfinite(gradient).all()


def test_five_equal_couplings_are_traced_once():
    traces = []

    @jax.jit
    def forward(bijector, z):
        traces.append(1)
        return bijector.forward(z)

    network = Dense((2,), (2, 2))
    for seed in range(5):
        conditioner = bj.Conditioner(network, network.init(jax.random.key(seed)))
        forward(bj.Coupling(bj.halves(), conditioner, bj.Affine(), (4,)), jnp.ones((1, 4)))
    assert len(traces) == 1


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_a_bfloat16_network_has_float32_log_dets(kind):
    network = Dense((32,), (32, 2)) if kind == "coupling" else Autoregressive(64, 2)
    variables = compiled_start(network, jax.random.key(0), 0.3)
    # With weights of zero the parameters are the biases, whatever is fused with what.
    variables["w"] = jnp.zeros_like(variables["w"])
    half = bj.Conditioner(network, jax.tree.map(lambda a: a.astype(jnp.bfloat16), variables))
    if kind == "coupling":
        layer = bj.Coupling(bj.halves(), half, bj.Affine(), (64,))
    else:
        layer = bj.MaskedAutoregressive(half, bj.Affine())
    x = jax.random.normal(jax.random.key(1), (3, 64))
    z, log_det = jax.jit(lambda b, x: b.inverse_and_log_det(x))(layer, x)
    assert z.dtype == log_det.dtype == jnp.float32
    # The same bfloat16 parameters, summed in float64.
    raw = half(x[:, :32])[..., 1] if kind == "coupling" else half(x)[..., 1]
    exact = -np.sum(5 * np.tanh(np.asarray(raw, np.float64) / 5), axis=-1)
    np.testing.assert_allclose(log_det, exact, atol=2e-5, rtol=1e-5)


def test_bfloat16_and_integer_inputs_are_promoted():
    layer = bj.compose(bj.ElementwiseAffine(jnp.ones(3), jnp.ones(3)), bj.Permutation([2, 1, 0]))
    for dtype in (jnp.bfloat16, jnp.float16, jnp.int32):
        x, log_det = layer.forward_and_log_det(jnp.ones(3, dtype))
        assert x.dtype == log_det.dtype == jnp.float32


def test_composition_is_in_reading_order_unlike_chain():
    add, double = distrax.ScalarAffine(1.0), distrax.ScalarAffine(0.0, 2.0)
    assert bj.compose(add, double).forward(jnp.array(3.0)) == 8
    assert distrax.Chain([add, double]).forward(jnp.array(3.0)) == 7


def test_importing_bijectors_pulls_in_no_training_stack():
    code = (
        "import sys, dgmjax.bijectors as b; [getattr(b, n) for n in b.__all__]; "
        "print([m for m in ('flax', 'optax', 'orbax', 'tensorflow', 'grain') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
