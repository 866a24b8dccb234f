"""Convolutions against XLA's own, in value and in both modes of differentiation."""

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start

from dgmjax.nn.convolution import Conv, TapConv, _part, convolution, convolution_by_taps

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


@pytest.mark.parametrize("how", ["whole", "parts", "taps", "gathered_taps"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives_are_those_of_xla(name, how, monkeypatch):
    """Whole batches, batches whose gradients are summed in parts, and products for each tap."""
    monkeypatch.setattr("dgmjax.nn.convolution._part", lambda out: 2 if how == "parts" else 3)
    monkeypatch.setattr("dgmjax.nn.convolution.NARROW", 3 if how == "gathered_taps" else 2)
    tested = convolution_by_taps if "taps" in how else convolution
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
        jax.tree.leaves(jax.jit(partial(everything, tested))()),
        jax.tree.leaves(jax.jit(partial(everything, native))()),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tested", [convolution, convolution_by_taps])
@pytest.mark.parametrize("along", ["x", "kernel"])
def test_a_derivative_along_one_operand_has_no_part_of_the_other(tested, along):
    x, kernel = jnp.ones((2, 5, 5, 1)), jnp.arange(9.0).reshape(3, 3, 1, 1)

    def derivative(function, dx, dkernel):
        if along == "x":
            return jax.jvp(lambda x: function(x, kernel), (x,), (dx,))[1]
        return jax.jvp(lambda kernel: function(x, kernel), (kernel,), (dkernel,))[1]

    tangents = (jnp.sin(jnp.arange(50.0)).reshape(x.shape), jnp.cos(kernel))
    alone = str(jax.make_jaxpr(partial(derivative, tested))(*tangents))
    both = lambda *tangents: jax.jvp(tested, (x, kernel), tangents)[1]
    operations = ("conv_general_dilated", "dot_general")
    count = lambda program: sum(program.count(f" {name}[") for name in operations)
    assert 0 < count(alone) < count(str(jax.make_jaxpr(both)(*tangents)))
    native_same = lambda x, kernel: native(x, kernel, (1, 1), "SAME", (1, 1))
    wanted = derivative(native_same, *tangents)
    np.testing.assert_allclose(derivative(tested, *tangents), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tested", [convolution, convolution_by_taps])
def test_gradient_of_a_gradient(tested):
    """A penalty on the slope of a network differentiates twice."""
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 5, 2)), jnp.float32)
    kernel = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3, 2, 3)), jnp.float32)

    def penalty(function, kernel):
        slope = jax.grad(lambda x: jnp.sin(function(x, kernel)).sum())(x)
        return (slope**2).sum()

    plain = lambda x, kernel: native(x, kernel, (1, 1), "SAME", (1, 1))
    ours, theirs = (jax.grad(partial(penalty, f))(kernel) for f in (tested, plain))
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


def test_slopes_by_taps_are_products_in_programs_for_cpus():
    """No convolution is left, also not in the gradient of a penalty on a slope."""
    x = jnp.ones((4, 5, 5, 2))

    def penalty(kernel):
        slope = jax.grad(lambda x: jnp.sin(convolution_by_taps(x, kernel)).sum())(x)
        return (slope**2).sum()

    kernel, convolutions = jnp.ones((2, 2, 2, 3)), {}
    for platform in ("cpu", "cuda"):
        module = jax.export.export(jax.jit(jax.grad(penalty)), platforms=[platform])(kernel)
        convolutions[platform] = module.mlir_module().count("stablehlo.convolution")
    assert convolutions["cpu"] == 0 < convolutions["cuda"]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("num", [0, 2])
def test_types_and_empty_batches_by_taps(dtype, num):
    x, kernel = jnp.ones((num, 5, 4, 2), dtype), jnp.ones((2, 2, 2, 3), dtype)
    loss = lambda x, kernel: convolution_by_taps(x, kernel).sum()
    by_x, by_kernel = jax.jit(jax.grad(loss, (0, 1)))(x, kernel)
    assert (by_x.dtype, by_kernel.dtype, by_x.shape) == (dtype, dtype, x.shape)
    each = jax.vmap(lambda x: convolution_by_taps(x[None], kernel)[0])(x) if num else None
    if num:
        np.testing.assert_array_equal(each, convolution_by_taps(x, kernel))
        # A tap of SAME reaches 4 x 3 pixels inside, or as many as the border leaves it.
        assert by_kernel[0, 0, 0, 0] == num * 5 * 4 and by_kernel[1, 1, 0, 0] == num * 4 * 3


@pytest.mark.parametrize("layer", [Conv, TapConv])
def test_module_is_flax_s(layer):
    import flax.linen as nn

    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 3)), jnp.float32)
    ours, theirs = (make(4, (3, 3), strides=2) for make in (layer, nn.Conv))
    variables = compiled_start(theirs, jax.random.key(0), x)
    np.testing.assert_allclose(
        applied(ours, variables, x), applied(theirs, variables, x), atol=1e-6
    )


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
