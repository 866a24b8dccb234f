"""What the table cannot say: truths of single bijectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import bijectors as bj
from dgmjax.bijectors.partitions import as_partition
from dgmjax.errors import DgmjaxError

from .networks import Dense
from .table import ROWS, repeated

KEY = jax.random.key(0)


forward = jax.jit(lambda bijector, z: bijector.forward_and_log_det(z))
inverse = jax.jit(lambda bijector, x: bijector.inverse_and_log_det(x))
with_jacobians = jax.jit(
    lambda bijector, z: (bijector.forward(z), jax.vmap(jax.jacfwd(bijector.forward))(z))
)


def test_zero_parameters_are_the_identity():
    z = jax.random.normal(KEY, (6, 4))
    families = [
        bj.PlanarFamily(4),
        bj.RadialFamily(4),
        bj.SylvesterFamily(4, "orthogonal", 2),
        bj.SylvesterFamily(4, "householder", 2),
        bj.SylvesterFamily(4, "triangular"),
    ]
    for family in families:
        x, log_det = forward(family(jnp.zeros(family.num_params)), z)
        np.testing.assert_allclose(x, z, atol=2e-6)
        np.testing.assert_allclose(log_det, 0, atol=2e-6)
    elementwise = [
        bj.Shift(),
        bj.Affine(),
        bj.RationalQuadraticSpline(8),
        bj.RationalQuadraticSpline(5, bound=np.pi, tails="circular"),
        bj.MixtureOfLogisticsCDF(3),
    ]
    for family in elementwise:
        x, log_det = forward(family(jnp.zeros((4, family.num_params))), z)
        np.testing.assert_allclose(x, z, atol=4e-6)
        np.testing.assert_allclose(log_det, 0, atol=4e-6)


@pytest.mark.parametrize("kind", ["planar", "radial", "orthogonal", "householder", "triangular"])
def test_amortised_flows_have_one_map_for_each_example(kind):
    family = {
        "planar": bj.PlanarFamily(3),
        "radial": bj.RadialFamily(3),
        "orthogonal": bj.SylvesterFamily(3, "orthogonal", 2),
        "householder": bj.SylvesterFamily(3, "householder", 2),
        "triangular": bj.SylvesterFamily(3, "triangular"),
    }[kind]
    params = jax.random.normal(KEY, (5, family.num_params))
    z = jax.random.normal(jax.random.key(1), (2, 5, 3))

    @jax.jit
    def run(params, z):
        x, log_det = family(params).forward_and_log_det(z)
        return x, log_det, *family(params).inverse_and_log_det(x)

    x, log_det, back, back_log_det = run(params, z)
    assert x.shape == z.shape and log_det.shape == (2, 5)
    np.testing.assert_allclose(back, z, atol=1e-4)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-4)
    alone, _ = forward(family(params[3]), z[:, 3])
    np.testing.assert_allclose(x[:, 3], alone, atol=1e-5)


def test_orthonormal_bases_are_orthonormal():
    raw = 5 * jax.random.normal(KEY, (7, 6, 4))
    bases = [
        jax.jit(bj.orthonormal_columns)(raw),
        jax.jit(lambda raw: bj.householder_columns(jnp.swapaxes(raw, 1, 2), 4))(raw),
    ]
    for basis in [*bases, bj.permutation_columns(4, flip=True)[None]]:
        gram = np.swapaxes(basis, -1, -2) @ basis
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(4), gram.shape), atol=2e-6)


def numpy_orthonormal(raw):
    """Q of A = Q R with a positive diagonal of R, by LAPACK, float64."""
    q, r = np.linalg.qr(raw + np.eye(*raw.shape))
    return q * np.sign(np.diagonal(r))


def numpy_householder(vectors):
    """The product of the reflections, one by one, float64."""
    basis = np.eye(vectors.shape[1])
    for v in vectors:
        if v.any():
            basis = basis @ (np.eye(len(v)) - 2 * np.outer(v, v) / (v @ v))
    return basis


@pytest.mark.parametrize("zeros", [[], [1]])
@pytest.mark.parametrize("kind", ["orthogonal", "householder"])
def test_bases_and_their_slopes_equal_float64(kind, zeros):
    rng = np.random.default_rng(0)
    if kind == "orthogonal":
        ours, truth, raw = bj.orthonormal_columns, numpy_orthonormal, rng.normal(size=(6, 4))
        raw[:, zeros] = 0.0
    else:
        ours, truth, raw = bj.householder_columns, numpy_householder, rng.normal(size=(4, 6))
        raw[zeros] = 0.0
    np.testing.assert_allclose(ours(np.float32(raw)), truth(raw), atol=2e-6)
    weights = rng.normal(size=truth(raw).shape)
    slopes = jax.jit(jax.grad(lambda raw: jnp.sum(ours(raw) * weights)))(np.float32(raw))
    expected = np.zeros_like(raw)
    for index in np.ndindex(raw.shape):
        step = np.zeros_like(raw)
        step[index] = 1e-6
        expected[index] = np.sum((truth(raw + step) - truth(raw - step)) * weights) / 2e-6
    if kind == "householder":  # no direction at a zero vector, where the limit depends on it
        slopes, expected = np.delete(slopes, zeros, 0), np.delete(expected, zeros, 0)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes, expected, rtol=1e-3, atol=1e-4)


def test_a_column_without_a_direction_has_a_finite_slope():
    raw = -jnp.eye(4, 3)  # the matrix that is made orthonormal is zero
    assert np.isfinite(jax.grad(lambda raw: bj.orthonormal_columns(raw).sum())(raw)).all()


def test_circular_spline_is_a_map_of_the_circle():
    params = jax.random.normal(KEY, (15,))
    spline = bj.RationalQuadraticSpline(5, bound=np.pi, tails="circular")(params)
    z = jnp.linspace(-3, 3, 13)
    x, log_det = forward(spline, z)
    for turns in (-2, 1, 100):
        shifted, same = forward(spline, z + 2 * np.pi * turns)
        np.testing.assert_allclose(shifted - 2 * np.pi * turns, x, atol=5e-4)
        np.testing.assert_allclose(same, log_det, atol=5e-3)
    ends = jnp.array([-np.pi + 1e-4, np.pi - 1e-4])
    slopes = jax.jit(jax.vmap(jax.grad(spline.forward)))(ends)
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-2)


@pytest.mark.staggered
@pytest.mark.parametrize("z", [1e10, -1e10, 1e20, 3e38])
def test_circular_splines_far_beyond_any_angle_of_a_float32(z):
    """Some point of the spline, with its slope: neither NaN nor the identity."""
    z = jnp.float32(z)
    spline = bj.RationalQuadraticSpline(5, bound=np.pi, tails="circular")(
        jax.random.normal(KEY, (15,))
    )
    line = jnp.linspace(-np.pi, np.pi, 1001)
    for side, run in (("forward", spline.forward), ("inverse", spline.inverse)):
        at = jax.jit(lambda z, s=side: getattr(spline, f"{s}_and_log_det")(z))
        every = np.asarray(jax.jit(jax.vmap(jax.grad(run)))(jnp.append(line, z)))
        slopes, slope, (value, log_det) = every[:-1], every[-1], at(z)
        np.testing.assert_allclose(value, z, rtol=1e-6)
        np.testing.assert_allclose(slope, np.exp(log_det), rtol=1e-4)
        assert slopes.min() * 0.99 < np.exp(log_det) < slopes.max() * 1.01
        assert abs(log_det) > 1e-3


def test_tails_of_each_entry_are_those_of_splines_of_their_own():
    params = jax.random.normal(KEY, (3, 15))
    tails = ("circular", "linear", "circular")
    line = jnp.linspace(-10, 10, 41)

    @jax.jit
    def run(params):
        """Of every side: the maps together, and each by a spline of its own."""
        mixed, own = bj.RationalQuadraticSpline(5, np.pi, tails)(params), []
        for index, one in enumerate(tails):
            # Of a linear spline's slopes the first, of the seam, is left out.
            given = jnp.delete(params[index], 10) if one == "linear" else params[index]
            own.append(bj.RationalQuadraticSpline(5, np.pi, one)(given))
        sides = ("forward_and_log_det", "inverse_and_log_det")
        together = [getattr(mixed, side)(jnp.stack([line] * 3, -1)) for side in sides]
        return together, [[getattr(one, side)(line) for one in own] for side in sides]

    for found, expected in zip(*run(params), strict=True):
        for index, alone in enumerate(expected):
            for ours, theirs in zip(found, alone, strict=True):
                np.testing.assert_allclose(ours[:, index], theirs, rtol=1e-5, atol=1e-5)


def test_lu_factorises_a_given_matrix():
    matrix = jnp.linalg.qr(jax.random.normal(KEY, (5, 5)))[0] * 1.3
    z = jax.random.normal(jax.random.key(1), (3, 5))
    x, log_det = bj.LU.from_matrix(matrix).forward_and_log_det(z)
    np.testing.assert_allclose(x, z @ matrix.T, atol=1e-5)
    np.testing.assert_allclose(log_det, 5 * np.log(1.3), rtol=1e-5)


@pytest.mark.staggered
@pytest.mark.parametrize("name", ["lu", "triangular", "upper", "householder", "linear"])
def test_linear_maps_of_many_vectors_are_those_of_each(name):
    make = {
        "lu": lambda p: bj.LU(p, [2, 0, 3, 1], [1, -1, 1, 1]),
        "triangular": bj.Triangular,
        "upper": lambda p: bj.Triangular(p, lower=False),
        "householder": bj.Householder,
        "linear": bj.Linear,
    }[name]
    params = 0.5 * jax.random.normal(KEY, (4, 4)) + jnp.eye(4)
    z = jax.random.normal(jax.random.key(1), (3, 7, 4))

    def both(params, z):
        linear = make(params)
        together = [linear.forward_and_log_det(z), linear.inverse_and_log_det(z)]
        one = lambda method: jax.vmap(jax.vmap(getattr(linear, method)))(z)
        return together, [one("forward_and_log_det"), one("inverse_and_log_det")]

    total = lambda parts: sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(parts))
    slope = jax.grad(lambda p, z, which: total(both(p, z)[which]), (0, 1))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)

    def run(params, z):
        slopes = [slope(params, z, which) for which in (0, 1)]
        stacked = make(jnp.stack([params, 2 * params]))
        apart = jnp.stack([make(params).forward(z), make(2 * params).forward(z)], -2)
        return both(params, z), slopes, (stacked.forward(z[..., None, :]), apart)

    for one, other in jax.jit(run)(params, z):
        jax.tree.map(close, one, other)


@jax.jit
def reflections(vectors):
    """Their product by either of two ways, and a slope of it."""
    slopes = jax.grad(lambda v: bj.Householder(v).forward(jnp.ones(3))[0])(vectors)
    return bj.Householder(vectors).forward(jnp.eye(3)), bj.householder_columns(vectors), slopes


@pytest.mark.parametrize("length", [1e-37, 1e-20, 1.0, 1e20, 1e38])
def test_reflections_do_not_depend_on_the_length_of_their_vectors(length):
    """A vector whose square over- or underflows once stood for no reflection."""
    unit = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 1.0]])
    vectors = (length * unit).astype(np.float32)
    matrix, columns, slopes = reflections(vectors)
    np.testing.assert_allclose(matrix.T, numpy_householder(unit), atol=2e-6)
    np.testing.assert_allclose(columns, numpy_householder(unit), atol=2e-6)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("u, w", [(1e20, 1e-20), (1e10, 1e-10), (1e-20, 1e20), (1e-25, 1e-25)])
def test_planar_maps_of_very_unequal_u_and_w(u, w):
    """Values, log-determinants and inverses against float64."""
    given = u * np.array([1.0, -2.0, 0.5]), w * np.array([0.3, 1.0, -0.7]), np.array(0.1)
    z = np.array([[0.3, -0.2, 0.9], [1.0, 2.0, 3.0]])
    planar = bj.Planar(*(jnp.asarray(a, jnp.float32) for a in given))
    x, log_det = forward(planar, np.float32(z))
    with jax.enable_x64(True):
        exact = bj.Planar(*(jnp.asarray(a, jnp.float64) for a in given))
        truth, jacobians = map(np.asarray, with_jacobians(exact, jnp.asarray(z)))
        expected = np.linalg.slogdet(jacobians)[1]
    size = np.abs(truth).max()
    np.testing.assert_allclose(x / size, truth / size, atol=1e-6)
    np.testing.assert_allclose(log_det, expected, atol=1e-5)
    back, back_log_det = inverse(planar, x)
    np.testing.assert_allclose(back / size, z / size, atol=2e-6)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-5)


def test_householder_is_orthogonal():
    matrix = bj.Householder(jax.random.normal(KEY, (3, 4))).forward(jnp.eye(4))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(4), atol=1e-6)
    np.testing.assert_array_equal(bj.Householder(jnp.zeros((2, 4))).forward(jnp.eye(4)), np.eye(4))


def test_data_dependent_initialisation_standardises_each_channel():
    x = 3 + 0.01 * jax.random.normal(KEY, (64, 4, 4, 3)) * jnp.array([1.0, 10.0, 100.0])
    z = bj.ActNorm(*bj.actnorm_init(x), event_ndims=3).inverse(x)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, atol=1e-2)
    constant = bj.actnorm_init(jnp.ones((8, 2)))
    assert jnp.isfinite(bj.ActNorm(*constant).inverse(jnp.zeros(2))).all()


def test_data_dependent_initialisation_of_channels_of_any_scale():
    """Scales below `epsilon` count as constant; squares above 1e19 would overflow."""
    noise = np.random.default_rng(0).normal(size=(256, 5))
    x = (noise * np.array([1e-20, 0.0, 1.0, 1e20, 1e30]) + [0, 3, 0, 1e20, 0]).astype(np.float32)
    for weights in (None, np.ones((256, 1), np.float32)):
        actnorm = bj.ActNorm(*bj.actnorm_init(x, weights=weights))
        z, log_det = map(np.asarray, actnorm.inverse_and_log_det(x))
        assert np.isfinite(log_det).all() and np.isfinite(actnorm.log_scale).all()
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(z.std(0), [0, 0, 1, 1, 1], atol=1e-3)
        np.testing.assert_allclose(actnorm.log_scale[:2], 0.5 * np.log(1e-6), rtol=1e-5)
        expected = np.log(noise[:, 2:].std(0) * [1.0, 1e20, 1e30])
        np.testing.assert_allclose(actnorm.log_scale[2:], expected, rtol=1e-5, atol=1e-5)
        size = np.abs(x).max(0) + np.float32(1e-20)
        np.testing.assert_allclose(actnorm.forward(z) / size, x / size, atol=2e-6)


def test_batch_norm_standardises_and_follows_the_formula():
    x = 2 + 3 * jax.random.normal(KEY, (4096, 2))
    mean, variance = x.mean(0), x.var(0)
    beta, gamma = jnp.array([0.5, -1.0]), jnp.array([0.3, -0.2])
    z, log_det = bj.BatchNorm(mean, variance, beta, gamma).inverse_and_log_det(x)
    wanted = (x - mean) / jnp.sqrt(variance + 1e-5) * jnp.exp(gamma) + beta
    np.testing.assert_allclose(z, wanted, atol=1e-5)
    np.testing.assert_allclose(log_det, (gamma - 0.5 * jnp.log(variance + 1e-5)).sum(), rtol=1e-5)


def test_squeeze_keeps_blocks_together():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    z = bj.Squeeze(2).inverse(x)
    assert z.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(z[1, 1, 2], x[1, 2:4, 4:6].reshape(-1))
    np.testing.assert_array_equal(bj.Squeeze(2).forward(z), x)


def test_multiscale_factors_out_half_of_the_channels():
    flow = ROWS["multiscale"].make(KEY, 1.0)
    assert flow.base_shapes == ((2, 2, 4), (2, 2, 4))
    x = jax.random.normal(KEY, (3, 4, 4, 2))
    z, log_det = flow.inverse_and_log_det(x)
    fine, first = flow.levels[0].inverse_and_log_det(x)
    coarse, second = flow.levels[1].inverse_and_log_det(fine[..., :4])
    np.testing.assert_allclose(flow.split_base(z)[0], fine[..., 4:])
    np.testing.assert_allclose(flow.split_base(z)[1], coarse)
    np.testing.assert_allclose(log_det, first + second, rtol=1e-5)


def test_every_split_covers_each_entry_once():
    shapes = {
        bj.halves(): (5,),
        bj.alternating(True): (5,),
        bj.channel(): (3, 3, 4),
        bj.checkerboard(): (3, 4, 2),
        bj.checkerboard(True): (3, 3, 2),
    }
    for split, shape in shapes.items():
        x = jnp.arange(1.0, 1 + np.prod(shape)).reshape(shape)
        partition, other = (
            split.partition(shape),
            as_partition(type(split)(split.kind, not split.swap), shape),
        )
        changed = {float(v) for v in partition.changed(x).ravel()}
        swapped = {float(v) for v in other.changed(x).ravel()}
        assert not changed & swapped
        assert changed | swapped == {float(v) for v in x.ravel()}
        seen = {float(v) for v in partition.kept(x).ravel()} - {0.0}
        assert seen == swapped
        np.testing.assert_array_equal(partition.merge(x, partition.changed(x)), x)


def test_mask_and_indices_say_the_same():
    network = Dense((3,), (2, 2))
    conditioner = bj.Conditioner(network, compiled_start(network, KEY))
    mask = np.array([False, True, False, True, False])
    z = jax.random.normal(KEY, (3, 5))
    by_mask = bj.Coupling(mask, conditioner, bj.Affine(), (5,)).forward(z)
    by_indices = bj.Coupling([3, 1], conditioner, bj.Affine(), (5,)).forward(z)
    np.testing.assert_array_equal(by_mask, by_indices)
    np.testing.assert_array_equal(by_mask[:, ~mask], z[:, ~mask])


def test_parameters_of_float64_promote_points_of_float32():
    with jax.enable_x64(True):
        z, layer = jnp.ones((2, 4), jnp.float32), jax.random.normal(KEY, (6, 4), jnp.float64)
        for unroll in (True, False):
            found = bj.Repeat(bj.ElementwiseAffine(layer, layer), 6, unroll=unroll).forward(z)
            assert found.dtype == jnp.float64
        mask = np.array([False, True, False, True])
        wide = jnp.ones((2, 2), jnp.float64) / 3
        merged = as_partition(mask, (4,)).merge(z, wide)
        assert merged.dtype == jnp.float64 and float(merged[0, 1]) == 1 / 3


def test_repeat_equals_its_layers_one_by_one():
    z = jax.random.normal(jax.random.key(5), (4, 4))
    for unroll in (True, False):
        flow = repeated(KEY, 1.0, unroll, 6, remat=True)
        layers = bj.compose(*(flow.layer(i) for i in range(6)))
        for run in ("forward_and_log_det", "inverse_and_log_det"):
            ours, truth = jax.jit(lambda f, g, z, r=run: (getattr(f, r)(z), getattr(g, r)(z)))(
                flow, layers, z
            )
            for a, b in zip(ours, truth):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unroll", [True, False])
def test_repeat_of_a_layer_without_arrays(unroll):
    """A permutation has no leaves to stack: five turns of a cycle of three are two."""
    repeat = bj.Repeat(bj.Permutation([2, 0, 1]), 5, unroll)
    x, log_det = forward(repeat, jnp.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(x, [[1, 2, 0], [4, 5, 3]])
    np.testing.assert_array_equal(log_det, 0)
    np.testing.assert_array_equal(repeat.inverse(x), np.arange(6.0).reshape(2, 3))
    assert jax.tree.leaves(repeat) == []


@pytest.mark.parametrize("index", [3, -4, 99])
def test_a_layer_past_the_end_is_named(index):
    """JAX would take the last one."""
    stacked = bj.stack_bijectors([bj.ElementwiseAffine(float(i)) for i in range(3)])
    with pytest.raises(DgmjaxError, match=r"`index` must be in -3 \.\. 2"):
        bj.Repeat(stacked, 3).layer(index)


def test_repeat_compiles_one_layer_whatever_the_depth():
    def size(num_layers):
        flow = repeated(KEY, 1.0, "auto", num_layers)
        jaxpr = jax.make_jaxpr(lambda f, z: f.forward_and_log_det(z))(flow, jnp.zeros((2, 4)))
        return len(str(jaxpr.jaxpr).splitlines())

    assert size(32) == size(8)
    assert size(4) > size(2)


def test_stacking_bijectors_equals_building_them_stacked():
    layers = [bj.ElementwiseAffine(jnp.full(3, i), jnp.full(3, 0.1 * i)) for i in range(6)]
    stacked = bj.stack_bijectors([bj.compose(layer, bj.Permutation([1, 2, 0])) for layer in layers])
    flow = bj.Repeat(stacked, 6)
    z = jax.random.normal(KEY, (2, 3))
    x = z
    for i in range(6):
        x = (i + jnp.exp(0.1 * i) * x)[:, jnp.array([1, 2, 0])]
    np.testing.assert_allclose(flow.forward(z), x, rtol=1e-5)


def test_composition_sums_log_dets_of_members_of_any_rank():
    image = ROWS["coupling_channel"].make(KEY, 1.0)
    scale = bj.ElementwiseAffine(jnp.zeros(()), jnp.array(0.3))
    flow = bj.compose(scale, bj.Householder(jnp.ones((1, 3))), image, scale)
    z = jax.random.normal(KEY, (5, 2, 2, 3))
    _, log_det = flow.forward_and_log_det(z)
    _, inner = image.forward_and_log_det(bj.Householder(jnp.ones((1, 3))).forward(np.exp(0.3) * z))
    np.testing.assert_allclose(log_det, inner + 2 * 12 * 0.3, rtol=1e-5)


def test_sigmoid_is_the_logit_transform_of_pixels():
    x = jnp.array([0.0, 0.5, 1.0, 0.25])
    z, log_det = bj.Sigmoid(1e-6).inverse_and_log_det(x)
    p = 1e-6 + (1 - 2e-6) * np.asarray(x, np.float64)
    np.testing.assert_allclose(z, np.log(p / (1 - p)), rtol=1e-5, atol=1e-6)
    wanted = np.log(1 - 2e-6) - np.log(p) - np.log(1 - p)
    np.testing.assert_allclose(log_det, wanted, rtol=1e-5)


def test_a_bijector_is_a_layer_of_a_scan_and_can_be_differentiated():
    flow = ROWS["coupling_affine"].make(KEY, 1.0)
    z = jnp.ones((2, 5))

    def loss(flow):
        x, _ = jax.lax.scan(lambda x, _: (flow.forward(x), None), z, None, length=3)
        return jnp.sum(x)

    gradient = jax.jit(jax.grad(loss))(flow)
    leaves = jax.tree.leaves(gradient)
    assert leaves and all(jnp.isfinite(leaf).all() for leaf in leaves)
    assert any(jnp.abs(leaf).max() > 0 for leaf in leaves)


@pytest.mark.slow
def test_a_scan_over_splines_keeps_their_inputs_and_not_what_they_compute():
    """Gradients as of the unrolled layers; a layer more costs two arrays of x, not dozens."""
    x = jax.random.normal(KEY, (512, 4))
    family = bj.RationalQuadraticSpline(8)

    def loss(params, unroll):
        value, log_det = bj.Repeat(family(params), len(params), unroll).forward_and_log_det(x)
        return (value**2).sum() - log_det.sum()

    def compiled(num_layers, unroll):
        params = jax.random.normal(KEY, (num_layers, 4, family.num_params))
        gradient = jax.jit(jax.grad(loss), static_argnums=1)
        return gradient.lower(params, unroll).compile(), params

    scanned, params = compiled(6, False)
    unrolled, _ = compiled(6, True)
    np.testing.assert_allclose(scanned(params), unrolled(params), rtol=1e-3, atol=1e-2)
    more, _ = compiled(14, False)
    bytes_of = lambda program: program.memory_analysis().temp_size_in_bytes
    assert (bytes_of(more) - bytes_of(scanned)) / 8 < 4 * x.nbytes
