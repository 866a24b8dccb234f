"""Networks of adversarial games: shapes, normalisation, and what they equal in other words."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start

from dgmjax import masks, nn
from dgmjax.bijectors import Squeeze
from dgmjax.errors import DgmjaxError
from dgmjax.nn.dit import plain_norm
from dgmjax.nn.normalised import Normalise

KEY = jax.random.key(0)
GENERATORS = {
    "dcgan": nn.DCGANGenerator,
    "residual": nn.ResidualGenerator,
}
FEATURES = {"dcgan": nn.DCGANFeatures, "residual": nn.ResidualFeatures}
SHAPES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.slow
@pytest.mark.staggered
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", GENERATORS)
def test_generators_and_critics_fit_images(name, shape):
    generator, z = GENERATORS[name](shape, channels=4), jnp.ones((2, 3, 5))
    variables = compiled_start(generator, KEY, z)
    x = applied(generator, variables, z)
    assert x.shape == (2, 3, *shape) and float(jnp.abs(x).max()) <= 1.0
    classes = jnp.eye(4)[:3]
    with_classes = compiled_start(generator, KEY, z, classes)
    assert generator.apply(with_classes, z, classes).shape == x.shape
    critic = nn.Critic(FEATURES[name](channels=4), weights="spectral")
    variables = compiled_start(critic, KEY, x, classes)
    values = applied(critic, variables, x, classes)
    assert values.shape == (2, 3, 1) and len(np.unique(values)) > 1
    assert critic.apply(variables, x[0, 0], classes[0]).shape == (1,)


@pytest.mark.staggered
@pytest.mark.parametrize("weights", ["plain", "spectral", "equalised"])
@pytest.mark.parametrize("normalisation", ["none", "batch", "layer", "pixel"])
def test_every_weight_and_normalisation_trains_every_kernel(weights, normalisation):
    network = nn.NormalisedMLP((6, 6), (2,), weights=weights, normalisation=normalisation)
    x = jax.random.normal(KEY, (7, 3))
    variables = compiled_start(network, KEY, x)
    state = {name: tree for name, tree in variables.items() if name != "params"}

    def loss(params):
        y, _ = network.apply({"params": params, **state}, x, mutable=list(state))
        return (y**2).sum()

    slopes = jax.grad(loss)(variables["params"])
    for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
        if "kernel" in str(path):
            assert np.isfinite(slope).all() and float(jnp.abs(slope).max()) > 0, path


def test_a_doubling_is_a_transposed_convolution_and_a_halving_a_strided_one():
    """4x4 taps with stride 2 of another program, with the kernel taken apart into 2x2 blocks."""
    h = jax.random.normal(KEY, (2, 6, 6, 3))
    whole = jax.random.normal(jax.random.key(1), (4, 4, 3, 5))
    dims = ("NHWC", "HWIO", "NHWC")
    strided = jax.lax.conv_general_dilated(
        h, whole, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dims
    )
    blocks = Squeeze(2).inverse(jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0))))
    # Taps (2 a + i, 2 b + j) are tap (a, b) of the channel that pixel (i, j) of a block becomes.
    order = Squeeze(2).inverse(jnp.arange(12.0).reshape(1, 2, 2, 3))[0, 0, 0].astype(int)
    kernel = whole.reshape(2, 2, 2, 2, 3, 5).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 12, 5)
    ours = jax.lax.conv_general_dilated(
        blocks, kernel[:, :, order], (1, 1), "VALID", dimension_numbers=dims
    )
    np.testing.assert_allclose(ours, strided, rtol=1e-4, atol=1e-4)
    # The transpose of the halving is the doubling: <halved(x), y> = <x, doubled(y)>.
    halve = lambda x: jax.lax.conv_general_dilated(
        x, whole, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dims
    )
    y = jax.random.normal(jax.random.key(2), strided.shape)
    doubled = jax.vjp(halve, h)[1](y)[0]
    mirrored = kernel[::-1, ::-1].transpose(0, 1, 3, 2)[..., order]
    wide = jax.lax.conv_general_dilated(
        y, mirrored, (1, 1), ((1, 1), (1, 1)), dimension_numbers=dims
    )
    found = Squeeze(2).forward(wide)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found, doubled, rtol=1e-4, atol=1e-4)


def test_batch_normalisation_in_training_and_after_it():
    layer, h = nn.Normalise("batch"), 3.0 + 2.0 * jax.random.normal(KEY, (500, 4))
    variables = compiled_start(layer, KEY, h)
    for _ in range(100):
        y, stats = applied(layer, variables, h, mutable=["batch_stats"])
        variables = {**variables, **stats}
    np.testing.assert_allclose(y.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), 1.0, atol=1e-4)
    np.testing.assert_allclose(applied(layer, variables, h), y, atol=1e-3)
    np.testing.assert_allclose(applied(layer, variables, h[0]), y[0], atol=1e-3)
    # One vector is its own mean, and would leave nothing but the bias.
    with pytest.raises(DgmjaxError, match="`h` must have at least two vectors"):
        layer.apply(variables, h[:1], mutable=["batch_stats"])


def test_an_equalised_layer_starts_as_without_and_stores_kernels_of_one_size():
    x = jax.random.normal(KEY, (4, 50))
    for layer in (nn.Dense(200), nn.Dense(2000)):
        wrapped = nn.Equalised(layer)
        variables = compiled_start(wrapped, KEY, x)
        stored = variables["params"]["layer"]
        assert float(stored["kernel"].std()) == pytest.approx(1.0, abs=0.02)  # LeCun's has 1 / 50
        plain = {"kernel": stored["kernel"] / np.sqrt(50), "bias": stored["bias"]}
        np.testing.assert_allclose(
            applied(wrapped, variables, x),
            applied(layer, {"params": plain}, x),
            rtol=1e-5,
            atol=1e-5,
        )


def test_equalised_kernels_do_not_grow_with_the_calls_that_make_them():
    """A game makes parameters by calling its critic several times."""

    class Twice(flax.linen.Module):
        def setup(self):
            self.layer = nn.Equalised(nn.Dense(200))

        def __call__(self, x):
            return self.layer(x) + self.layer(-x) + self.layer(2.0 * x)

    kernel = compiled_start(Twice(), KEY, jnp.ones((4, 50)))["params"]["layer"]["layer"]["kernel"]
    assert float(kernel.std()) == pytest.approx(1.0, abs=0.03)


def test_the_minibatch_deviation_is_zero_of_equal_samples_only():
    x = jax.random.normal(KEY, (6, 4, 4, 2))
    added = nn.minibatch_deviation(x)
    assert added.shape == (6, 4, 4, 3)
    np.testing.assert_allclose(added[..., 2], np.asarray(x).std(0).mean(), rtol=1e-5)
    same = nn.minibatch_deviation(jnp.broadcast_to(x[:1], x.shape))
    assert float(same[..., 2].max()) < 1e-3
    np.testing.assert_allclose((nn.pixel_norm(x) ** 2).mean(-1), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    "norm",
    [
        nn.pixel_norm,
        plain_norm,
        lambda h: Normalise("batch").init_with_output(KEY, h)[0],
    ],
)
def test_norms_of_float16_do_not_overflow(norm):
    """The squares of 400 do, and every output was 0."""
    h = (400.0 * jax.random.normal(KEY, (8, 5))).astype(jnp.float16)
    found, exact = jax.jit(norm)(h), jax.jit(norm)(h.astype(jnp.float32))
    assert found.dtype == jnp.float16
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_the_projection_adds_the_embedding_of_the_class():
    """v(x, y) - v(x, y') = (e_y - e_y') . phi(x)."""
    features = nn.MLP((), (3,))
    critic = nn.Critic(features)
    x, classes = jax.random.normal(KEY, (5, 2)), jnp.eye(4)
    variables = compiled_start(critic, KEY, x, classes[jnp.zeros(5, int)])
    value = lambda label: critic.apply(variables, x, classes[jnp.full(5, label)])[:, 0]
    phi = applied(features, {"params": variables["params"]["features"]}, x)
    embedding = variables["params"]["Dense_1"]["kernel"]
    np.testing.assert_allclose(value(2) - value(1), phi @ (embedding[2] - embedding[1]), atol=1e-5)
    np.testing.assert_allclose(
        value(2) - applied(critic, variables, x)[:, 0], phi @ embedding[2], atol=1e-5
    )


def test_hidden_layers_stand_before_the_first_map_and_after_the_last():
    """The networks without them, of other inputs, and a layer on their outputs."""
    z, x = jax.random.normal(KEY, (3, 5)), jax.random.normal(KEY, (3, 8, 8, 1))

    def with_layer(network, inputs):
        """The parameters of both networks, the numbers of the first layer, and the output."""
        params = compiled_start(network, KEY, inputs)["params"]
        out = network.apply({"params": params}, inputs)
        first, second = params.pop("Dense_0"), params.pop("Dense_1", None)
        return params, first, second, out

    generator = nn.DCGANGenerator((8, 8, 1), 2, "none", hidden=6)
    params, first, second, out = with_layer(generator, z)
    h = jax.nn.relu(z @ first["kernel"] + first["bias"])
    plain = applied(generator.clone(hidden=0), {"params": {**params, "Dense_0": second}}, h)
    np.testing.assert_allclose(out, plain, rtol=1e-5, atol=1e-6)
    features = nn.DCGANFeatures(2, hidden=6)
    params, first, _, out = with_layer(features, x)
    plain = applied(features.clone(hidden=0), {"params": params}, x)
    expected = jax.nn.leaky_relu(plain @ first["kernel"] + first["bias"], 0.2)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    assert out.shape == (3, 6)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: nn.DCGANGenerator((8, 8, 1), hidden=-1).init(KEY, jnp.ones((1, 2))), "hidden"),
        (lambda: nn.DCGANFeatures(hidden=-1).init(KEY, jnp.ones((1, 8, 8, 1))), "hidden"),
        (lambda: nn.DCGANGenerator((27, 28, 1)).init(KEY, jnp.ones((1, 2))), "output"),
        (lambda: nn.DCGANFeatures().init(KEY, jnp.ones((1, 6, 6, 1))), "output"),
        (lambda: nn.DCGANFeatures().init(KEY, jnp.ones((1, 6))), "x"),
        (lambda: nn.ResidualFeatures(blocks=1).init(KEY, jnp.ones((1, 8, 8, 1))), "blocks"),
        (lambda: nn.ResidualFeatures().init(KEY, jnp.ones((1, 6, 8, 1))), "x"),
        (lambda: nn.Normalise("group").init(KEY, jnp.ones((1, 6))), "normalisation"),
        (
            lambda: nn.NormalisedMLP((2,), (1,), weights="norm").init(KEY, jnp.ones((1, 6))),
            "weights",
        ),
        (lambda: nn.maxout(jnp.ones(5), 2), "pieces"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}` must"):
        make()


@pytest.mark.parametrize("normalisation", ["none", "layer"])
def test_signals_keep_their_size_when_training_starts(normalisation):
    """Kernels of deviation 0.02 without normalisation had made them 50 times smaller."""
    z = jax.random.normal(KEY, (16, 32))
    x = jax.random.normal(KEY, (16, 28, 28, 1))
    layers = nn.DCGANGenerator((28, 28, 1), 16, normalisation), nn.DCGANFeatures(16, normalisation)
    for layer, signal in zip(layers, (z, x)):
        out, _ = layer.init_with_output(KEY, signal)
        if normalisation == "none":
            assert 0.3 < float(jnp.std(out)) < 2.0
        else:  # the published start: what is normalised is not to be told from the kernels' size
            kernels = jax.tree.leaves(compiled_start(layer, KEY, signal)["params"])
            widths = [float(jnp.std(kernel)) for kernel in kernels if kernel.ndim > 1]
            assert all(width == pytest.approx(0.02, rel=0.15) for width in widths)


def test_a_bounded_output_is_the_tangent_of_the_other():
    z = jax.random.normal(KEY, (5, 3))
    plain = nn.NormalisedMLP((4,), (2, 2, 1))
    bounded = plain.clone(bounded=True)
    variables = compiled_start(plain, KEY, z)
    variables = jax.tree.map(lambda leaf: leaf + 0.3, variables)
    expected = np.tanh(applied(plain, variables, z))
    np.testing.assert_allclose(applied(bounded, variables, z), expected, rtol=1e-6)
    assert (plain.values, bounded.values) == ("real", "signed")


def test_the_second_argument_of_a_dense_network_stands_beside_the_first():
    x, z = jax.random.normal(KEY, (5, 2, 2, 1)), jax.random.normal(KEY, (5, 3))
    critic = nn.NormalisedMLP((), (1,), event_ndims=3)
    variables = compiled_start(critic, KEY, x, z)
    kernel, bias = (variables["params"]["Dense_0"][name] for name in ("kernel", "bias"))
    expected = np.concatenate([np.reshape(x, (5, 4)), z], -1) @ np.asarray(kernel) + bias
    np.testing.assert_allclose(applied(critic, variables, x, z), expected, rtol=1e-5, atol=1e-6)


def test_a_critic_of_packs_reads_their_events_side_by_side():
    """Channels of an image after those of the one before; padding that fills packs is left out."""
    critic = nn.Packed(nn.Critic(nn.DCGANFeatures(4, normalisation="batch")), 2)
    x = jax.random.normal(KEY, (6, 16, 16, 3))
    variables = compiled_start(critic, KEY, x)
    inner = {name: tree["critic"] for name, tree in variables.items()}
    joined = jnp.concatenate([x[::2], x[1::2]], -1)
    train = {"mutable": ["batch_stats"]}
    values, after = applied(critic, variables, x, **train)
    expected, after_inner = applied(critic.critic, inner, joined, **train)
    np.testing.assert_allclose(values, np.repeat(expected, 2, 0), rtol=1e-5, atol=1e-6)
    assert len(np.unique(values)) == 3
    np.testing.assert_array_equal(
        *(
            jax.tree.leaves(a)[0]
            for a in (after["batch_stats"]["critic"], after_inner["batch_stats"])
        )
    )
    with masks.counting(jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])):
        padded, _ = critic.apply(variables, x, **train)
    fewer, _ = critic.apply(variables, x[:4], **train)
    np.testing.assert_allclose(padded[:4], fewer, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "size, rows, event_ndims, word",
    [(2, 3, 1, "x"), (0, 4, 1, "size"), (2, 4, 0, "event_ndims"), (2, 4, 3, "x")],
)
def test_packs_that_cannot_be_made_are_named(size, rows, event_ndims, word):
    packed = nn.Packed(nn.NormalisedMLP((3,), (1,)), size, event_ndims)
    with pytest.raises(DgmjaxError, match=rf"^`{word}`"):
        packed.init(KEY, jnp.ones((rows, 2)))
