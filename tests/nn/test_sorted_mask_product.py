"""Products below a staircase equal the masked ones, and so do their slopes."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.nn.autoregressive import sorted_mask_product
from dgmjax.nn.autoregressive.sorted_mask_product import prefix_product, staircase_product

pytestmark = pytest.mark.accelerator


@pytest.mark.staggered
@pytest.mark.parametrize("least", [2, 100])  # halved, and whole
@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 9), (9, 1), (7, 12), (16, 16)])
def test_it_is_the_masked_product(rows, columns, least, monkeypatch):
    monkeypatch.setattr(sorted_mask_product, "LEAST", least)
    rng = np.random.default_rng(rows + 17 * columns)
    h, kernel = rng.normal(size=(2, 3, rows)), rng.normal(size=(rows, columns))
    weights = rng.normal(size=(2, 3, columns))
    single = np.float32(h), np.float32(kernel)
    for seen in (
        np.sort(rng.integers(0, rows + 1, columns)),
        np.zeros(columns, int),
        np.full(columns, rows),
        np.repeat([0, rows], [columns // 2, columns - columns // 2]),
    ):
        masked = kernel * (np.arange(rows)[:, None] < seen)
        found = staircase_product(*single, seen)
        np.testing.assert_allclose(found, h @ masked, atol=1e-5)
        loss = lambda h, kernel, seen=seen: (staircase_product(h, kernel, seen) * weights).sum()
        of_h, of_kernel = jax.grad(loss, (0, 1))(*single)
        np.testing.assert_allclose(of_h, weights @ masked.T, atol=1e-5)
        slope = np.einsum("abi,abj->ij", h, weights) * (np.arange(rows)[:, None] < seen)
        np.testing.assert_allclose(of_kernel, slope, atol=1e-5)


def test_what_is_masked_is_never_read():
    seen = np.arange(300)
    kernel = jnp.where(np.arange(300)[:, None] < seen, 1.0, jnp.nan)
    np.testing.assert_array_equal(staircase_product(jnp.ones((2, 300)), kernel, seen)[0], seen)


@pytest.mark.parametrize("parts", [1, 3, 4])
def test_prefix_product_leaves_out_only_zeros(parts, monkeypatch):
    monkeypatch.setattr(sorted_mask_product, "LEAST", 1)
    monkeypatch.setattr(sorted_mask_product, "PARTS", parts)
    columns, values = np.random.default_rng(parts).normal(size=(2, 7, 5)).astype(np.float32)
    for known in range(8):
        h = values * (np.arange(7)[:, None] < known)
        product = jax.jit(prefix_product)(columns, h, known)
        np.testing.assert_allclose(product, columns.T @ h, atol=1e-5)


def test_the_program_is_that_of_the_platform_it_is_lowered_for():
    seen, h, kernel = np.arange(256), jnp.ones((2, 256)), jnp.ones((256, 256))
    product = jax.jit(lambda h, kernel: staircase_product(h, kernel, seen))
    products = {}
    for platform in ("cpu", "cuda", "tpu"):
        exported = jax.export.export(product, platforms=[platform])(h, kernel)
        products[platform] = exported.mlir_module().count("stablehlo.dot_general")
    assert products == {"cpu": 3, "cuda": 1, "tpu": 1}
