"""Networks over noisy data at a time: shapes, what they depend on, and attention by hand."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scrambling import applied, compiled_start, perturbed

from dgmjax import nn
from dgmjax.errors import DgmjaxError
from dgmjax.nn.autoregressive.attention import attend
from dgmjax.nn.unet import GroupNorm, halved_up

KEY = jax.random.key(0)
SMALL = {"channels": (4, 4), "num_classes": 3}
NETWORKS = {
    "unet": (nn.UNet(**SMALL), (6, 5, 2)),
    "unet_attention": (nn.UNet((4,), attention=(0,), heads=2, num_classes=3), (3, 3, 1)),
    "unet_levels": (nn.UNet(**SMALL, embed=nn.OneHot(4), num_outputs=4), (7, 7, 1)),
    "unet_patches": (nn.UNet((4,), patch=2, num_classes=3), (4, 6, 2)),
    "dit": (nn.DiT(8, 1, 2, patch=2, num_classes=3), (4, 6, 2)),
    "dit_text": (
        nn.DiT(8, 1, 2, event_ndims=1, num_classes=3, embed=nn.Table(4, 5), num_outputs=4),
        (6,),
    ),
}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    network, event = NETWORKS[request.param]
    x = jax.random.normal(KEY, (5, *event))
    if network.embed is not None:
        x = jax.random.randint(KEY, x.shape, 0, 4)
    t, label = jnp.linspace(0.1, 0.9, 5), jnp.array([-1, 0, 1, 2, 0])
    start = jax.jit(network.init)(KEY, x, t, label)
    return network, jax.jit(network.apply), start, perturbed(start), (x, t, label)


@pytest.mark.staggered
def test_the_output_has_the_shape_of_the_event_and_starts_at_zero(case):
    network, apply, start, variables, (x, t, label) = case
    each = (4,) if network.num_outputs else ()
    out = apply(start, x, t, label)
    assert out.shape == (*x.shape, *each) and not np.asarray(out).any()
    out = apply(variables, x, t, label)
    # Any batch shape, also an empty one, and one time for all.
    split = apply(variables, x[None, :4], t[:4], label[:4])
    np.testing.assert_allclose(split[0], out[:4], atol=1e-5)
    for shape, given in (((0, *out.shape[1:]), (x[:0], t[:0])), (out.shape, (x, t[1]))):
        assert jax.eval_shape(network.apply, variables, *given).shape == shape


@pytest.mark.staggered
def test_the_output_depends_on_every_entry_the_time_and_the_class(case):
    network, apply, _, variables, (x, t, label) = case
    base = apply(variables, x, t, label)
    later, other = apply(variables, x, t + 0.05, label), apply(variables, x, t, (label + 2) % 3)
    for changed in (later, other):
        assert (np.abs(changed - base).reshape(5, -1).max(1) > 1e-4).all()
    np.testing.assert_allclose(apply(variables, x, t), apply(variables, x, t, -jnp.ones(5)), 1e-5)
    if network.embed is None:
        # Each output reads inputs at both ends of the event, and no other example.
        slope = jax.jit(jax.grad(lambda x: apply(variables, x, t, label)[0].sum()))(x)
        assert (np.abs(slope[0]) > 0).all() and not np.asarray(slope[1:]).any()


@pytest.mark.staggered
def test_every_parameter_gets_a_gradient(case):
    _, apply, _, variables, (x, t, label) = case
    slopes = jax.jit(jax.grad(lambda v: (apply(v, x, t, label) ** 2).sum()))(variables)
    for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
        assert np.isfinite(slope).all() and float(jnp.abs(slope).max()) > 0, path


def test_labels_are_hidden_in_training_at_the_rate_of_the_dropout():
    embedding = nn.TimeEmbedding(4, 2, label_dropout=0.3)
    t, label = jnp.zeros(4000), jnp.ones(4000, int)
    variables = compiled_start(embedding, KEY, t, label)
    hidden = applied(embedding, variables, t, rngs={"dropout": KEY})[0]
    noisy = applied(embedding, variables, t, label, rngs={"dropout": KEY})
    share = float((jnp.abs(noisy - hidden).max(-1) < 1e-7).mean())
    assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 4000))
    plain = applied(embedding, variables, t, label)
    assert float(jnp.abs(plain - plain[0]).max()) < 1e-7


def test_classes_are_as_loud_as_times():
    """A fiftieth of that left samples of a class at chance after a thousand steps."""
    embedding = nn.TimeEmbedding(64, 10, label_dropout=0.0)
    t = jnp.linspace(0.0, 1.0, 100)
    variables = compiled_start(embedding, KEY, t, jnp.arange(100) % 10)
    spread = lambda h: float(h.std(0).mean())
    of_times = spread(applied(embedding, variables, t))
    of_classes = spread(applied(embedding, variables, jnp.zeros(10), jnp.arange(10)))
    assert 1.0 < of_classes / of_times < 20.0


def test_fourier_features_tell_close_and_distant_times_apart():
    t = jnp.linspace(0.0, 1.0, 1001)
    f = nn.fourier_features(t, 16)
    distance = jnp.linalg.norm(f[:, None] - f[None], axis=-1) + 10.0 * jnp.eye(1001)
    assert float(distance.min()) > 0.5
    np.testing.assert_allclose((f**2).sum(-1), 8.0, rtol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_attention_is_a_softmax_over_all_sites(turned):
    layer, h = nn.SelfAttention(2, rotary=turned), jax.random.normal(KEY, (2, 5, 8))
    variables = perturbed(compiled_start(layer, KEY, h))
    read, write = (variables["params"][f"Dense_{i}"] for i in range(2))
    parts = (h @ read["kernel"] + read["bias"]).reshape(2, 5, 3, 2, 4)
    query, key, value = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
    if turned:
        query, key = (nn.rotary(part, jnp.arange(5)) for part in (query, key))
    weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", query, key) / 2.0, -1)
    out = jnp.einsum("bhts,bshd->bthd", weights, value).reshape(2, 5, 8)
    wanted = out @ write["kernel"] + write["bias"]
    np.testing.assert_allclose(applied(layer, variables, h), wanted, rtol=1e-4, atol=1e-5)


def test_attention_of_float64_has_a_softmax_of_float64():
    """`jax.nn.dot_product_attention` takes it in float32, an error of 1e-7."""
    values = np.random.default_rng(0).normal(size=(3, 1, 1, 5, 4))
    with jax.enable_x64(True):
        query, key, value = map(jnp.asarray, values)
        found = jax.jit(attend)(query, key, value)
    scores = values[0, 0, 0] @ values[1, 0, 0].T / 2.0
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(found[0, 0], weights @ values[2, 0, 0], rtol=1e-14, atol=1e-15)


def test_groups_are_normalised_as_by_flax():
    h = 3.0 + jax.random.normal(KEY, (2, 5, 4, 12))
    ours, theirs = GroupNorm(4), flax.linen.GroupNorm(4)
    variables = perturbed(compiled_start(theirs, KEY, h))
    wanted = applied(theirs, variables, h)
    np.testing.assert_allclose(applied(ours, variables, h), wanted, rtol=1e-4, atol=1e-5)
    assert jax.tree.structure(compiled_start(ours, KEY, h)) == jax.tree.structure(variables)
    # In bfloat16 a scale and a shift of a large mean would leave an error of every channel.
    low = (h + 30.0).astype(jnp.bfloat16)
    wanted = applied(theirs, variables, low.astype(jnp.float32))
    found = applied(ours, variables, low)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), wanted, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_groups_far_from_zero_are_normalised_too(offset):
    h = offset + jax.random.normal(KEY, (2, 5, 4, 12))
    variables = compiled_start(GroupNorm(4), KEY, h)
    wide = np.asarray(h, np.float64).reshape(2, 20, 4, 3)
    wide = (wide - wide.mean((1, 3), keepdims=True)) / wide.std((1, 3), keepdims=True)
    found = applied(GroupNorm(4), variables, h)
    np.testing.assert_allclose(found, wide.reshape(h.shape), atol=3e-3)
    with jax.enable_x64(True):
        wider = jnp.asarray(np.asarray(h, np.float64))
        assert abs(np.asarray(applied(GroupNorm(4), variables, wider)).std() - 1) < 1e-5


def test_the_slope_of_a_group_is_that_of_differences():
    with jax.enable_x64(True):
        h = 5.0 + jax.random.normal(KEY, (1, 3, 2, 4), jnp.float64)
        module = GroupNorm(2)
        variables = module.init(KEY, h)
        value = lambda h: (module.apply(variables, h) ** 3).sum()
        check_grads(value, (h,), 1, modes=["rev"], rtol=1e-5)


def test_means_of_odd_images_repeat_the_last_row_and_column():
    h = np.arange(9.0).reshape(1, 3, 3, 1)
    found = np.asarray(halved_up(jnp.asarray(h)))[0, :, :, 0]
    np.testing.assert_allclose(found, [[2.0, 3.5], [6.5, 8.0]])
    even = jax.random.normal(KEY, (2, 4, 6, 3))
    windows = np.asarray(even).reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    np.testing.assert_allclose(halved_up(even), windows, rtol=1e-5, atol=1e-6)


def test_patches_are_put_back_where_they_were():
    """Without attention a patch of the output reads the same patch of the input alone."""
    network, x = nn.DiT(8, 1, 2, patch=2), jax.random.normal(KEY, (1, 4, 6, 1))
    start = compiled_start(network, KEY, x, jnp.zeros(1))
    variables = perturbed(start)
    block = variables["params"]["AdaptiveBlock_0"]["SelfAttention_0"]["Dense_1"]
    block["kernel"] = jnp.zeros_like(block["kernel"])
    output = lambda x: network.apply(variables, x, jnp.zeros(1))[0, ..., 0]
    slopes = jax.jit(jax.jacobian(output))(x)[:, :, 0, :, :, 0]
    rows, columns = np.arange(4) // 2, np.arange(6) // 2
    same = (rows[:, None] == rows)[:, None, :, None] & (columns[:, None] == columns)[None, :, None]
    np.testing.assert_array_equal(np.asarray(slopes) != 0.0, same)


@pytest.mark.parametrize("channels, most", [((12, 16, 24), 1.1e5), ((24, 48, 48), 5.5e5)])
def test_sizes_of_the_u_net(channels, most):
    """28 -> 14 -> 7 with 0.1 and 0.5 million parameters."""
    network = nn.UNet(channels)
    x = jnp.zeros((2, 28, 28, 1))
    shapes = jax.eval_shape(network.init, KEY, x, jnp.zeros(2))
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert 0.9 * most < size < most, size
    assert jax.eval_shape(network.apply, shapes, x, jnp.zeros(2)).shape == x.shape


@pytest.mark.parametrize(
    "network, x, t, label, argument",
    [
        (nn.UNet(()), (2, 4, 4, 1), (2,), None, "channels"),
        (nn.UNet((4, 0)), (2, 4, 4, 1), (2,), None, "channels"),
        (nn.UNet((4,), blocks=0), (2, 4, 4, 1), (2,), None, "blocks"),
        (nn.UNet((4,), attention=(1,)), (2, 4, 4, 1), (2,), None, "attention"),
        (nn.UNet((4,), attention=(0,), heads=3), (2, 4, 4, 1), (2,), None, "heads"),
        (nn.UNet((4,)), (4, 4), (2,), None, "x"),
        (nn.UNet((4,)), (2, 4, 4, 1), (3,), None, "t"),
        (nn.UNet((4,)), (2, 4, 4, 1), (2,), [0, 1], "context"),
        (nn.UNet((4,), num_classes=2), (2, 4, 4, 1), (2,), [0, 2], "context"),
        (nn.UNet((4,), num_classes=2), (2, 4, 4, 1), (2,), [0, -2], "context"),
        (nn.UNet((4,), num_classes=2), (2, 4, 4, 1), (2,), [0, 0, 1], "context"),
        (nn.UNet((4,), dropout=1.0), (2, 4, 4, 1), (2,), None, "rate"),
        (nn.DiT(8, 1, 2, patch=3), (2, 4, 4, 1), (2,), None, "x"),
        (nn.DiT(8, 1, 2, patch=0), (2, 4, 4, 1), (2,), None, "patch"),
        (nn.UNet((4,), patch=3), (2, 4, 4, 1), (2,), None, "x"),
        (nn.DiT(8, 1, 2, patch=2, event_ndims=1), (2, 4), (2,), None, "patch"),
        (nn.DiT(8, 1, 2, event_ndims=2), (2, 4, 4), (2,), None, "event_ndims"),
        (nn.DiT(8, 0, 2), (2, 4, 4, 1), (2,), None, "layers"),
        (nn.DiT(8, 1, 3), (2, 4, 4, 1), (2,), None, "heads"),
        (nn.DiT(8, 1, 2), (2, 4, 4, 1), None, None, "t"),
        (nn.TimeEmbedding(3), (), (2,), None, "num"),
        (nn.TimeEmbedding(4, 2, 1.0), (), (2,), None, "label_dropout"),
    ],
)
def test_bad_input_is_named(network, x, t, label, argument):
    arrays = [jnp.zeros(x)] * (len(x) > 0) + [None if t is None else jnp.zeros(t)]
    given = [] if label is None else [jnp.array(label)]
    with pytest.raises(DgmjaxError, match=f"`{argument}`"):
        network.init(KEY, *arrays, *given)
