"""Ways to take gradients: in a fixed order (equal bits on any number of devices), in parts, in
bfloat16, in less memory."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import fit
from flax import linen

from dgmjax import data, models, nn, objectives
from dgmjax.devices import make_mesh
from dgmjax.errors import DgmjaxError
from dgmjax.models.flows import layers
from dgmjax.runs import RunFolder
from dgmjax.training import Player, gradient_learner
from dgmjax.training.averages import averages
from dgmjax.training.gradients import (
    Microbatches,
    Precision,
    Rematerialised,
    VirtualShards,
    WholeBatch,
)

X = np.random.default_rng(0).integers(0, 17, (64, 4, 2, 1)).astype(np.uint8)
POINTS = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)
BINARISE = data.Binarise("dynamic", levels=17)
NLL = objectives.negative_log_likelihood


def learner_of(module, objective):
    return gradient_learner(module, {"model": Player(objective, optax.adam(1e-2))})


# name -> learner, data, transform: one model of each family
FAMILIES = {
    "vae": (learner_of(models.DenseVAE((4, 2, 1), 2, (8,)), objectives.elbo), X, BINARISE),
    "made": (learner_of(models.MADE((4, 2, 1), (8,)), NLL), X, BINARISE),
    "maf": (learner_of(models.MAF(2, 2, (8,)), NLL), POINTS, data.Identity()),
    "gan": (
        gradient_learner(
            models.GAN(2, nn.MLP((8,), (2,)), nn.MLP((8,), (1,))),
            {
                "critic": Player(objectives.critic_loss, optax.adam(1e-2), ("critic",), steps=2),
                "generator": Player(objectives.generator_loss, optax.adam(1e-2), ("generator",)),
            },
            ema_decay=0.9,
        ),
        POINTS,
        data.Identity(),
    ),
}


def train(name, devices, num_shards=8, steps=200, gradients=None, **options):
    learner, x, transform = FAMILIES[name]
    mesh = make_mesh(devices)
    if gradients is None:
        gradients = VirtualShards(mesh, num_shards) if num_shards else WholeBatch()
    return fit(
        learner.with_gradients(gradients),
        {"x": x},
        key=jax.random.key(0),
        steps=steps,
        transform=transform,
        mesh=mesh,
        log_every=10,
        every=10,
        **{"batch_size": 16} | options,
    )


def digest(state):
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        sha.update(np.asarray(leaf).tobytes())
    return sha.hexdigest()


def losses(result):
    return [[v for k, v in line.items() if k.endswith("loss")] for line in result.history]


@pytest.mark.staggered
@pytest.mark.parametrize("name", FAMILIES)
def test_state_and_metrics_are_equal_on_any_number_of_devices(name):
    one, many = train(name, 1, steps=20), train(name, 8, steps=20)
    assert digest(many.state) == digest(one.state)
    assert losses(many) == losses(one)


@pytest.mark.fault
@pytest.mark.parametrize("name", FAMILIES)
def test_two_hundred_steps_are_equal_on_1_2_4_and_8_devices(name):
    results = {devices: train(name, devices) for devices in (1, 2, 4, 8)}
    digests = {devices: digest(result.state) for devices, result in results.items()}
    print(f"{name}: SHA-256 after 200 steps {digests}")
    assert len(set(digests.values())) == 1
    assert all(losses(result) == losses(results[1]) for result in results.values())


@pytest.mark.parametrize("name", ["vae", "maf"])
def test_without_shards_losses_agree_closely(name):
    one, many = train(name, 1, None, steps=20), train(name, 8, None, steps=20)
    np.testing.assert_allclose(losses(one), losses(many), rtol=1e-5)


def test_the_gradient_is_that_of_the_whole_batch():
    """MAF has no noise of its own: virtual shards and whole batches differ in rounding only."""
    whole, shards = train("maf", 1, None, steps=10), train("maf", 1, 8, steps=10)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        whole.state.params,
        shards.state.params,
    )


@pytest.mark.staggered
@pytest.mark.parametrize("batch_size", [3, 10, 17])
def test_shards_need_not_divide_the_batch(batch_size):
    """Equal bits on any number of devices, and the averages of the whole batch."""
    same = {"batch_size": batch_size, "steps": 10}
    shards = [train("maf", devices, **same) for devices in (1, 2, 8)]
    assert len({digest(result.state) for result in shards}) == 1
    whole = train("maf", 1, None, **same)
    close(whole, shards[0], 1e-3, 1e-5)
    np.testing.assert_allclose(losses(whole), losses(shards[0]), rtol=1e-5)


@pytest.mark.fault
@pytest.mark.parametrize("name", FAMILIES)
def test_any_batch_on_1_2_4_and_8_devices(name):
    sizes = (1, 5, 12)
    for size in sizes:
        runs = [train(name, devices, steps=20, batch_size=size) for devices in (1, 2, 4, 8)]
        assert len({digest(result.state) for result in runs}) == 1
    print(f"{name}: batches of {sizes} equal bit for bit on 1, 2, 4 and 8 devices")


def test_a_run_may_change_its_devices_in_mid_epoch(tmp_path):
    whole = train("vae", 1, steps=24)
    for devices, steps in ((8, 7), (2, 13), (4, 24)):
        folder = RunFolder.create(tmp_path, "test", {}, 0)
        last = train("vae", devices, steps=steps, run=folder)
    assert digest(last.state) == digest(whole.state)


@pytest.mark.parametrize(
    "gradients, word",
    [
        (lambda: VirtualShards(make_mesh(1), 6), "num_shards"),
        (lambda: VirtualShards(make_mesh(3), 8), "mesh"),
        (lambda: Microbatches(0), "accumulate"),
        (lambda: Microbatches(3), "accumulate"),
    ],
)
def test_bad_arguments_are_named(gradients, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        train("maf", 1, steps=1, gradients=gradients())


def close(first, second, rtol, atol):
    check = lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    jax.tree.map(check, first.state.params, second.state.params)


@pytest.mark.parametrize("devices", [1, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(devices):
    whole = train("maf", 1, None, steps=10)
    close(whole, train("maf", devices, steps=10, gradients=Microbatches(4)), 1e-3, 1e-5)


def test_rematerialisation_changes_no_more_than_rounding():
    for name in ("maf", "vae"):
        whole = train(name, 1, None, steps=10)
        close(whole, train(name, 1, steps=10, gradients=Rematerialised(WholeBatch())), 1e-3, 1e-5)


def memory(gradients, depth):
    """Bytes that the gradient of a flow of `depth` pairs of couplings needs for a batch of 2048."""
    pair = models.RealNVP(4, 2, (64, 64)).layers
    flow = models.Flow((4,), (layers.Repeated(layers.Composed(pair), depth, unroll=False),))
    learner = learner_of(flow, NLL).with_gradients(gradients)
    batch = {"x": np.zeros((2048, 4), np.float32)}
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    compiled = jax.jit(learner.step).lower(state, batch).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_a_rematerialised_flow_grows_little_with_depth():
    """A pair of couplings more keeps 2048 x 4 numbers, and not 4 layers of 64 hidden units."""
    whole, frugal = WholeBatch(), Rematerialised(WholeBatch())
    usual = (memory(whole, 12) - memory(whole, 4)) / 8
    kept = (memory(frugal, 12) - memory(frugal, 4)) / 8
    print(f"bytes a layer: {usual:,.0f}, and {kept:,.0f} with rematerialisation")
    assert kept < 0.1 * usual


@pytest.mark.staggered
@pytest.mark.parametrize("name", FAMILIES)
def test_networks_compute_in_bfloat16_and_the_rest_in_float32(name):
    learner, x, transform = FAMILIES[name]
    lower = learner.with_gradients(Precision(WholeBatch()))
    batch = transform({"x": x[:16]}, jax.random.key(0))
    batch = jax.tree.map(np.asarray, batch)
    if learner.batches_per_step > 1:
        batch = jax.tree.map(lambda a: np.stack([a] * learner.batches_per_step), batch)
    one = jax.tree.map(lambda a: a[0], batch) if learner.batches_per_step > 1 else batch
    state = jax.jit(learner.init)(jax.random.key(0), one)
    text = str(jax.make_jaxpr(lower.step)(state, batch))
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all("bf16" in line.partition("=")[0] for line in products)
    assert "bf16" not in str(jax.make_jaxpr(learner.step)(state, batch))
    after, metrics = jax.jit(lower.step)(state, batch)
    assert all(leaf.dtype != jax.numpy.bfloat16 for leaf in jax.tree.leaves((after, metrics)))
    _, whole = jax.jit(learner.step)(state, batch)
    for name in (name for name in whole if name.endswith("loss")):
        np.testing.assert_allclose(metrics[name], whole[name], rtol=2e-2, atol=2e-2)


class Scalar(linen.Module):
    """A number w, and (w x - 1)^2 of each example."""

    @linen.compact
    def __call__(self, batch):
        return jnp.square(self.param("w", linen.initializers.ones, ()) * batch["x"][:, 0] - 1.0)


@pytest.mark.parametrize("dtype", ["float32", "bool", "int32"])
@pytest.mark.parametrize("padding", [(7,), (3, 7), range(8)])
def test_masks_of_any_type_weigh_the_parts_of_a_batch(dtype, padding):
    """Whole numbers were not added up as weights: of 7 rows the loss was 7 times too large."""
    mask = np.ones(8)
    mask[list(padding)] = 0
    batch = {"x": jnp.arange(8.0)[:, None], "mask": jnp.asarray(mask.astype(dtype))}
    player = Player(lambda model, batch, key: (model(batch), {}), optax.sgd(0.01))
    learner = gradient_learner(Scalar(), {"model": player})
    state = jax.jit(learner.init)(jax.random.key(0), batch)
    real = mask > 0
    expected = np.square(np.arange(8.0) - 1)[real].mean() if real.any() else 0.0
    for gradients in (WholeBatch(), Microbatches(4)):
        moved, metrics = learner.with_gradients(gradients).step(state, batch)
        assert float(metrics["loss"]) == pytest.approx(expected) and int(moved.skipped) == 0


def test_a_mask_of_the_objective_counts_whether_or_not_the_batch_has_one():
    loss, own = jnp.array([1.0, 3.0, 100.0, 100.0]), jnp.array([1, 1, 0, 0])
    for rows, mask in ((4, {}), (4, {"mask": jnp.ones(4)}), (5, {})):
        found, metrics = averages((loss, {"mask": own}), {"x": jnp.zeros((rows, 1)), **mask}, "p")
        assert float(found) == 2.0 and float(metrics["mask"]) == 2.0
