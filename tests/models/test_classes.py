"""Classes of faults over every density model: dtypes, empty batches, x64, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from tables import DENSITY_MODELS, INTEGERS, contexts, data, variables

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
NAMES = list(DENSITY_MODELS)


def prepared(name):
    row = DENSITY_MODELS[name]
    model = row.make()
    return row, model, variables(row, model)


@pytest.mark.staggered
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


@pytest.mark.staggered
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


@pytest.mark.staggered
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


SMALL = models.DenseVAE((4, 4, 1), 2, (5,))
LATENT_MODELS = {
    "vae": (SMALL, {"x": (4, 4, 1)}),
    "draw": (models.DRAW((4, 4, 1), 2, 2, 5, (2, 2)), {"x": (4, 4, 1)}),
    "hamiltonian": (models.Hamiltonian(SMALL, num_steps=2, tempering="free"), {"x": (4, 4, 1)}),
    "hierarchical": (models.DenseHierarchicalVAE((4,), (2, 1), ((4,), (3,))), {"x": (4,)}),
    "very deep": (models.VeryDeepVAE((2, 2, 1), (2,), (2,), 1, 3, 2), {"x": (2, 2, 1)}),
    "vrnn": (models.VRNN((3, 2), 2, 4), {"x": (3, 2), "length": ()}),
}
"""Latent-variable models, and the shapes of an event."""


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("name", LATENT_MODELS)
def test_bounds_of_any_dtype_with_and_without_x64(name):
    """The first canvas was of the data's type, and loops changed the type of what they carry."""
    model, shapes = LATENT_MODELS[name]
    ask = {"method": objectives.elbo}

    def look(dtype):
        batch = {key: jnp.ones((3, *shape), dtype) for key, shape in shapes.items()}
        start = lambda key: model.init(key, batch, key, **ask)
        bound = lambda v, key: model.apply(v, batch, key, **ask)[0]
        variables = jax.eval_shape(start, KEY)
        narrow = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, jnp.float32), variables)
        return variables, [jax.eval_shape(bound, v, KEY) for v in (variables, narrow)]

    variables, (found, _) = look("bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert found.shape == (3,) and found.dtype == jnp.float32
    with jax.enable_x64(True):
        for dtype in ("float32", "uint8"):
            for found in look(dtype)[1]:
                assert found.shape == (3,) and found.dtype == jnp.float64


READERS = {
    "ppca": (models.PPCA(3, 2), (3,)),
    "factor analysis": (models.LinearGaussian(3, 2, "diagonal"), (3,)),
    "mixture": (models.GaussianMixture(3, 2), (3,)),
    "diagonal mixture": (models.GaussianMixture(3, 2, "diag"), (3,)),
    "draw": (models.DRAW((4, 4, 1), 2, 2, 5), (4, 4, 1)),
    "draw with windows": (models.DRAW((4, 4, 1), 2, 2, 5, (2, 2)), (4, 4, 1)),
    "very deep": (models.VeryDeepVAE((2, 2, 1), (2,), (2,), 1, 3, 2), (2, 2, 1)),
    "uncertainty": (models.UncertaintyAutoencoder((4,), 2, nn.MLP((), (4, 2))), (4,)),
}
"""Models that read points for a posterior, and the shape of one."""


@pytest.mark.parametrize("name", READERS)
def test_points_of_another_shape_are_named(name):
    model, event = READERS[name]
    read = lambda m, x: m.posterior(x).sample(seed=KEY)
    v = jax.eval_shape(lambda: model.init(KEY, jnp.zeros((2, *event)), method=read))
    for shape in ((2, *event[:-1], event[-1] + 1), event[1:], (2, 2 * event[0], *event[1:])):
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        with pytest.raises(DgmjaxError, match=r"^`(x|value)` must end in the event shape"):
            jax.eval_shape(lambda v, x: model.apply(v, x, method=read), v, x)
