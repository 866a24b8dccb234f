"""Flow layers and recipes against closed forms, quadrature and float64 Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, nn
from dgmjax.bijectors import Affine, PlanarFamily, RationalQuadraticSpline, Reshape, alternating
from dgmjax.errors import DgmjaxError
from dgmjax.models.flows.layers import observe

KEY = jax.random.key(0)


def coupling(features=4):
    return models.CouplingLayer((features,), alternating(), Affine(), nn.MLP((8,), ()))


def batch(*shape, seed=1):
    """Channels with different means and scales."""
    noise = jax.random.normal(jax.random.key(seed), shape)
    channel = jnp.arange(shape[-1])
    return (1.0 + channel) * noise + 3.0 * channel


def inputs_to(bijectors, x):
    """What every bijector receives from the data side, last first, and what it returns."""
    for bijector in reversed(bijectors):
        z = bijector.inverse(x)
        yield bijector, z
        x = z


def is_actnorm(bijector):
    return type(bijector).__name__ == "ActNorm"


@pytest.mark.parametrize("shape", [(256, 4), (16, 4, 4, 4)])
def test_actnorm_starts_with_what_arrives_at_it(shape):
    ndims = len(shape) - 1
    layers = [models.ActNormLayer(4, ndims), models.LinearLayer(4, "full", ndims)]
    flow = models.Flow(shape[1:], (*layers, models.ActNormLayer(4, ndims)))
    x = batch(*shape)
    variables = compiled_start(flow, KEY, x, method="log_prob")
    bijectors = flow.apply(variables, method="bijector").bijectors
    outputs = [z for bijector, z in inputs_to(bijectors, x) if is_actnorm(bijector)]
    assert len(outputs) == 2
    for z in outputs:
        z = np.asarray(z).reshape(-1, 4)
        np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-4)
        np.testing.assert_allclose(z.var(0), 1.0, atol=1e-3)


def test_repeated_actnorms_each_see_their_own_input():
    block = models.Composed((coupling(), models.ActNormLayer(4)))
    flow = models.Flow((4,), (models.LinearLayer(4), models.Repeated(block, 3)))
    x = batch(256, 4)
    variables = jax.jit(lambda x: flow.init(KEY, x, method="log_prob"))(x)
    shifts = variables["params"]["layers_1"]["layers"]["layers_1"]["shift"]
    np.testing.assert_allclose(shifts[2], x.mean(0), atol=1e-4)  # the last is next to the data
    np.testing.assert_allclose(shifts[:2], 0.0, atol=1e-4)  # nothing left to shift
    repeat = flow.apply(variables, method="bijector").bijectors[1]
    z = np.asarray(repeat.inverse(x))
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(z.var(0), 1.0, atol=1e-3)


def test_actnorm_of_channels_of_any_scale_leaves_a_finite_density():
    """A constant channel, one below every variance, and one whose square overflows."""
    flow = models.Flow((3,), (models.ActNormLayer(3), coupling(3), models.ActNormLayer(3)))
    x = jax.random.normal(KEY, (64, 3)) * jnp.array([1e-20, 0.0, 1e20])
    variables = compiled_start(flow, KEY, x, method="log_prob")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    log_prob = applied(flow, variables, x, method="log_prob")
    z = np.asarray(flow.apply(variables, method="bijector").inverse(x))
    assert np.isfinite(log_prob).all()
    np.testing.assert_allclose(z.std(0), [0, 0, 1], atol=1e-3)


def test_one_example_leaves_actnorm_the_identity():
    flow = models.Flow((4,), (models.ActNormLayer(4),))
    variables = compiled_start(flow, KEY, jnp.ones(4), method="log_prob")
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("unroll", [True, False])
def test_repeated_layers_equal_the_same_layers_written_out(unroll):
    block = lambda: models.Composed((coupling(), models.Reverse(4)))
    stacked = models.Flow((4,), (models.Repeated(block(), 3, unroll),))
    x = jax.random.normal(KEY, (5, 4))
    variables = perturbed(jax.jit(lambda x: stacked.init(KEY, x, method="log_prob"))(x))
    params = variables["params"]["layers_0"]["layers"]
    written = models.Flow((4,), (block(), block(), block()))
    names = [f"layers_{i}" for i in range(3)]
    each = {n: jax.tree.map(lambda a, i=i: a[i], params) for i, n in enumerate(names)}
    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda x, f=f, v=v: f.apply(v, x, method="log_prob").sum()))(x)
        for f, v in ((stacked, variables), (written, {"params": each}))
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-5)


IMAGE_FLOWS = {
    "glow": models.Glow((4, 4, 1), 2, 1, channels=4),
    "realnvp": models.RealNVPImages((4, 4, 1), 2, channels=4, blocks=0),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", IMAGE_FLOWS)
def test_image_flow_density_is_the_change_of_variables(name):
    """log p(x) = log N(z) + log|det dz/dx|, the Jacobian by automatic differentiation, float64."""
    flow = IMAGE_FLOWS[name]
    shape = flow.layers[0].event_shape
    x = batch(6, *shape)
    initial = jax.jit(lambda x: flow.init(KEY, x, method="log_prob"))(x)
    variables = perturbed(initial, scale=0.1)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)

        def inverse(x):
            z = flow.apply(variables, method="bijector").inverse(x.reshape(shape))
            return z, z

        @jax.jit
        def look(x):
            jacobian, z = jax.jacfwd(inverse, has_aux=True)(x)
            back = flow.apply(variables, method="bijector").forward(z)
            log_prob = flow.apply(variables, x.reshape(shape), method="log_prob")
            return jacobian, z, back, log_prob

        jacobian, z, back, ours = map(np.asarray, look(jnp.asarray(x[0], jnp.float64).ravel()))
        log_normal = -0.5 * (z @ z) - 0.5 * z.size * np.log(2 * np.pi)
        expected = log_normal + np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(back.ravel(), x[0].ravel(), atol=1e-6)
    np.testing.assert_allclose(ours, expected, rtol=1e-8)
    assert abs(expected - log_normal) > 0.1  # the map stretches


SPLINE = RationalQuadraticSpline(4)
TAILS = [("circular", "linear"), ("linear", "circular"), "circular"]


@pytest.mark.slow
@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("tails", TAILS)
def test_spline_flow_of_circles_and_lines(tails):
    """On circle x line: one by quadrature, continuous at the seam, periodic, exactly inverted."""
    flow = models.NeuralSplineFlow(2, 4, (8,), num_bins=4, bound=2.0, tails=tails)
    each = (tails,) * 2 if isinstance(tails, str) else tails
    init = jax.jit(lambda: flow.init(KEY, jnp.ones((2, 2)), method="log_prob"))()
    variables = perturbed(init, scale=0.2)
    ends = [2.0 if one == "circular" else 9.0 for one in each]
    axes = [end * ((np.arange(800) + 0.5) / 400 - 1) for end in ends]
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), variables)
        log_prob = jax.jit(lambda x: flow.apply(wide, x, method="log_prob"))
        grid = jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1))
        density = np.exp(np.asarray(log_prob(grid))) * np.prod(np.array(ends) / 400)
        assert density.sum() == pytest.approx(1.0, abs=1e-4)
        assert np.abs(density - density.mean()).sum() > 0.1
        bijector = applied(flow, wide, method="bijector")
        x = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (50, 2)))
        np.testing.assert_allclose(bijector.forward(bijector.inverse(x)), x, atol=1e-9)
        for index in [i for i, one in enumerate(each) if one == "circular"]:
            seam = jnp.asarray(x).at[:, index]
            left, right = log_prob(seam.set(-2.0 + 1e-9)), log_prob(seam.set(2.0 - 1e-9))
            np.testing.assert_allclose(left, right, atol=1e-6)
            turned = log_prob(x.at[:, index].add(4.0))
            np.testing.assert_allclose(turned, log_prob(x), atol=1e-8)
    samples = np.asarray(flow.apply(variables, KEY, (20_000,), method="sample"))
    for index, one in enumerate(each):
        mass = density.sum(1 - index)[axes[index] > 0.5].sum()
        assert abs((samples[:, index] > 0.5).mean() - mass) < 5 * np.sqrt(0.25 / 20_000) + 5e-3
        assert one == "linear" or np.abs(samples[:, index]).max() <= 2.0 + 1e-5


AMORTISED = {"amortised": True, "base": models.DiagonalNormal((2,))}
CONDITIONAL = {
    "realnvp": models.RealNVP(2, 3, (8,)),
    "maf_mixture": models.MAFMixture(2, 2, (8,), num_components=3, context_features=3),
    "spline_coupling": models.NeuralSplineFlow(2, 2, (8,), num_bins=4),
    "spline_autoregressive": models.NeuralSplineFlow(
        2, 1, (8,), num_bins=4, autoregressive=True, context_features=3
    ),
    "planar": models.PlanarFlow(2, 3, **AMORTISED),
    "radial": models.RadialFlow(2, 3, **AMORTISED),
    "sylvester_orthogonal": models.SylvesterFlow(2, 2, num_columns=1, **AMORTISED),
}


READERS = {
    **CONDITIONAL,
    "maf": models.MAF(2, 2, (8,), context_features=3),
    "iaf": models.IAF(2, 2, (8,), context_features=3),
    "nice": models.NICE(2, 2, (8,)),
    "glow": models.Glow((4, 4, 1), 1, 1, channels=4),
    "planar_normal_base": models.PlanarFlow(2, 3, amortised=True),
    "sylvester": models.SylvesterFlow(2, 2, "householder", amortised=True),
    "affine": models.Flow(
        (2,), (models.ParametricLayer(models.Elementwise((2,), Affine()), amortised=True),)
    ),
    "spline": models.Flow(
        (2,), (models.ParametricLayer(models.Elementwise((2,), SPLINE), amortised=True),)
    ),
    "base_only": models.Flow((2,), (models.LinearLayer(2),), base=models.DiagonalNormal((2,))),
    "normal": models.DiagonalNormal((2,)),
}


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", READERS)
def test_contexts_of_another_number_than_points_are_named(name):
    """4 points and 5 contexts; one context, or one point, would do."""
    flow = READERS[name]
    shape = (4, 4, 1) if name == "glow" else (2,)
    points, contexts = jnp.ones((4, *shape)), jnp.ones((5, 3))
    init = lambda x, context: flow.init(KEY, x, context, method="log_prob")
    variables = jax.tree.map(jnp.zeros_like, jax.eval_shape(init, points, contexts[:4]))
    log_prob = lambda x, context: flow.apply(variables, x, context, method="log_prob")
    for run in (init, log_prob, jax.jit(log_prob)):
        with pytest.raises(DgmjaxError, match=r"^`(x|context)` must .*broadcast.*") as found:
            run(points, contexts)
        assert "(4," in str(found.value) and "(5," in str(found.value)
    for number, context in ((4, contexts[0]), (4, contexts[:1]), (1, contexts)):
        expected = (max(number, len(context) if context.ndim == 2 else 1),)
        assert jax.eval_shape(log_prob, points[:number], context).shape == expected


@pytest.mark.staggered
@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditional_density_integrates_to_one_and_samples_have_their_own_noise(name):
    flow, contexts = CONDITIONAL[name], jnp.array([[0.3, -0.5, 0.8], [0.5, 0.0, -0.8]])
    x = batch(2, 2)
    initial = jax.jit(lambda x: flow.init(KEY, x, contexts, method="log_prob"))(x)
    variables = perturbed(initial, seed=9, scale=0.1)  # all of each density within 12 of 0
    line = np.linspace(-12.0, 12.0, 281, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(line, line), -1))[:, :, None]

    @jax.jit
    def both(variables, grid, key):
        q = flow.apply(variables, contexts)
        return q.log_prob(grid), *q.sample_and_log_prob(seed=key, sample_shape=(4000,))

    log_prob, z, log_q = both(variables, grid, jax.random.key(3))
    density = np.exp(np.asarray(log_prob, np.float64)) * (line[1] - line[0]) ** 2
    np.testing.assert_allclose(density.sum((0, 1)), 1.0, atol=5e-3)
    assert np.abs(density[..., 0] - density[..., 1]).sum() > 0.05  # the context matters
    # Means of 4000 samples of each context, five standard errors.
    assert z.shape == (4000, 2, 2) and log_q.shape == (4000, 2)
    mean = np.einsum("abk,abj->kj", density, np.asarray(grid[:, :, 0]))
    error = 5 * np.asarray(z).std(0) / np.sqrt(4000) + 5e-3
    assert np.all(np.abs(np.asarray(z).mean(0) - mean) < error)
    assert abs(np.corrcoef(z[:, 0, 0], z[:, 1, 0])[0, 1]) < 5 / np.sqrt(4000)


def test_batch_norm_uses_the_batch_in_training_and_running_statistics_after_it():
    flow = models.Flow((3,), (models.BatchNormLayer(3, momentum=0.9),))
    x, y = batch(64, 3), 2.0 * batch(64, 3, seed=2) - 1.0
    variables = perturbed(compiled_start(flow, KEY, x, method="log_prob"))
    running = variables["batch_stats"]["layers_0"]
    np.testing.assert_allclose(running["mean"], x.mean(0), atol=1e-5)

    def expected(values, mean, variance):
        beta, gamma = (variables["params"]["layers_0"][name] for name in ("beta", "gamma"))
        z = (values - mean) / np.sqrt(variance + 1e-5) * np.exp(gamma) + beta
        log_det = np.sum(gamma - 0.5 * np.log(variance + 1e-5))
        return -0.5 * (z**2).sum(-1) - 1.5 * np.log(2 * np.pi) + log_det

    log_prob, new = applied(flow, variables, y, method="log_prob", mutable=["batch_stats"])
    np.testing.assert_allclose(log_prob, expected(y, y.mean(0), y.var(0)), rtol=1e-4)
    moved = new["batch_stats"]["layers_0"]["mean"]
    np.testing.assert_allclose(moved, 0.9 * running["mean"] + 0.1 * y.mean(0), rtol=1e-5)
    log_prob = applied(flow, variables, y, method="log_prob")
    np.testing.assert_allclose(
        log_prob, expected(y, running["mean"], running["variance"]), rtol=1e-4
    )


@pytest.mark.parametrize("parametrisation", ["lu", "full", "householder"])
def test_linear_layers_start_as_rotations(parametrisation):
    layer = models.LinearLayer(5, parametrisation)
    bijector = applied(layer, compiled_start(layer, KEY))
    matrix = np.asarray(bijector.forward(jnp.eye(5)), np.float64)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-5)
    assert np.abs(matrix - np.diag(np.diag(matrix))).max() > 0.1
    assert abs(bijector.forward_and_log_det(jnp.ones(5))[1]) < 1e-5


def test_duality_of_the_two_divergences():
    """KL(data || model) over x equals KL(pulled-back data || base) over z: two quadratures."""
    from dgmjax import data

    law = data.load("banana", n_train=10, n_validation=1, n_test=1)
    flow = models.RealNVP(2, 2, (8,))
    variables = perturbed(flow.init(KEY, jnp.zeros((2, 2)), method="log_prob"), seed=4, scale=0.4)
    line = np.linspace(-15.0, 15.0, 601)
    area = (line[1] - line[0]) ** 2
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        grid = jnp.asarray(np.stack(np.meshgrid(line, line), -1)).reshape(-1, 2)

        @jax.jit
        def over_x(x):
            log_p = law.log_density(x)
            return (jnp.exp(log_p) * (log_p - flow.apply(variables, x, method="log_prob"))).sum()

        @jax.jit
        def over_z(z):
            forward = flow.apply(variables, method="bijector").forward
            jacobian = jax.vmap(jax.jacfwd(forward))(z)
            determinant = jacobian[:, 0, 0] * jacobian[:, 1, 1]
            determinant -= jacobian[:, 0, 1] * jacobian[:, 1, 0]
            log_p = law.log_density(forward(z)) + jnp.log(jnp.abs(determinant))
            log_base = -0.5 * (z**2).sum(-1) - jnp.log(2 * jnp.pi)
            return (jnp.exp(log_p) * (log_p - log_base)).sum()

        in_x, in_z = float(over_x(grid)) * area, float(over_z(grid)) * area
    assert in_x > 0.1
    assert in_x == pytest.approx(in_z, rel=1e-4)


def test_equal_recipes_are_equal_and_hashable():
    """What is a static argument of a compiled function must not depend on identity."""
    for make in (
        lambda: models.Glow((4, 4, 1), 2, 1, channels=4),
        lambda: models.NICE(3, 2, (8,)),
        lambda: models.SylvesterFlow(3, 2, amortised=True),
        lambda: models.NeuralSplineFlow(3, 2, (8,)),
    ):
        assert make() == make() and hash(make()) == hash(make())


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: models.Glow((6, 6, 1), 2), "event_shape"),
        (lambda: models.RealNVPImages((7, 7, 1), 2), "event_shape"),
        (lambda: models.RealNVPImages((4, 4), 1), "event_shape"),
        (lambda: models.Glow((4, 4, 1), 1, 0), "steps"),
        (lambda: models.PlanarFlow(0), "features"),
        (lambda: models.NeuralSplineFlow(3, tails=("linear", "circular")), "tails"),
        (lambda: models.NeuralSplineFlow(3, tails="round"), "tails"),
        (lambda: models.NeuralSplineFlow(3, tails="circular", autoregressive=True), "tails"),
        (lambda: models.SylvesterFlow(3, 1, "diagonal"), "parametrisation"),
        (lambda: models.ParametricLayer(PlanarFamily(2), True).init(KEY), "context"),
        (lambda: models.LinearLayer(2, "qr").init(KEY), "parametrisation"),
        (lambda: models.Repeated(models.BatchNormLayer(2), 2).init(KEY), "layer"),
        (lambda: models.Repeated(coupling(), 0).init(KEY), "num_layers"),
        (lambda: nn.ConvResNet((4, 4, 2)).init(KEY, jnp.zeros((3, 3, 1))), "output"),
        (lambda: nn.ConvResNet((4, 4, 2)).init(KEY, jnp.zeros((3, 1))), "x"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


def test_observe_of_a_plain_layer_is_its_inverse():
    layer = models.Reverse(3)
    z, log_det = observe(layer, jnp.arange(3.0))
    assert z.tolist() == [2.0, 1.0, 0.0] and log_det == 0.0


def test_a_flow_over_vectors_becomes_one_over_images():
    over_vectors = models.NICE(12, layers=2, hidden=(8,))
    reshape = models.Fixed(Reshape, ((12,), (2, 3, 2)))
    over_images = over_vectors.clone(layers=(*over_vectors.layers, reshape))
    x = jax.random.normal(jax.random.key(0), (5, 2, 3, 2))
    variables = perturbed(compiled_start(over_images, jax.random.key(1), x, method="log_prob"))
    flat = applied(over_vectors, variables, x.reshape(5, 12), method="log_prob")
    for kwargs in ({}, {"mutable": ["batch_stats"]}):
        found = applied(over_images, variables, x, method="log_prob", **kwargs)
        np.testing.assert_allclose(found[0] if kwargs else found, flat, rtol=1e-6)
    draw = lambda flow: flow.apply(variables, jax.random.key(2), (4,), method="sample")
    np.testing.assert_array_equal(draw(over_images), draw(over_vectors).reshape(4, 2, 3, 2))
