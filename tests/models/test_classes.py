"""Classes of faults over every density model: dtypes, empty batches, x64, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from tables import DENSITY_MODELS, INTEGERS, contexts, data, variables

KEY = jax.random.key(0)
NAMES = list(DENSITY_MODELS)


def prepared(name):
    row = DENSITY_MODELS[name]
    model = row.make()
    return row, model, variables(row, model)


@pytest.mark.staggered(of=5)
@pytest.mark.parametrize("name", NAMES)
def test_jit_over_concrete_variables_vmap_and_grad(name):
    """Batch normalisation looked at its variance, which was concrete, with a traced function."""
    row, model, v = prepared(name)
    x, context = jnp.asarray(data(row)), contexts(row)
    log_prob = lambda x, context: model.apply(v, x, context, method="log_prob")
    expected = jax.jit(log_prob)(x, context)
    assert expected.shape == (8,) and np.isfinite(expected).all()
    axes = (0, None if context is None else 0)
    mapped = jax.jit(jax.vmap(log_prob, axes))(x, context)
    np.testing.assert_allclose(mapped, expected, rtol=1e-4, atol=1e-4)
    grad = jax.grad(lambda v: model.apply(v, x, context, method="log_prob").sum())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(grad)(v)))


@pytest.mark.staggered
@pytest.mark.parametrize("name", NAMES)
def test_empty_batches(name):
    """`reshape(..., -1)` has no answer for an array of no entries."""
    row, model, v = prepared(name)
    x, context = jnp.zeros((0, *row.shape)), contexts(row, 0)
    log_prob = jax.eval_shape(lambda x: model.apply(v, x, context, method="log_prob"), x)
    assert log_prob.shape == (0,)
    draw = lambda key: model.apply(v, key, () if row.context else (0,), context, method="sample")
    assert jax.eval_shape(draw, KEY).shape == (0, *row.shape)


@pytest.mark.staggered(of=5)
@pytest.mark.parametrize("name", NAMES)
def test_x64_initialises_and_keeps_float64(name):
    """Parameters in float64 and points in float64 give log-densities in float64."""
    row, model, v = prepared(name)
    x, context = data(row), contexts(row)
    expected = jax.jit(lambda x: model.apply(v, x, context, method="log_prob"))(x)
    with jax.enable_x64(True):
        wide = lambda a: None if a is None else jnp.asarray(np.asarray(a, np.float64))
        x, context = wide(x), wide(context)
        init = lambda: model.init(KEY, x, context, method="log_prob")
        jax.eval_shape(init)
        log_prob = lambda v, x: model.apply(v, x, context, method="log_prob")
        assert jax.eval_shape(log_prob, v, x).shape == (8,)  # parameters of float32
        v = jax.tree.map(wide, v)
        found = jax.jit(log_prob)(v, x)
        assert found.dtype == jnp.float64
        draw = lambda key: model.apply(
            v, key, () if row.context else (2,), context, method="sample"
        )
        assert jax.eval_shape(draw, KEY).dtype in (jnp.float64, jnp.float32, jnp.int64)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.staggered(of=5)
@pytest.mark.parametrize("name", NAMES)
def test_shard_map_with_its_default_check(name):
    """Loops carried zeros that did not vary over the mesh as their bodies' results do."""
    row, model, v = prepared(name)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, context = jnp.asarray(data(row)), contexts(row)
    here, whole = PartitionSpec("data"), PartitionSpec()
    given = whole if context is None else here

    def both(key, x, context):
        key = jax.random.fold_in(key, jax.lax.axis_index("data"))
        shape = () if row.context else (4,)
        samples = model.apply(v, key, shape, context, method="sample")
        return model.apply(v, x, context, method="log_prob"), samples

    run = jax.shard_map(both, mesh=mesh, in_specs=(whole, here, given), out_specs=(here, here))
    log_prob, samples = jax.eval_shape(run, KEY, x, context)
    assert log_prob.shape == (8,) and samples.shape == (8, *row.shape)


@pytest.mark.staggered
@pytest.mark.parametrize("name", [n for n in NAMES if DENSITY_MODELS[n].levels])
def test_integer_dtypes(name):
    """Raw images are uint8: the comparison with 256 levels wrapped, and gave -inf."""
    row, model, v = prepared(name)
    x = data(row).clip(0, 127)
    run = jax.jit(lambda x: model.apply(v, x, method="log_prob"))
    expected = run(jnp.asarray(x))
    assert np.isfinite(expected).all()
    narrow = [d for d in INTEGERS if not d.endswith("64") and (d != "bool" or row.levels == 2)]
    for dtype in ("uint8", "int8") if row.levels > 2 else narrow[:2]:
        np.testing.assert_allclose(run(jnp.asarray(x, dtype)), expected, rtol=1e-5)
