"""Convolutions against XLA's own, in value and in both modes of differentiation."""

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.nn.convolution import Conv, _part, convolution

pytestmark = pytest.mark.accelerator

CASES = {  # space, taps, strides, padding, dilation
    "1d_causal": ((11,), (2,), (1,), ((4, 0),), (4,)),
    "2d_same": ((6, 5), (3, 3), (1, 1), "SAME", (1, 1)),
    "2d_strided": ((6, 7), (4, 4), (2, 2), "SAME", (1, 1)),
    "2d_valid": ((6, 5), (3, 2), (2, 1), "VALID", (1, 1)),
    "2d_raster": ((5, 5), (2, 3), (1, 1), ((1, 0), (1, 1)), (1, 1)),
    "2d_dilated": ((9, 8), (3, 3), (1, 2), ((2, 0), (1, 3)), (2, 1)),
    "3d": ((3, 4, 3), (2, 2, 2), (1, 1, 1), "SAME", (1, 1, 1)),
}


def native(x, kernel, strides, padding, dilation):
    space = "DHW"[5 - x.ndim :]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=numbers
    )


@pytest.mark.parametrize("part", [3, 2])
@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives_are_those_of_xla(name, part, monkeypatch):
    """Whole batches, and batches whose gradients are summed in parts."""
    monkeypatch.setattr("dgmjax.nn.convolution._part", lambda out: part)
    space, taps, *options = CASES[name]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, *space, 2)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*taps, 2, 4)), jnp.float32)

    def everything(function):
        y, pullback = jax.vjp(lambda *a: function(*a, *options), x, kernel)
        cotangent = jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        forward = jax.jvp(lambda *a: function(*a, *options), (x, kernel), (x + 1.0, kernel - 1.0))
        return y, pullback(cotangent), forward[1]

    for ours, theirs in zip(
        jax.tree.leaves(jax.jit(partial(everything, convolution))()),
        jax.tree.leaves(jax.jit(partial(everything, native))()),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gradient_of_a_gradient():
    """A penalty on the slope of a network differentiates twice."""
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 5, 2)), jnp.float32)
    kernel = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3, 2, 3)), jnp.float32)

    def penalty(function, kernel):
        slope = jax.grad(lambda x: jnp.sin(function(x, kernel)).sum())(x)
        return (slope**2).sum()

    plain = lambda x, kernel: native(x, kernel, (1, 1), "SAME", (1, 1))
    ours, theirs = (jax.grad(partial(penalty, f))(kernel) for f in (convolution, plain))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "devices", "part"),
    [
        ((16, 27, 28, 64), 1, 4),
        ((64, 16, 16, 8), 1, 16),
        ((400, 28, 28, 8), 1, 28),
        ((0, 28, 28, 8), 1, 4),
        ((64, 100, 8), 1, 64),
        ((64, 28, 28, 8), 8, 64),
    ],
)
def test_parts_are_multiples_of_four_and_few(shape, devices, part, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert _part(jax.eval_shape(lambda: jnp.zeros(shape))) == part


def test_parts_are_those_of_programs_for_cpus(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    x, kernel = jnp.ones((16, 28, 28, 1)), jnp.ones((3, 3, 1, 2))
    slope = jax.jit(jax.grad(lambda kernel: convolution(x, kernel).sum()))
    products = {}
    for platform in ("cpu", "cuda", "tpu"):
        module = jax.export.export(slope, platforms=[platform])(kernel).mlir_module()
        products[platform] = module.count("stablehlo.convolution")
    assert products == {"cpu": 4, "cuda": 1, "tpu": 1}


def test_module_is_flax_s():
    import flax.linen as nn

    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 3)), jnp.float32)
    ours, theirs = (make(4, (3, 3), strides=2) for make in (Conv, nn.Conv))
    variables = theirs.init(jax.random.key(0), x)
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), rtol=1e-6)


def test_kernel_gradient_inside_a_loop_has_the_layout_of_the_fast_kernels():
    """The convolutions of the transposed program read `0,..,last` orders, nothing permuted."""

    def loss(kernel, x):
        return (convolution(x, kernel) ** 2).sum()

    jaxpr = jax.make_jaxpr(jax.grad(loss, (0, 1)))(jnp.ones((3, 3, 2, 4)), jnp.ones((2, 5, 5, 2)))
    found = [
        equation.params["dimension_numbers"]
        for equation in jaxpr.jaxpr.eqns
        if equation.primitive.name == "conv_general_dilated"
    ]
    assert len(found) == 2
    for numbers in found:
        assert numbers.lhs_spec == (0, 3, 1, 2) and numbers.rhs_spec == (3, 2, 0, 1)
        assert numbers.out_spec == (0, 3, 1, 2)
