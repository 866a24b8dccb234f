"""The protocol of autoregressive networks: one table, every network through the same tests."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scrambling import compiled_start, perturbed, scrambled_start

from dgmjax import models
from dgmjax.bijectors import Conditioner
from dgmjax.distributions import Autoregressive, families
from dgmjax.errors import DgmjaxError
from dgmjax.models import MADE
from dgmjax.nn import MaskedMLP
from dgmjax.nn.autoregressive import masked_mlp_steps, sorted_mask_product
from dgmjax.nn.autoregressive.binding import run_steps
from dgmjax.training.gradients import computing_in

METHODS = ("incremental", "naive", "jacobi")


def _masked(hidden, **options):
    return MaskedMLP(9, hidden, 1, activation=jnp.tanh, **options)


def convolutional_networks():
    """Images of 3x3 pixels, rows of pixels with three channels, and sequences."""
    smooth = {"activation": jnp.tanh}  # no unit is dead
    pixel = {"features": 3, "blocks": 2, "first_kernel": 5, "head_features": 4, **smooth}
    gated = {"features": 3, "blocks": 2, "head_features": 4, **smooth}
    plus = {"family": families.Bernoulli(), "features": 3, "blocks": 2}
    image, red_green_blue = (3, 3, 1), (1, 3, 3)
    wave = {"channels": 4, "skip_channels": 3, "stacks": 2, "layers": 2, **smooth}
    given = {"context_features": 2}
    recipes = {
        "pixelcnn": (models.PixelCNN(image, **pixel, **given, positions=True), image, 2),
        "pixelcnn_local": (models.PixelCNN(image, **pixel, local_features=2), image, 18),
        "pixelcnn_rgb": (
            models.PixelCNN(red_green_blue, **pixel, positions=True),
            red_green_blue,
            0,
        ),
        "gated_pixelcnn": (
            models.GatedPixelCNN(image, **gated, site_bias=True, positions=True),
            image,
            0,
        ),
        "gated_pixelcnn_context": (models.GatedPixelCNN(image, **gated, **given), image, 2),
        "gated_pixelcnn_rgb": (models.GatedPixelCNN((3, 1, 3), **gated), (3, 1, 3), 0),
        "pixelcnn_plus_plus": (models.PixelCNNPlusPlus(image, **plus, **given), image, 2),
        "wavenet": (
            models.WaveNet((9,), families.Bernoulli(), kernel_size=3, **wave, **given),
            (9,),
            2,
        ),
    }
    return {name: (model.network, *rest) for name, (model, *rest) in recipes.items()}


def dense_and_recurrent_networks():
    """Networks over nine numbers, and over the pixels of 3x3 images."""
    image, given = (3, 3, 1), {"context_features": 2}
    small = {"features": 4, "layers": 2}
    pixel = {"features": 5, "layers": 2, "first_kernel": 3, "head_features": 12}
    recipes = {
        "fvsbn": (models.FVSBN((9,)), (9,), 0),
        "fvsbn_context": (models.FVSBN((9,), **given), (9,), 2),
        "nade": (models.NADE((9,), 8), (9,), 0),
        "nade_context": (models.NADE((9,), 8, rescale=True, **given), (9,), 2),
        "lstm": (models.RecurrentModel((9,), **small), (9,), 0),
        "gru_context": (models.RecurrentModel((9,), cell="gru", **small, **given), (9,), 2),
        "pixel_lstm": (models.PixelLSTM(image, **small), image, 0),
        "transformer": (models.Transformer((9,), heads=2, **small), (9,), 0),
        "transformer_learned": (
            models.Transformer((9,), heads=2, positions="learned", **small),
            (9,),
            0,
        ),
        "pixel_transformer": (models.Transformer(image, heads=1, **small, **given), image, 2),
        "row_lstm": (models.RowLSTM(image, **pixel), image, 0),
        "row_lstm_context": (models.RowLSTM(image, site_bias=True, **pixel, **given), image, 2),
        "diagonal_bilstm": (models.DiagonalBiLSTM(image, **pixel), image, 0),
        "diagonal_bilstm_context": (models.DiagonalBiLSTM(image, **pixel, **given), image, 2),
    }
    return {name: (model.network, *rest) for name, (model, *rest) in recipes.items()}


# name -> (network of 9 sites, event shape it reads, number of context features)
NETWORKS = {
    "masked_mlp": (_masked((16,)), (9,), 0),
    "masked_mlp_deep_direct": (_masked((16, 20), direct=True), (9,), 0),
    "masked_mlp_residual": (_masked((12, 12, 12), residual=True), (9,), 0),
    "masked_mlp_narrow": (_masked((3, 5)), (9,), 0),
    "masked_mlp_context": (_masked((16,), context_features=2), (9,), 2),
    **convolutional_networks(),
    **dense_and_recurrent_networks(),
}


def bound(name: str, scale: float = 1.0):
    """The scrambled network as a pytree, and its context."""
    network, event_shape, context_features = NETWORKS[name]
    context = jnp.resize(jnp.array([0.3, -1.0]), context_features) if context_features else None
    x = jnp.zeros((1, *event_shape))
    variables = scrambled_start(network, jax.random.key(0), x, context, scale=scale)
    return Conditioner(network, variables), event_shape, context


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


def distribution(name, family=families.Bernoulli(), method="incremental", scale=0.5):  # noqa: B008
    network, event_shape, context = bound(name, scale)
    return Autoregressive(network, family, event_shape, context=context, method=method)


def sampled(model, number):
    return model.sample(seed=jax.random.key(2), sample_shape=(number,))


@jax.jit
def log_prob_of_all_images(model):
    images = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=9)))
    return model.log_prob(images.reshape(-1, *model.event_shape))


@pytest.mark.staggered
@pytest.mark.parametrize("columns, cpu", [(1, True), (4, True), (4, False)])
@pytest.mark.parametrize("hidden", [(), (5,), (12, 9), (3, 20, 20)])
@pytest.mark.parametrize("features", [1, 9])
def test_blocks_of_steps_of_any_length_equal_call(features, hidden, columns, cpu, monkeypatch):
    monkeypatch.setattr(masked_mlp_steps, "COLUMNS", columns)
    chosen = lambda *branches_and_operands: branches_and_operands[1 - cpu](
        *branches_and_operands[2:]
    )
    monkeypatch.setattr(masked_mlp_steps, "by_platform", chosen)
    monkeypatch.setattr(sorted_mask_product, "LEAST", 2)
    network = MaskedMLP(features, hidden, 2, direct=bool(hidden), residual=True)
    generator = np.random.default_rng(columns)
    x = generator.normal(size=(3, features)).astype(np.float32)
    bound_network = Conditioner(network, scrambled_start(network, jax.random.key(0), x, seed=1))
    both = jax.jit(lambda n, x: (n(x), run_steps(n, x, features)))
    full, stepped = both(bound_network, x)
    np.testing.assert_allclose(stepped, full, atol=1e-5 * (1 + float(jnp.abs(full).max())))


@pytest.mark.staggered
def test_jacobian_is_exactly_triangular(name):
    network, event_shape, context = bound(name, scale=0.5)  # saturated units have no gradient
    x = jax.random.normal(jax.random.key(1), event_shape)
    first = lambda n, x: n(x, context).reshape(9, -1)[:, 0]
    jacobian = jax.jit(jax.jacobian(first, 1))(network, x).reshape(9, 9)
    assert (np.triu(jacobian) == 0).all()
    assert (np.abs(np.tril(jacobian, -1)).sum(1)[1:] > 0).all(), "no site reads what is before it"


@pytest.mark.staggered
def test_probabilities_of_all_binary_images_sum_to_one(name):
    log_prob = log_prob_of_all_images(distribution(name, scale=1.0))
    total = np.exp(np.asarray(log_prob, np.float64)).sum()
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


@pytest.mark.staggered
def test_samples_follow_the_probabilities(name):
    """Chi-squared over 2^9 images at level 1e-4."""
    model = distribution(name)
    samples = np.asarray(jax.jit(sampled, static_argnums=1)(model, 4096)).reshape(4096, 9)
    expected = np.exp(np.asarray(log_prob_of_all_images(model), np.float64)) * 4096
    codes = samples @ 2 ** np.arange(8, -1, -1)
    counts = np.bincount(codes.astype(int), minlength=512)
    likely = expected >= 5
    observed = np.append(counts[likely], counts[~likely].sum() + 1e-9)
    wanted = np.append(expected[likely], expected[~likely].sum() + 1e-9)
    assert scipy.stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-4


@pytest.mark.staggered
def test_step_equals_call(name):
    """Float64, at what the steps draw: three samplers of the normals with these means agree."""
    with jax.enable_x64(True):
        samples = []
        for method in METHODS:
            model = distribution(name, families.Normal(scale=1.0), method)
            model = jax.tree.map(lambda a: a.astype(jnp.float64), model)
            samples.append(np.asarray(jax.jit(sampled, static_argnums=1)(model, 4)))
    assert samples[0].dtype == np.float64 and samples[0].std() > 0.5
    for other in samples[1:]:
        np.testing.assert_allclose(other, samples[0], rtol=0, atol=1e-12 * np.abs(other).max())


def test_narrow_parameters_step_under_x64(name):
    """Zeros of a carry are of float64 there. `test_step_equals_call` runs float64 parameters."""
    network, event_shape, context_features = NETWORKS[name]
    with jax.enable_x64(True):
        x = jnp.zeros((1, *event_shape), jnp.float32)
        context = jnp.zeros(context_features, jnp.float32) if context_features else None
        stored = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, jnp.float32),
            jax.eval_shape(network.init, jax.random.key(0), x, context),
        )
        normal = families.Normal(scale=1.0)
        model = lambda variables: Autoregressive(
            Conditioner(network, variables), normal, event_shape, context=context
        )
        drawn = jax.eval_shape(lambda variables: sampled(model(variables), 2), stored)
    assert drawn.shape == (2, *event_shape) and jnp.issubdtype(drawn.dtype, jnp.floating)


@pytest.mark.staggered
def test_empty_batches(name):
    for method in METHODS:
        model = distribution(name, method=method)
        samples = jax.eval_shape(lambda m: sampled(m, 0), model)
        assert samples.shape == (0, *model.event_shape) and samples.dtype == jnp.float32
    assert jax.eval_shape(lambda m, x: m.log_prob(x), model, samples).shape == (0,)


def half_precision_gradient(model):
    """Of log p(1, .., 1), while the network computes in bfloat16 as in training."""
    x = jnp.ones((2, *model.event_shape))
    with computing_in(jnp.dtype(jnp.bfloat16)):
        return jax.grad(lambda model: model.log_prob(x).sum())(model).network.variables


@pytest.mark.staggered
def test_half_precision(name):
    """Gradients as in training, and a sampler of parameters that are stored so."""
    model = distribution(name)
    gradient = jax.eval_shape(half_precision_gradient, model)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
    stored = jax.tree.map(lambda a: a.astype(jnp.bfloat16), model)
    assert jax.eval_shape(lambda m: sampled(m, 3), stored).shape == (3, *model.event_shape)


@pytest.mark.parametrize("name", ["pixelcnn_rgb", "gated_pixelcnn", "wavenet", "transformer"])
def test_half_precision_gradients_are_finite(name):
    gradient = jax.jit(half_precision_gradient)(distribution(name))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.staggered
@pytest.mark.parametrize(
    "family", [families.Categorical(4), families.Normal(), families.MixtureOfNormals(2)]
)
def test_any_family_serves(family):
    network = MaskedMLP(5, (16,), family.num_params)
    params = scrambled_start(network, jax.random.key(0), jnp.zeros(5), scale=0.5)
    samples = []
    for method in METHODS:
        model = Autoregressive(Conditioner(network, params), family, (5,), method=method)
        draw = jax.jit(lambda m: m.sample(seed=3, sample_shape=(64,)))
        samples.append(np.asarray(draw(model)))
    np.testing.assert_allclose(samples[0], samples[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(samples[1], samples[2], rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.jit(lambda m, x: m.log_prob(x))(model, samples[0])).all()


MADES = {
    "one_mask": MADE((3, 3, 1), (12,), direct=True),
    "random_ordering": MADE((3, 3, 1), (12,), ordering="random", direct=True),
    "ensemble": MADE((3, 3, 1), (12, 10), num_orders=3, residual=True),
}


@pytest.mark.staggered
@pytest.mark.parametrize("model", MADES.values(), ids=MADES)
def test_made_is_a_distribution_over_images(model):
    images = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=9))).reshape(-1, 3, 3, 1)
    variables = perturbed(
        compiled_start(model, jax.random.key(0), images[:2], method="log_prob"), scale=1.0
    )
    log_prob = jax.jit(partial(model.apply, method="log_prob"))(variables, images)
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)).sum(), 1.0, atol=1e-5)
    of_one = jax.jit(lambda v, mask: model.apply(v, None, mask).log_prob(images))
    each = [np.asarray(of_one(variables, mask), np.float64) for mask in range(model.num_orders)]
    for one in each:
        np.testing.assert_allclose(np.exp(one).sum(), 1.0, atol=1e-5)
    for other in each[1:]:
        assert np.abs(other - each[0]).max() > 1e-3
    draw = lambda v, k: model.apply(v, k, (5,), method="sample")
    assert jax.eval_shape(draw, variables, jax.random.key(1)).shape == (5, 3, 3, 1)


LOGISTICS = families.DiscretisedLogisticMixture
SMALL = {"features": 2, "blocks": 2}
WAVE = {"channels": 3, "skip_channels": 4, "stacks": 1, "layers": 2, "activation": jnp.tanh}
PIXEL = {"first_kernel": 3, "head_features": 4, "activation": jnp.tanh}
MODELS = {
    "pixelcnn_channels": models.PixelCNN((2, 2, 3), LOGISTICS(2, 4, 3), **SMALL, **PIXEL),
    "pixelcnn_plus_plus_channels": models.PixelCNNPlusPlus((2, 2, 3), LOGISTICS(2, 4, 3), **SMALL),
    "pixelcnn_plus_plus_halved": models.PixelCNNPlusPlus(
        (4, 8, 1), families.Categorical(3), resolutions=3, **SMALL
    ),
    "pixelcnn_plus_plus_halved_rgb": models.PixelCNNPlusPlus(
        (2, 4, 3), families.Categorical(3), resolutions=2, **SMALL
    ),
    "pixelcnn_plus_plus_halved_channels": models.PixelCNNPlusPlus(
        (2, 2, 3), LOGISTICS(2, 4, 3), resolutions=2, **SMALL
    ),
    "wavenet_of_categories": models.WaveNet((6,), families.Categorical(5), **WAVE),
    "wavenet_of_logistics": models.WaveNet((6,), LOGISTICS(2, 5), **WAVE),
    "rnade": models.RNADE((5,), 6, 2),
    "nade_ensemble": models.NADE((2, 3, 1), 5, num_orders=2, ordering="random"),
    "made_random_ordering": MADE((2, 3, 1), (12,), ordering="random", activation=jnp.tanh),
    "made_ensemble": MADE((2, 3, 1), (12, 12), num_orders=3, residual=True, activation=jnp.tanh),
}


@pytest.fixture(params=MODELS)
def scrambled_model(request):
    model = MODELS[request.param]
    x = jnp.zeros((1, *model.event_shape))
    return model, scrambled_start(model, jax.random.key(0), x, scale=0.3, method="log_prob")


@pytest.mark.staggered
def test_sites_of_any_family_are_read_in_order(scrambled_model):
    """Steps equal the call, and parameters read all sites before theirs and no other."""
    model, variables = scrambled_model
    family, generator = model.family, np.random.default_rng(1)
    event_sites = model.event_shape[: len(model.event_shape) - family.event_ndims]
    num_sites = int(np.prod(event_sites))
    shape = (num_sites + 1, num_sites, *family.site_shape)
    # Row t has the values of the last row before site t, and others from there on.
    later = np.tri(*shape[:2], -1, dtype=bool).reshape(*shape[:2], *[1] * family.event_ndims)
    first = generator.integers(0, 2, shape[1:]).astype(np.float32)
    x = jnp.asarray(np.where(later, first, 1 - first))

    @jax.jit
    def both_ways(variables, mask):
        one = model.apply(variables, None, mask)
        stepped = run_steps(one.network, x, num_sites, None, family.event_ndims)
        return one.params(x.reshape(-1, *model.event_shape)), stepped

    for mask in range(model.num_orders):
        full, stepped = map(np.asarray, both_ways(variables, mask))
        scale = np.abs(full).max()
        np.testing.assert_allclose(stepped, full, atol=1e-5 * scale)
        moved = np.abs(full - full[-1]).max(-1) / scale
        for site in range(num_sites):
            assert moved[site, : site + 1].max() < 1e-6
            assert site == num_sites - 1 or moved[site, site + 1 :].max() > 1e-4


@pytest.mark.staggered
def test_samplers_of_any_family_agree(scrambled_model):
    model, variables = scrambled_model
    draws = [
        jax.jit(lambda v, mask, m=method: sampled(model.clone(sampling=m).apply(v, None, mask), 64))
        for method in METHODS
    ]
    for mask in range(model.num_orders):
        first, *others = (np.asarray(draw(variables, mask)) for draw in draws)
        assert first.shape == (64, *model.event_shape) and first.std(0).min() > 0
        for other in others:
            if model.family.values == "real":
                np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-4)
            else:
                np.testing.assert_array_equal(other, first)


def test_a_mask_is_the_masked_network_of_the_paper():
    """Mask m against M[k, j] = [degree(j) <= degree(k)] built from its ordering (equation 8-13)."""
    model = MADE((5,), (8,), num_orders=2, activation=jnp.tanh)
    variables = perturbed(
        compiled_start(model, jax.random.key(0), jnp.zeros((1, 5)), method="log_prob")
    )
    params = variables["params"]["network"]
    x = jnp.asarray([[0.0, 1, 1, 0, 1]])
    for mask in range(2):
        order, units = (table[mask] for table in model.bind(variables)._tables())
        position = np.argsort(order)  # data dimension -> position in the order
        degree = np.empty(8, int)
        degree[units] = 1 + np.arange(8) * 4 // 8
        first = params["kernel_0"] * (position[:, None] + 1 <= degree)
        last = params["out_kernel"] * (degree[:, None] <= position[None, :])
        logits = jnp.tanh(x @ first + params["bias_0"]) @ last + params["out_bias"]
        expected = (x * logits - jnp.logaddexp(0.0, logits)).sum(-1)
        ours = model.apply(variables, None, mask).log_prob(x)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: MaskedMLP(3, (4,), 1).init(jax.random.key(0), jnp.zeros((2, 4))), "x"),
        (lambda: MaskedMLP(3, (0,), 1).init(jax.random.key(0), jnp.zeros((2, 3))), "hidden"),
        (
            lambda: MaskedMLP(3, (4,), 1).init(jax.random.key(0), jnp.zeros(3), jnp.zeros(2)),
            "context",
        ),
        (lambda: Autoregressive(None, families.Bernoulli(), (3,), method="fast"), "method"),
        (
            lambda: MADE((2, 2, 1), (4,)).init(
                jax.random.key(0), jnp.zeros((1, 3, 2, 1)), method="log_prob"
            ),
            "value",
        ),
        (
            lambda: MADE((4,), num_orders=0).init(
                jax.random.key(0), jnp.zeros((1, 4)), method="log_prob"
            ),
            "num_orders",
        ),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()
