"""What parts of a batch share: weights of stages, statistics of rows, collections of padding."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from dgmjax import nn
from dgmjax.devices import make_mesh
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, Stages, gradient_learner
from dgmjax.training.gradients import Microbatches, VirtualShards

KEY = jax.random.key(0)
MESH = make_mesh(1)


def stepped(module, objective, batch, gradients=None, start=None):
    """The state and metrics after a step without a rate."""
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(0.0))})
    learner = learner if gradients is None else learner.with_gradients(gradients)
    batch = {name: jnp.asarray(array) for name, array in batch.items()}
    state = learner.init(KEY, start or batch)
    return jax.jit(learner.step)(state, batch)


class Slope(linen.Module):
    """x times a number."""

    @linen.compact
    def __call__(self, x):
        return x * self.param("slope", linen.initializers.ones, ())


def labelled(model, batch, key):
    return model(batch["x"]), {"mask": batch["labelled"]}


def every(model, batch, key):
    return model(batch["x"]), {}


@pytest.mark.parametrize("gradients", [Microbatches(2), VirtualShards(MESH, 2)])
@pytest.mark.parametrize("boundary, loss", [(5, 2.0), (0, 26.5)])
def test_a_stage_keeps_its_own_mask_where_another_has_none(gradients, boundary, loss):
    batch = {"x": np.float32([1, 3, 2, 100]), "labelled": np.float32([1, 1, 1, 0])}
    stages = Stages((labelled, every), (max(boundary, 1),))
    stages = stages if boundary else Stages((every, labelled), (1,))
    _, metrics = stepped(Slope(), stages, batch, gradients)
    assert float(metrics["loss"]) == pytest.approx(loss)
    assert float(metrics["gradient_norm"]) == pytest.approx(loss)
    assert set(metrics) == {"loss", "gradient_norm"}


class Normalised(linen.Module):
    """Batch normalisation, and the deviation of the batch."""

    @linen.compact
    def __call__(self, x):
        h = nn.Normalise("batch")(x)
        return nn.minibatch_deviation(h) * self.param("slope", linen.initializers.ones, ())


def size(model, batch, key):
    return jnp.abs(model(batch["x"])).sum(-1), {}


def test_rows_of_padding_enter_no_statistics_of_a_batch():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    state, metrics = stepped(Normalised(), size, {"x": x})
    padded = np.concatenate([x, np.full((2, 3), 50.0, np.float32)])
    mask = np.float32([1, 1, 1, 1, 1, 1, 0, 0])
    with_padding, again = stepped(Normalised(), size, {"x": padded, "mask": mask}, None, {"x": x})
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose(again[name], metrics[name], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        with_padding.collections,
        state.collections,
    )


def test_shards_of_a_deterministic_run_have_statistics_of_their_rows_only():
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    _, metrics = stepped(Normalised(), size, {"x": x}, VirtualShards(MESH, 4))
    shards = [stepped(Normalised(), size, {"x": part}) for part in np.array_split(x, 4)]
    counts = np.array([3, 2, 2, 2]) / 9
    loss = sum(share * float(found["loss"]) for share, (_, found) in zip(counts, shards))
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    with pytest.raises(DgmjaxError, match=r"^`batch_size` must be at least 16 for batch stat"):
        stepped(Normalised(), size, {"x": x}, VirtualShards(MESH, 8))


@pytest.mark.parametrize("gradients", [None, Microbatches(2), VirtualShards(MESH, 2)])
def test_a_batch_of_padding_moves_no_collections(gradients):
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    learner = gradient_learner(Normalised(), {"model": Player(size, optax.sgd(0.0))})
    before = learner.init(KEY, {"x": x}).collections
    after, _ = stepped(Normalised(), size, {"x": x, "mask": np.zeros(8, np.float32)}, gradients)
    jax.tree.map(np.testing.assert_array_equal, after.collections, before)
