"""Bijectors and distributions as complete pytrees, tried with the libraries that rebuild trees."""

import pickle

import distrax
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scrambling import applied, compiled_start, perturbed

from dgmjax import bijectors as bj, distributions, models
from dgmjax.distributions import families

from .networks import Dense
from .table import ROWS

KEY = jax.random.key(0)


def nested():
    """A composition of several levels: a context, a network, static fields, no arrays at all."""
    network = Dense((2,), (2, 2), 2)
    conditioner = bj.Conditioner(network, compiled_start(network, KEY))
    context = jnp.array([0.3, -1.2])
    coupling = bj.Coupling(bj.halves(), conditioner, bj.Affine(), (4,), context=context)
    scale = bj.Block(bj.ElementwiseAffine(jnp.ones(4), jnp.full(4, 0.1)), 1)
    return bj.compose(coupling, bj.Inverse(scale), bj.Permutation([2, 0, 3, 1]))


LEAVES = (True, None, 0, "label", 1.5, object(), jax.ShapeDtypeStruct((2,), jnp.float32))


@pytest.mark.staggered
@pytest.mark.parametrize("name", ROWS)
def test_leaves_of_any_type_survive(name):
    """distrax drops booleans, integers, strings and shardings from the tree."""
    bijector = ROWS[name].make(KEY, 1.0)
    leaves, structure = jax.tree.flatten(bijector)
    for leaf in LEAVES:
        replaced = jax.tree.map(lambda _, leaf=leaf: leaf, bijector)
        assert jax.tree.leaves(replaced) == ([] if leaf is None else [leaf] * len(leaves))
        if leaf is not None:
            assert jax.tree.structure(replaced) == structure
    back = jax.tree.unflatten(structure, leaves)
    assert jax.tree.structure(back) == structure and back == bijector


def test_keys_name_the_attributes():
    paths = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(nested())
    ]
    assert paths == [
        ".bijectors[0].conditioner.variables['b']",
        ".bijectors[0].conditioner.variables['w']",
        ".bijectors[0].context",
        ".bijectors[1].bijector.bijector.log_scale",
        ".bijectors[1].bijector.bijector.shift",
    ]


def test_an_attribute_that_mixes_arrays_and_others_comes_apart_and_together():
    chain = distributions.Ancestral(
        {
            "a": lambda z: distrax.Normal(0.0, 1.0),
            "b": jax.tree_util.Partial(distrax.Normal, jnp.ones(())),
        }
    )
    assert jax.tree.leaves(jax.tree.map(lambda _: True, chain)) == [True]
    np.testing.assert_array_equal(jax.tree.leaves(jax.jit(lambda d: d)(chain)), 1.0)


def gradient(bijector):
    return jax.grad(lambda b: jnp.sum(b.forward(jnp.ones(4)) ** 2))(bijector)


@pytest.mark.parametrize("kind", ["masked", "adamw", "multi_transform"])
def test_optax_masks_and_labels(kind):
    """Only the arrays of the coupling's network move."""
    bijector = nested()
    mask = jax.tree_util.tree_map_with_path(
        lambda path, _: "variables" in jax.tree_util.keystr(path), bijector
    )
    if kind == "masked":
        optimiser = optax.chain(
            optax.masked(optax.sgd(0.1), mask),
            optax.masked(optax.set_to_zero(), jax.tree.map(lambda m: not m, mask)),
        )
    elif kind == "adamw":
        optimiser = optax.adamw(0.0, weight_decay=0.0, mask=mask)
    else:
        labels = jax.tree.map(lambda m: "move" if m else "stay", mask)
        optimiser = optax.multi_transform(
            {"move": optax.sgd(0.1), "stay": optax.set_to_zero()}, labels
        )
    updates, _ = optimiser.update(gradient(bijector), optimiser.init(bijector), bijector)
    moved = jax.tree.map(lambda u: bool(jnp.any(u != 0)), updates)
    wanted = jax.tree.map(lambda m: m and kind != "adamw", mask)
    assert jax.tree.leaves(moved) == jax.tree.leaves(wanted)


def test_lowering_compiling_and_exporting():
    bijector, x = nested(), jnp.ones((3, 4))
    run = jax.jit(lambda b, x: b.forward(x))
    expected = bijector.forward(x)
    np.testing.assert_allclose(run.lower(bijector, x).compile()(bijector, x), expected, rtol=1e-6)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), bijector)
    compiled = run.lower(shapes, jax.ShapeDtypeStruct(x.shape, x.dtype)).compile()
    np.testing.assert_allclose(compiled(bijector, x), expected, rtol=1e-6)
    exported = jax.export.export(run)(shapes, jax.ShapeDtypeStruct(x.shape, x.dtype))
    np.testing.assert_allclose(exported.call(bijector, x), expected, rtol=1e-6)


def test_hessian_with_respect_to_a_bijector():
    """x = m + e^s z: the second derivative of x^2 by m is 2, by m and s 2 e^s z."""
    affine = bj.ElementwiseAffine(jnp.array(0.5), jnp.array(0.3))
    hessian = jax.hessian(lambda b: b.forward(jnp.array(2.0)) ** 2)(affine)
    slope = 2.0 * np.exp(0.3)
    np.testing.assert_allclose(hessian.shift.shift, 2.0, rtol=1e-6)
    np.testing.assert_allclose(hessian.shift.log_scale, 2.0 * slope, rtol=1e-6)
    expected = 2.0 * slope**2 + 2.0 * (0.5 + slope) * slope
    np.testing.assert_allclose(hessian.log_scale.log_scale, expected, rtol=1e-6)


def test_vmap_with_a_tree_of_axes():
    matrices = jax.random.normal(KEY, (3, 3, 4))
    made = jax.vmap(lambda m: bj.ElementwiseAffine(m[0], m[1]), in_axes=0)(matrices)
    axes = jax.tree.map(lambda _: 0, made)
    out = jax.vmap(lambda b, x: b.forward(x), in_axes=(axes, None))(made, jnp.ones(4))
    np.testing.assert_allclose(out, matrices[:, 0] + jnp.exp(matrices[:, 1]), rtol=1e-6)


def test_device_put_with_a_tree_of_shardings():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    placed = jax.device_put(nested(), jax.tree.map(lambda _: replicated, nested()))
    assert {a.sharding for a in jax.tree.leaves(placed)} == {replicated}
    assert placed == nested()


def test_equinox_partitions_filters_and_replaces():
    eqx = pytest.importorskip("equinox")
    bijector = nested()
    arrays, rest = eqx.partition(bijector, eqx.is_array)
    assert len(jax.tree.leaves(arrays)) == 5 and jax.tree.leaves(rest) == []
    assert eqx.combine(arrays, rest) == bijector
    found = eqx.filter_grad(lambda b: jnp.sum(b.forward(jnp.ones(4)) ** 2))(bijector)
    jax.tree.map(np.testing.assert_array_equal, found, gradient(bijector))
    place = lambda b: b.bijectors[1].bijector.bijector.shift
    replaced = eqx.tree_at(place, bijector, jnp.zeros(4))
    np.testing.assert_array_equal(place(replaced), 0.0)


def test_numpyro_samples_and_scores_with_a_bijector():
    """Its transformed distribution has the density of ours, and its samples invert to the base."""
    dist = pytest.importorskip("numpyro.distributions")
    bijector = nested()
    normal = dist.Normal(0.0, 1.0).expand([4]).to_event(1)
    made = dist.TransformedDistribution(normal, bj.to_numpyro(bijector))
    own = distributions.Transformed(
        distrax.Independent(distrax.Normal(jnp.zeros(4), jnp.ones(4)), 1), bijector
    )
    x, intermediates = made.sample_with_intermediates(KEY, (5,))
    np.testing.assert_allclose(made.log_prob(x, intermediates), own.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(made.log_prob(x), own.log_prob(x), rtol=1e-5)
    assert made.event_shape == (4,)
    leaves = jax.tree.leaves(bj.to_numpyro(bijector))
    assert len(leaves) == 5 and bj.to_numpyro(bijector) == bj.to_numpyro(nested())


def test_equal_bijectors_are_equal_hash_alike_and_show_what_they_hold():
    first, second = nested(), nested()
    assert first == second and hash(first) == hash(second) and len({first, second}) == 1
    assert first != jax.tree.map(lambda a: a + 1, first)
    assert bj.Planar(jnp.ones(2), jnp.ones(2), jnp.ones(())) != bj.Planar(
        jnp.ones(2), jnp.ones(2), jnp.ones(()), slope_floor=0.1
    )
    assert repr(first.bijectors[1]) == (
        "Inverse(bijector=Block(bijector=ElementwiseAffine(log_scale=float32[4], "
        "shift=float32[4]), ndims=1))"
    )


def test_equal_bijectors_compile_once_as_static_arguments_and_as_trees():
    traces = []

    def run(bijector, x):
        traces.append(1)
        return bijector.forward(x)

    static, tree = jax.jit(run, static_argnums=0), jax.jit(run)
    for _ in range(3):
        static(bj.Permutation([1, 0]), jnp.ones(2))
        tree(nested(), jnp.ones(4))
        tree(jax.tree.map(lambda a: a * 1, nested()), jnp.ones(4))
    assert len(traces) == 2


@pytest.mark.parametrize("name", ROWS)
def test_bijectors_pickle(name):
    bijector = ROWS[name].make(KEY, 1.0)
    assert pickle.loads(pickle.dumps(bijector)) == bijector
    rebuilt = jax.jit(lambda b: b)(bijector)
    assert pickle.loads(pickle.dumps(rebuilt)) == bijector


FLOWS = {
    "maf": lambda: models.MAF(3, 2, (8,)),
    "spline": lambda: models.NeuralSplineFlow(4, 2, (8,), activation=linen.tanh),
    "realnvp": lambda: models.RealNVP(3, 2, (8,), activation=linen.silu),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", FLOWS)
def test_models_and_fitted_flows_pickle(name):
    """Compiled activations at the level of a module, `relu` first of all, did not."""
    flow = FLOWS[name]()
    x = jax.random.normal(KEY, (5, flow.event_shape[0]))
    variables = perturbed(compiled_start(flow, KEY, x, method="log_prob"))
    again = pickle.loads(pickle.dumps(flow))
    assert again == flow
    fitted = applied(flow, variables)
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.log_prob(x), fitted.log_prob(x))


def test_activations_pickle_by_name():
    for activation in (linen.relu, linen.elu, linen.softplus, jnp.tanh, linen.gelu):
        assert pickle.loads(pickle.dumps(activation)) is activation


def test_distributions_are_trees_with_leaves_of_any_type():
    made = [
        families.Bernoulli()(jnp.zeros((3, 1))),
        families.Categorical(4)(jnp.zeros((3, 4))),
        families.DiscretisedLogisticMixture(2)(jnp.zeros((3, 6))),
        distributions.FullNormal(jnp.zeros(2), jnp.eye(2)),
        distributions.Transformed(families.StudentT()(jnp.zeros(3)), bj.Sigmoid()),
    ]
    for distribution in made:
        leaves, structure = jax.tree.flatten(distribution)
        replaced = jax.tree.map(lambda _: True, distribution)
        assert jax.tree.leaves(replaced) == [True] * len(leaves) and leaves
        assert jax.tree.structure(replaced) == structure
        assert pickle.loads(pickle.dumps(distribution)) == distribution
