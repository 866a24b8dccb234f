"""Every family over every dtype of whole numbers, and over parameters of low precision."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import FAMILIES, INTEGERS

from dgmjax.distributions import Bernoulli, Categorical, Mixture, Poisson


def drawn_params(family, dtype=jnp.float32):
    noise = np.random.default_rng(0).normal(size=(6, family.num_params))
    return jnp.asarray(noise, jnp.float32).astype(dtype)


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", FAMILIES)
def test_log_prob_of_integers_is_that_of_floats(name, dtype):
    """`Categorical(256).log_prob` of uint8 was -inf: 256 levels wrap to 0 in eight bits."""
    family, levels = FAMILIES[name]
    whole = np.dtype(dtype)
    most = 1 if whole.kind == "b" else min(levels - 1, int(np.iinfo(whole).max))
    edges = np.array([0, 1, min(2, most), most // 2, most - (most > 1), most])
    value = edges.reshape(6, *[1] * family.event_ndims).repeat(max(sum(family.site_shape), 1), -1)
    value = value if family.event_ndims else value.reshape(6)
    params = drawn_params(family)
    expected = family(params).log_prob(jnp.asarray(value, jnp.float32))
    assert np.isfinite(expected).all()
    with jax.enable_x64(dtype.endswith("64")):
        found = family(params).log_prob(jnp.asarray(value.astype(whole)))
        assert found.dtype in (jnp.float32, jnp.float64)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [d for d in INTEGERS if d not in ("bool", "uint8", "int8")])
def test_categorical_refuses_levels_that_wrap_to_one_that_it_has(dtype):
    """Levels beyond the last are impossible in every dtype, also 2^32 + 1 in int64."""
    family, _ = FAMILIES["categorical"]
    with jax.enable_x64(dtype.endswith("64")):
        beyond = [4, 256, 257, int(np.iinfo(dtype).max)]
        beyond += [2**32 + 1] if dtype.endswith("64") else []
        beyond += [-1] if dtype.startswith("int") else []
        value = jnp.asarray(np.array(beyond, dtype))
        found = family(jnp.zeros((len(beyond), 4))).log_prob(value)
    np.testing.assert_array_equal(found, -np.inf)


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_of_bfloat16_give_float32_log_probabilities(name):
    """`F.Normal()` and `F.StudentT()`, called directly, summed in bfloat16."""
    family, _ = FAMILIES[name]
    params = drawn_params(family, jnp.bfloat16)
    value = jnp.ones((6, *family.site_shape))
    value = value.at[..., 1:].set(0.0) if name == "one_hot" else value
    found = family(params).log_prob(value)
    assert found.dtype == jnp.float32
    expected = family(params.astype(jnp.float32)).log_prob(value)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_rare_draws_of_bfloat16_are_as_rare_as_they_should_be():
    """Uniform numbers in bfloat16 have steps of 1/128."""
    draws = Bernoulli(jnp.full(200_000, -7.0, jnp.bfloat16)).sample(seed=0)
    assert float(draws.mean()) == pytest.approx(float(jax.nn.sigmoid(-7.0)), rel=0.3)
    draws = Categorical(jnp.zeros((100_000, 16), jnp.bfloat16)).sample(seed=0)
    np.testing.assert_allclose(
        np.bincount(draws) * 16 / 100_000, 1.0, atol=5 * (15 / 100_000) ** 0.5
    )


def test_impossible_levels_leave_a_gradient():
    p, q = Categorical(jnp.array([0.0, 1.0, -jnp.inf])), Categorical(jnp.array([1.0, 0.0, 0.5]))
    slope = jax.grad(lambda logits: Categorical(logits).kl_divergence(q))(p.logits)
    few = jax.grad(lambda a: (jax.nn.softmax(a) * (jax.nn.log_softmax(a) - q.log_probs[:2])).sum())
    np.testing.assert_allclose(slope, [*few(p.logits[:2]), 0.0], atol=1e-6)
    assert float(Poisson(-jnp.inf).log_prob(0)) == pytest.approx(0.0, abs=1e-6)


def test_gradients_by_the_parts_of_a_mixture_of_counts():
    normals = lambda loc: distrax.Independent(distrax.Normal(loc, jnp.ones((3, 2))), 1)
    total = lambda loc, z: Mixture(jnp.zeros(3), normals(loc)).log_prob(z).sum()
    loc, z = jnp.arange(6.0).reshape(3, 2), jnp.array([[1, 2], [4, 0]], jnp.uint8)
    np.testing.assert_allclose(jax.grad(total)(loc, z), jax.grad(total)(loc, jnp.float32(z)))
