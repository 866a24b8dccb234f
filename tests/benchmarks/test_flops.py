"""Operations of programs against counts by hand."""

import jax
import jax.numpy as jnp

from benchmarks.flops import flops, matrix_peak
from dgmjax.bijectors.carry import by_platform


def test_products_convolutions_loops_and_branches():
    a, b = jnp.ones((3, 4)), jnp.ones((4, 5))
    assert flops(jnp.matmul, a, b) == 2 * 3 * 4 * 5
    assert flops(jnp.matmul, jnp.ones((7, 3, 4)), b) == 7 * 2 * 3 * 4 * 5
    # The value and two products of its size.
    assert flops(jax.grad(lambda a, b: (a @ b).sum(), (0, 1)), a, b) == 3 * 120
    scan = lambda c: jax.lax.scan(lambda c, _: (c @ c, None), c, None, length=6)[0]
    assert flops(jax.jit(scan), jnp.ones((3, 3))) == 6 * 2 * 27
    branches = lambda a, b: by_platform(lambda a, b: a @ b, lambda a, b: a @ b + a @ b, a, b)
    assert flops(branches, a, b) == 2 * 120
    image, kernel = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 5))
    numbers = ("NHWC", "HWIO", "NHWC")
    conv = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=numbers
    )
    assert flops(conv, image, kernel) == 2 * (2 * 6 * 6 * 5) * (3 * 3 * 3)


def test_the_peak_is_a_speed():
    assert 1e8 < matrix_peak(256, 2) < 1e16
