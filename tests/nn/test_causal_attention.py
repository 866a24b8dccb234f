"""Attention in blocks of queries equals the whole one in float64, and so do its derivatives."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.nn.autoregressive import attention
from dgmjax.nn.autoregressive.attention import causal_attention


def softmax_over_the_past(query, key, value):
    """The definition, site by site."""
    out = []
    for t in range(query.shape[1]):
        scores = jnp.einsum("nhd,nshd->nhs", query[:, t], key[:, : t + 1])
        weights = jax.nn.softmax(scores / np.sqrt(query.shape[-1]), -1)
        out.append(jnp.einsum("nhs,nshd->nhd", weights, value[:, : t + 1]))
    return jnp.stack(out, 1)


@pytest.mark.parametrize("length", [1, 4, 5, 11, 23])
def test_value_and_derivatives_are_those_of_the_definition(length, monkeypatch):
    monkeypatch.setattr(attention, "QUERIES", 4)
    monkeypatch.setattr(attention, "MOST_BLOCKS", 3)
    rng = np.random.default_rng(length)
    arrays = rng.normal(size=(4, 2, length, 3, 4)) * 2.0

    def everything(function, cotangent, *operands):
        out, pullback = jax.vjp(function, *operands)
        tangents = tuple(jnp.cos(operand) for operand in operands)
        return out, pullback(cotangent), jax.jvp(function, operands, tangents)[1]

    with jax.enable_x64(True):
        operands = [jnp.asarray(array) for array in arrays]
        found, expected = (
            jax.jit(lambda *a, f=f: everything(f, *a))(*operands)
            for f in (causal_attention, softmax_over_the_past)
        )
    assert found[0].dtype == jnp.float64
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), found, expected)


@pytest.mark.parametrize("shape", [(2, 0, 3, 4), (0, 5, 3, 4)])
def test_empty_sequences_and_batches(shape):
    assert causal_attention(*[jnp.zeros(shape)] * 3).shape == shape


def test_half_precision_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(attention, "QUERIES", 4)
    operands = [jnp.ones((1, 9, 2, 4), jnp.bfloat16)] * 3
    assert causal_attention(*operands).dtype == jnp.bfloat16


def test_blocks_are_for_cpus():
    function = jax.jit(causal_attention)
    products = {}
    for platform in ("cpu", "cuda", "tpu"):
        exported = jax.export.export(function, platforms=[platform])(
            *[jnp.ones((1, 256, 2, 4))] * 3
        )
        products[platform] = exported.mlir_module().count("stablehlo.dot_general")
    assert products == {"cpu": 8, "cuda": 2, "tpu": 2}
