"""Causal and masked convolutions, their networks, and what is peculiar to each."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from flax import linen
from scrambling import applied, compiled_start, scrambled_start

from dgmjax import models, nn
from dgmjax.bijectors import Conditioner
from dgmjax.distributions import Autoregressive, families
from dgmjax.errors import DgmjaxError
from dgmjax.nn import (
    AddContext,
    CausalConv,
    CausalNetwork,
    OneHot,
    Pointwise,
    RasterConv,
    Table,
    join_context,
    masked_convolution,
)
from dgmjax.nn.autoregressive.gated import WaveNetStack, gate


def random_variables(module, *args, scale=1.0, **options):
    return scrambled_start(module, jax.random.key(0), *args, scale=scale, **options)


def is_strict(layer) -> bool:
    return getattr(layer, "strict", False) or not getattr(layer, "centre", True)


def stepped(layer, variables, h, context=None, site_ndims=1):
    """The layer's output over maps `[B, *sites, C]`, one site after another."""
    sites = h.shape[1 : 1 + site_ndims]
    flat = jnp.moveaxis(h.reshape(len(h), -1, h.shape[-1]), 1, 0)
    inputs = jnp.concatenate([jnp.zeros_like(flat[:1]), flat[:-1]]) if is_strict(layer) else flat

    @jax.jit
    def run(variables, inputs, context):
        carry = layer.apply(variables, (len(h),), context, method="init_carry")
        body = lambda carry, item: layer.apply(variables, carry, *item, method="step")
        return jax.lax.scan(body, carry, (inputs, jnp.arange(len(inputs))))[1]

    out = run(variables, inputs, context)
    return jnp.moveaxis(out, 0, 1).reshape(len(h), *sites, -1)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    "kernel_size, dilation, strict", [(1, 1, False), (3, 4, False), (2, 3, True)]
)
def test_causal_conv_is_the_sum_of_its_formula(kernel_size, dilation, strict):
    layer, h = CausalConv(2, kernel_size, dilation, strict=strict), normal(0, 2, 11, 3)
    variables = random_variables(layer, h)
    kernel, bias = (np.asarray(variables["params"][name]) for name in ("kernel", "bias"))
    expected = np.zeros((2, 11, 2)) + bias
    for t in range(11):
        for tap in range(kernel_size):
            source = t - strict - dilation * (kernel_size - 1 - tap)
            if source >= 0:
                expected[:, t] += np.asarray(h)[:, source] @ kernel[tap]
    np.testing.assert_allclose(applied(layer, variables, h), expected, atol=1e-5)
    np.testing.assert_allclose(stepped(layer, variables, h), expected, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_gradients_of_causal_convolutions_on_short_sequences(length):
    """Reverse mode against forward mode, where padding exceeds the sequence.

    A convolution padded by more than its kernel has a wrong gradient on a CPU (jax 0.10.2).
    """
    h = normal(0, 2, length, 3)
    for dilation, strict in ((1, True), (4, False), (4, True)):
        layer = CausalConv(2, 2, dilation, strict=strict)
        variables = random_variables(layer, h)
        hold_gradients(layer, variables, h)


@pytest.mark.parametrize("sites", [(1, 1), (1, 4), (4, 1), (3, 3), (2, 2, 3)])
def test_gradients_of_masked_convolutions_on_small_images(sites):
    for kernel_size, kind in ((3, "A"), (7, "A"), (5, "B")):
        layer, h = masked_convolution(2, sites, kernel_size, kind), normal(0, 2, *sites, 3)
        hold_gradients(layer, random_variables(layer, h), h)


def hold_gradients(layer, variables, h):
    weights = normal(1, *jax.eval_shape(layer.apply, variables, h).shape)
    value = lambda variables, h: (layer.apply(variables, h) * weights).sum()
    reverse = jax.tree.leaves(jax.jit(jax.grad(value, (0, 1)))(variables, h))
    forward = jax.tree.leaves(jax.jit(jax.jacfwd(value, (0, 1)))(variables, h))
    for a, b in zip(reverse, forward):
        np.testing.assert_allclose(a, b, atol=1e-4)


def mask_of_the_paper(kernel_size, kind, groups):
    """`[k, k, groups_in, groups_out]`: what is before, and of the centre what the type allows."""
    half = kernel_size // 2
    mask = np.zeros((kernel_size, kernel_size, groups, groups), bool)
    mask[:half] = mask[half, :half] = True
    mask[half, half] = np.triu(np.ones((groups, groups)), 0 if kind == "B" else 1)
    return mask


def full_kernel(params, kernel_size, groups, channels, features):
    """The pieces of a masked convolution put into `[k, k, groups, C, groups, features]`."""
    half = kernel_size // 2
    full = np.zeros((kernel_size, kernel_size, groups, channels, groups, features))
    if half:
        full[:half] = params["above"].reshape(half, kernel_size, *full.shape[2:])
        full[half, :half] = params["left"].reshape(half, *full.shape[2:])
    for g in range(groups):
        if f"centre_{g}" in params:
            piece = params[f"centre_{g}"].reshape(-1, channels, features)
            full[half, half, : len(piece), :, g] = piece
    return full


@pytest.mark.parametrize(
    "kind, groups, kernel_size",
    [("A", 1, 3), ("A", 1, 7), ("A", 3, 1), ("A", 3, 5), ("B", 1, 1), ("B", 1, 7), ("B", 3, 3)],
)
def test_masked_convolution_is_that_of_the_paper(kind, groups, kernel_size):
    """Against a full k x k kernel, zero where the paper's mask is, correlated by SciPy."""
    sites = (4, 5) if groups == 1 else (4, 5, groups)
    layer, h = masked_convolution(2, sites, kernel_size, kind), normal(0, 2, *sites, 3)
    variables = random_variables(layer, h)
    params = {name: np.asarray(array) for name, array in variables["params"].items()}
    full = full_kernel(params, kernel_size, groups, 3, 2)
    live = (full != 0).any((3, 5))
    np.testing.assert_array_equal(live, mask_of_the_paper(kernel_size, kind, groups))
    half = kernel_size // 2
    maps = np.asarray(h).reshape(2, 4, 5, groups * 3)
    padded = np.pad(maps, ((0, 0), (half, half), (half, half), (0, 0)))
    kernel = full.reshape(kernel_size, kernel_size, groups * 3, groups * 2)
    expected = np.zeros((2, 4, 5, groups * 2)) + params["bias"]
    for image, into in zip(padded, expected):
        for c in range(kernel.shape[2]):
            for o in range(kernel.shape[3]):
                into[..., o] += scipy.signal.correlate2d(image[..., c], kernel[..., c, o], "valid")
    expected = expected.reshape(2, *sites, 2)
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(applied(layer, variables, h), expected, atol=tolerance)
    by_steps = stepped(layer, variables, h, site_ndims=len(sites))
    np.testing.assert_allclose(by_steps, expected, atol=tolerance)


def test_a_masked_kernel_has_no_dead_weights():
    """25 of the 49 taps of a 7x7 kernel exist."""
    layer, h = masked_convolution(4, (9, 9), 7), jnp.zeros((1, 9, 9, 2))
    shapes = jax.eval_shape(layer.init, jax.random.key(0), h)["params"]
    assert sum(leaf.size for name, leaf in shapes.items() if name != "bias") == 25 * 2 * 4


def seen(model, site):
    """Which pixels of an image the parameters of `site` read, `[H, W]`."""
    network = model.network
    x = normal(0, *model.event_shape)
    variables = random_variables(network, x, scale=0.2)
    one = lambda x: network.apply(variables, x)[site].sum()
    return np.asarray(jax.jit(jax.grad(one))(x))[..., 0] != 0


def test_gated_pixelcnn_has_no_blind_spot_and_pixelcnn_has_one():
    """Site (4, 2) and every pixel before it, which lie within both receptive fields.

    Three 3x3 layers reach three rows up; masked kernels cannot turn right along a row.
    """
    sizes = {"features": 6, "first_kernel": 3, "head_features": 8, "activation": jnp.tanh}
    rows, columns = np.indices((7, 7))
    before = (rows < 4) | ((rows == 4) & (columns < 2))
    gated = seen(models.GatedPixelCNN((7, 7, 1), blocks=5, **sizes), (4, 2))
    np.testing.assert_array_equal(gated, before)
    plain = seen(models.PixelCNN((7, 7, 1), blocks=5, **sizes), (4, 2))
    blind = columns - 2 > 4 - rows
    np.testing.assert_array_equal(plain, before & ~blind)
    assert (before & blind).sum() == 6


@pytest.mark.staggered
@pytest.mark.parametrize(
    "side, options",
    [
        (7, {"blocks": 4}),
        (8, {"blocks": 2, "resolutions": 2}),
        (8, {"blocks": 2, "resolutions": 3}),
        (8, {"blocks": 2, "resolutions": 4}),  # the coarsest is one pixel
    ],
    ids=["one", "two", "three", "four"],
)
def test_pixelcnn_plus_plus_has_no_blind_spot(side, options):
    model = models.PixelCNNPlusPlus((side, side, 1), families.Bernoulli(), features=6, **options)
    rows, columns = np.indices((side, side))
    for i, j in ((4, 2), (5, 3), (side - 1, side - 2)) if options.get("resolutions") else ((4, 2),):
        before = (rows < i) | ((rows == i) & (columns < j))
        np.testing.assert_array_equal(seen(model, (i, j)), before)


def test_halved_streams_read_more_of_the_image_with_as_many_layers():
    """Two blocks at each of two resolutions reach further than two of one."""
    one = models.PixelCNNPlusPlus((16, 16, 1), families.Bernoulli(), features=4, blocks=2)
    two = models.PixelCNNPlusPlus(
        (16, 16, 1), families.Bernoulli(), features=4, blocks=2, resolutions=2
    )
    few, many = (seen(model, (15, 15)) for model in (one, two))
    assert not np.any(few & ~many)
    assert many.sum() > 2 * few.sum()


def test_transposed_layers_hold_the_maps_that_flax_would():
    """Four maps of a site are `nn.ConvTranspose` of a 2x2 kernel and stride 2."""
    streams = nn.HalvedStreams(3, (4, 6), ())
    h, v = normal(0, 2, 4, 6, 3), normal(1, 2, 4, 6, 3)

    def both(module, h, v):
        _, read, _ = module.rows(v, None, module.no_past(2, 6, 3), [])
        return module((h, read))

    variables = compiled_start(streams, jax.random.key(0), h, v, method=both)
    out = applied(streams, variables, h, v, method=both)
    params = variables["params"]
    down = np.asarray(streams.bind(variables).down(h))[:, ::2, ::2]
    kernel = np.asarray(params["up"]["function"]["kernel"]).reshape(3, 2, 2, 3)
    transposed = linen.ConvTranspose(3, (2, 2), (2, 2), "VALID", transpose_kernel=False)
    # Flax correlates its kernel with the spread-out input: turned around.
    turned = np.moveaxis(kernel, 0, 2)[::-1, ::-1]
    expected = applied(transposed, {"params": {"kernel": turned, "bias": np.zeros(3)}}, down)
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("recipe", [models.PixelCNN, models.GatedPixelCNN])
def test_channels_are_read_in_the_order_red_green_blue(recipe):
    """Blue reads red and green of its pixel, green reads red, red none; exactly."""
    small = {"features": 3, "blocks": 1, "first_kernel": 3, "activation": jnp.tanh}
    network = recipe((2, 2, 3), families.Categorical(4), head_features=4, **small).network
    x = normal(0, 2, 2, 3)
    variables = random_variables(network, x, scale=0.4)
    jacobian = jax.jit(jax.jacobian(lambda x: network.apply(variables, x).sum(-1)))(x)
    own = np.asarray(jacobian)[1, 1, :, 1, 1]
    np.testing.assert_array_equal(own != 0, np.tril(np.ones((3, 3)), -1))


VECTORS = {
    "pixelcnn": (models.PixelCNN, {"blocks": 1, "first_kernel": 3}),
    "gated_pixelcnn": (models.GatedPixelCNN, {"blocks": 1, "first_kernel": 3}),
    "pixelcnn_plus_plus": (models.PixelCNNPlusPlus, {"blocks": 2}),
}


@pytest.mark.staggered
@pytest.mark.parametrize("recipe, sizes", VECTORS.values(), ids=VECTORS)
def test_pixels_of_several_channels(recipe, sizes):
    """Mixtures of logistics over whole pixels: a density that sums to one, and its samplers."""
    family = families.DiscretisedLogisticMixture(2, levels=2, channels=3)
    model = recipe((1, 2, 3), family, features=4, **sizes)
    images = (np.arange(64)[:, None] >> np.arange(6) & 1).reshape(64, 1, 2, 3).astype(np.float32)
    shapes = jax.eval_shape(lambda k: model.init(k, images, method="log_prob"), jax.random.key(0))
    generator = np.random.default_rng(0)
    variables = jax.tree.map(lambda a: jnp.asarray(0.5 * generator.normal(size=a.shape)), shapes)
    log_prob = jax.jit(lambda v, x: model.apply(v, x, method="log_prob"))(variables, images)
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)).sum(), 1.0, atol=1e-5)
    samples = []
    for method in ("incremental", "naive"):
        sampled = model.clone(sampling=method)
        draw = jax.jit(lambda v, k, m=sampled: m.apply(v, k, (32,), method="sample"))
        samples.append(np.asarray(draw(variables, jax.random.key(1))))
    np.testing.assert_array_equal(*samples)


@pytest.mark.staggered
@pytest.mark.parametrize("recipe, sizes", VECTORS.values(), ids=VECTORS)
def test_dropout_is_noise_in_training_only_and_looks_at_no_later_pixel(recipe, sizes):
    shape = (3, 3, 1)
    noisy = recipe(shape, families.Bernoulli(), features=6, dropout=0.5, **sizes).network
    plain = recipe(shape, families.Bernoulli(), features=6, **sizes).network
    x = normal(0, *shape)
    variables = random_variables(plain, x, scale=0.5)
    # The layers of a chain are numbered: a dropout without parameters leaves the others' names.
    renamed = random_variables(noisy, x, scale=0.5)
    leaves = jax.tree.leaves(variables)
    variables_noisy = jax.tree.unflatten(jax.tree.structure(renamed), leaves)
    without = jax.jit(noisy.apply)(variables_noisy, x)
    np.testing.assert_array_equal(without, jax.jit(plain.apply)(variables, x))
    run = jax.jit(lambda x, key: noisy.apply(variables_noisy, x, rngs={"dropout": key}))
    draws = [run(x, jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 1e-3 and np.isfinite(draws[0]).all()
    jacobian = jax.jit(jax.jacobian(lambda x: run(x, jax.random.key(0)).ravel()))(x)
    jacobian = np.asarray(jacobian).reshape(9, 9)
    assert (np.triu(jacobian) == 0).all() and (jacobian != 0).any()


def wavenet(**options):
    sizes = {"channels": 4, "skip_channels": 4, "stacks": 1, "layers": 3}
    return models.WaveNet((12,), families.Categorical(4), **sizes, **options)


def test_wavenet_reads_exactly_its_receptive_field():
    stack = WaveNetStack(4, 4, (1, 2, 4))
    assert stack.receptive_field == 8
    h = normal(0, 20, 4)
    variables = random_variables(stack, h, scale=0.5)
    last = jax.jit(jax.grad(lambda h: stack.apply(variables, h)[-1].sum()))(h)
    np.testing.assert_array_equal((np.asarray(last) != 0).all(-1), np.arange(20) >= 12)
    assert WaveNetStack(64, 64, tuple(2**i for i in range(10)) * 2).receptive_field == 1 + 2 * (
        2**10 - 1
    )


def test_wavenet_is_equation_two():
    """One layer: gate(W * h + V c + U l), residual and skip, written out."""
    stack = WaveNetStack(2, 3, (2, 1), context_features=2, local_features=1)
    h, shared, local = normal(0, 2, 5, 2), normal(1, 2, 2), normal(2, 2, 5, 1)
    context = join_context(shared, local)
    variables = random_variables(stack, h, context)
    p = jax.tree.map(np.asarray, variables["params"])
    total = np.zeros((2, 5, 3))
    current = np.asarray(h)
    for i, dilation in enumerate((2, 1)):
        conv, terms, out = p[f"convs_{i}"], p[f"contexts_{i}"], p[f"outs_{i}"]["function"]
        past = np.concatenate([np.zeros((2, dilation, 2)), current[:, :-dilation]], 1)
        a = past @ conv["kernel"][0] + current @ conv["kernel"][1] + conv["bias"]
        a = a + (shared @ terms["shared"]["kernel"])[:, None] + local @ terms["local"]["kernel"]
        z = np.tanh(a[..., :2]) / (1 + np.exp(-a[..., 2:]))
        both = z @ out["kernel"] + out["bias"]
        total = total + both[..., :3]
        current = current + both[..., 3:] if i == 0 else current
    np.testing.assert_allclose(applied(stack, variables, h, context), total, atol=1e-5)
    np.testing.assert_allclose(stepped(stack, variables, h, context), total, atol=1e-5)


@pytest.mark.parametrize("hop", [1, 5])
def test_local_conditioning_reads_its_own_site(hop):
    model = wavenet(context_features=2, local_features=3, hop=hop, activation=jnp.tanh)
    local, shared = normal(0, -(-12 // hop), 3), normal(1, 2)
    x = jnp.zeros((12,))
    network = model.network
    variables = random_variables(network, x, join_context(shared, local), scale=0.5)
    params = lambda local: network.apply(variables, x, join_context(shared, local)).sum(-1)
    jacobian = np.abs(jax.jit(jax.jacobian(params))(local)).sum(-1)
    frame = np.arange(12) // hop
    assert (jacobian[np.arange(len(local)) > frame[:, None]] == 0).all()
    assert (jacobian[np.arange(12), frame] > 0).all()
    samples = {}
    for method in ("incremental", "naive"):
        context = join_context(shared[None], jnp.stack([local, 0 * local]))
        model_of = lambda v, m=method, c=context: Autoregressive(
            Conditioner(network, v), families.Categorical(4), (12,), context=c, method=m
        )
        draw = jax.jit(lambda v, of=model_of: of(v).sample(seed=0, sample_shape=(3,)))
        samples[method] = np.asarray(draw(variables))
    assert samples["naive"].shape == (3, 2, 12)
    np.testing.assert_array_equal(samples["incremental"], samples["naive"])


def test_a_sequence_network_takes_any_length_and_its_state_does_not_grow():
    network = CausalNetwork(
        (CausalConv(4, 2, 4), Pointwise(jnp.tanh)),
        3,
        embed=Table(5, 2),
        first=CausalConv(2, 2, 8, strict=True),
    )
    variables = random_variables(network, jnp.zeros((2, 7)))
    long = jnp.asarray(np.random.default_rng(0).integers(0, 5, (2, 40)))
    full = applied(network, variables, long)
    np.testing.assert_allclose(applied(network, variables, long[:, :7]), full[:, :7], atol=1e-6)
    carry = network.apply(variables, (2,), method="init_carry")
    assert sum(leaf.size for leaf in jax.tree.leaves(carry)) == 2 * (9 * 2 + 5 * 2)


def test_image_state_holds_rows_of_the_receptive_field_only():
    """The state of a masked 7x7 convolution does not depend on the height."""
    sizes = []
    for height in (8, 16):
        layer = RasterConv(4, (height, 8), (3, 3, 3), 3)
        variables = random_variables(layer, jnp.zeros((1, height, 8, 2)))
        carry = layer.apply(variables, (2,), method="init_carry")
        sizes.append(sum(leaf.size for leaf in jax.tree.leaves(carry)))
    assert sizes[0] == sizes[1]


def test_embeddings():
    levels = jnp.array([0, 2, 1])
    np.testing.assert_array_equal(applied(OneHot(3), {}, levels), np.eye(3)[[0, 2, 1]])
    table = Table(3, 4)
    variables = random_variables(table, levels)
    rows = variables["params"]["table"]["embedding"]
    np.testing.assert_array_equal(applied(table, variables, levels), rows[levels])


def test_gate():
    a = normal(0, 5, 6)
    expected = np.tanh(a[:, :3]) / (1 + np.exp(-a[:, 3:]))
    np.testing.assert_allclose(gate(a), expected, atol=1e-6)


@pytest.mark.parametrize("site_bias", [False, True])
def test_initialisation_starts_at_the_marginals(site_bias):
    model = models.PixelCNN((2, 2, 1), features=2, blocks=1, first_kernel=3, site_bias=site_bias)
    x = jnp.asarray([[1.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]).reshape(3, 2, 2, 1)
    variables = random_variables(model.network, x)
    _, new = applied(
        model.network, variables, model.family, x, method="start_at_marginals", mutable=["params"]
    )
    bias = new["params"]["out_bias"]
    ones = np.array([3, 2, 0, 0]) if site_bias else np.array(5)
    number = 3 if site_bias else 12
    np.testing.assert_allclose(
        bias[..., 0], np.log((ones + 0.5) / (number - ones + 0.5)), atol=1e-5
    )


def image_of(recipe, *args, **options):
    return lambda: recipe(*args, **options)


BAD = {
    "event_shape": image_of(models.PixelCNN, (28, 28)),
    "family": image_of(
        models.PixelCNNPlusPlus, (4, 4, 1), families.DiscretisedLogisticMixture(2, channels=3)
    ),
    "blocks": image_of(models.PixelCNNPlusPlus, (4, 4, 1), families.Bernoulli(), blocks=3),
    "resolutions": image_of(models.PixelCNNPlusPlus, (4, 4, 1), resolutions=0),
    "shortcuts": lambda: nn.TwoStreams(
        (4, 4), nn.RowConv(2, 1, (1, 1)), nn.RasterConv(2, (4, 4), (1, 1, 1), 1, False), (), (None,)
    ).init(jax.random.key(0), jnp.zeros((1, 4, 4, 2))),
    "kernel_size": image_of(models.PixelCNN, (4, 4, 1), kernel_size=4),
    "dropout": image_of(models.GatedPixelCNN, (4, 4, 1), dropout=1.0),
    "first_kernel": image_of(models.GatedPixelCNN, (4, 4, 1), first_kernel=4),
    "kind": lambda: masked_convolution(2, (3, 3), 3, "C"),
    "stacks": image_of(models.WaveNet, (8,), stacks=0),
    "features": image_of(models.GatedPixelCNN, (4, 4, 1), features=0),
    "h": lambda: masked_convolution(2, (3, 3)).init(jax.random.key(0), jnp.zeros((1, 3, 4, 2))),
    "dilation": lambda: CausalConv(2, 2, 0).init(jax.random.key(0), jnp.zeros((1, 3, 2))),
    "x": lambda: models.PixelCNN((3, 3, 1)).network.init(
        jax.random.key(0), jnp.zeros((1, 3, 3, 3))
    ),
    "context": lambda: wavenet(local_features=2).network.init(
        jax.random.key(0), jnp.zeros((1, 12)), jnp.zeros((1, 23))
    ),
    "hop": lambda: wavenet(hop=0),
    "sites": lambda: CausalNetwork((), 1, event_shape=(3, 3, 1), sites=(3, 4)).init(
        jax.random.key(0), jnp.zeros((3, 3, 1))
    ),
}


@pytest.mark.parametrize("word", BAD)
def test_bad_input_is_named(word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` (must|and)"):
        BAD[word]()


def test_images_that_cannot_be_halved_are_named():
    with pytest.raises(DgmjaxError, match=r"^`event_shape` must .* divisible by 4 for 3 resol"):
        models.PixelCNNPlusPlus((6, 4, 1), families.Bernoulli(), resolutions=3)
    layer = nn.HalvedStreams(2, (4, 3), ())
    with pytest.raises(DgmjaxError, match=r"^`sites` must have an even height and width"):
        layer.no_past(1, 3, 2)
    layer = nn.HalvedStreams(2, (4, 4), (), (None,))
    with pytest.raises(DgmjaxError, match=r"^`shortcuts` must have an entry for each"):
        rows = lambda module, v: module.rows(v, None, module.no_past(1, 4, 2), [])
        layer.init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)), method=rows)


@pytest.mark.slow
def test_halved_streams_sample_what_they_are_given_a_context_for():
    """Incremental samples are those of whole passes, with a context of every example."""
    model = models.PixelCNNPlusPlus(
        (4, 4, 1), families.Bernoulli(), features=3, blocks=2, resolutions=3, context_features=2
    )
    context = normal(0, 8, 2)
    x = jnp.zeros((8, 4, 4, 1))
    variables = random_variables(model, x, context, method="log_prob", scale=0.5)
    draws = []
    for method in ("incremental", "naive"):
        sampled = model.clone(sampling=method)
        draw = jax.jit(lambda v, k, m=sampled: m.apply(v, k, (16,), context, method="sample"))
        draws.append(np.asarray(draw(variables, jax.random.key(1))))
    np.testing.assert_array_equal(*draws)
    assert draws[0].shape == (16, 8, 4, 4, 1) and 0.1 < draws[0].mean() < 0.9


@pytest.mark.slow
def test_halved_streams_of_other_types_and_batches():
    """Shapes alone: parameters stored in half precision, several keys at once, no images."""
    model = models.PixelCNNPlusPlus(
        (4, 4, 1), families.Bernoulli(), features=3, blocks=2, resolutions=2
    )
    start = partial(model.init, method="log_prob")
    variables = jax.eval_shape(start, jax.random.key(0), jnp.zeros((2, 4, 4, 1)))
    stored = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, jnp.bfloat16), variables)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 5))

    def draw(variables, keys, shape=(3,)):
        return jax.vmap(lambda key: model.apply(variables, key, shape, method="sample"))(keys)

    for given in (variables, stored):
        assert jax.eval_shape(draw, given, keys).shape == (5, 3, 4, 4, 1)
    assert jax.eval_shape(partial(draw, shape=(0,)), variables, keys).shape == (5, 0, 4, 4, 1)
    (number,) = jax.export.symbolic_shape("n")  # of images, as in exported models
    log_prob = jax.jit(partial(model.apply, method="log_prob"))
    images = jax.ShapeDtypeStruct((number, 4, 4, 1), jnp.float32)
    assert jax.export.export(log_prob)(variables, images).out_avals[0].shape == (number,)


def test_context_without_features_is_left_alone():
    layer = AddContext(3)
    h = normal(0, 2, 5, 3)
    np.testing.assert_array_equal(applied(layer, {}, h), h)
    assert layer.apply({}, (2,), method="init_carry") is None


def carried_bytes(model):
    """Bytes of what sampling remembers between sites."""
    variables = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, method="log_prob"), jnp.zeros(model.event_shape)
    )
    carry = jax.eval_shape(
        lambda v: model.apply(v, method=lambda m: m.network.init_carry((1,))), variables
    )
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry))


@pytest.mark.parametrize(
    "model",
    [
        lambda n: models.WaveNet((32 * n,), families.Categorical(4), channels=4, layers=4),
        lambda n: models.PixelCNN((8 * n, 8, 1), features=2, blocks=2, head_features=4),
        lambda n: models.GatedPixelCNN((8 * n, 8, 1), features=2, blocks=2, head_features=4),
        lambda n: models.CharRNN(32 * n, 4, 4),
        lambda n: models.DiagonalBiLSTM((8 * n, 8, 1), features=2, layers=2),
    ],
    ids=["wavenet", "pixelcnn", "gated_pixelcnn", "char_rnn", "diagonal_bilstm"],
)
def test_what_sampling_remembers_does_not_grow_with_the_length(model):
    assert carried_bytes(model(1)) == carried_bytes(model(4)) > 0


def test_what_sampling_remembers_is_linear_in_the_receptive_field():
    """A layer of dilation d keeps d + 1 inputs: 2^L - 1 + L for dilations 1 .. 2^(L-1)."""

    def kept(layers):
        family = families.Categorical(4)
        options = {"channels": 4, "skip_channels": 4, "stacks": 1, "layers": layers}
        return carried_bytes(models.WaveNet((64,), family, **options))

    steps = np.diff([kept(layers) for layers in (3, 4, 5, 6)])
    np.testing.assert_array_equal(steps, [9 * 16, 17 * 16, 33 * 16])
