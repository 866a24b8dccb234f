"""Rows of padding: a padded batch moves the learner as the batch without them does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.bijectors import Sigmoid
from dgmjax.distributions import families
from dgmjax.models.class_conditional import ClassConditional
from dgmjax.models.latent.multimodal import Modality
from dgmjax.training import Player, gradient_learner
from dgmjax.training.gradients import Microbatches

ROWS, PADDING = 6, 3
BINARY = np.random.default_rng(0).integers(0, 2, (ROWS, 4)).astype(np.float32)
REAL = np.random.default_rng(1).normal(size=(ROWS, 4)).astype(np.float32)
IMAGES = np.random.default_rng(2).integers(0, 2, (ROWS, 4, 4, 1)).astype(np.float32)
LABELS = np.arange(ROWS, dtype=np.int32) % 3

TOY = models.DiscreteVAE((4,), 3, 2, (4,))
FLOW = models.MAF(4, 2, (8,), batch_norm=True)
INTEGERS = models.Dequantised(
    models.Flow((4,), (*FLOW.layers, models.Fixed(Sigmoid, (0.05,), event_ndims=1))), 3, 1
)
CODES = {"num_codes": 4, "features": 2, "channels": 4}
VQ = partial(models.VQVAE, (4, 4, 1), factor=2, **CODES)
LEVELS = partial(models.VQVAE2, (4, 4, 1), factors=(2, 2), **CODES)
NLL = objectives.negative_log_likelihood
CASES = {
    "vq_ema": (VQ(restart_below=0.9, decay=0.1), objectives.vq_vae, {"x": IMAGES}),
    "vq_gradient": (LEVELS(learning="gradient"), objectives.vq_vae, {"x": IMAGES}),
    "baseline": (models.WithBaseline(TOY), objectives.reinforce, {"x": BINARY}),
    "nvil": (
        models.WithBaseline(TOY, nn.MLP((8,), (1,))),
        objectives.reinforce,
        {"x": BINARY},
    ),
    "rebar": (models.WithControlVariate(TOY), objectives.relax, {"x": BINARY}),
    "relax": (
        models.WithControlVariate(TOY, nn.MLP((8,), (1,))),
        objectives.relax,
        {"x": BINARY},
    ),
    "batch_norm": (FLOW, NLL, {"x": REAL}),
    "batch_norm_nested": (
        models.Flow((4,), (models.Composed(FLOW.layers), models.ActNormLayer(4))),
        NLL,
        {"x": REAL},
    ),
    "batch_norm_images": (
        models.Flow((2, 2, 1), (models.BatchNormLayer(1, event_ndims=3),)),
        NLL,
        {"x": REAL.reshape(ROWS, 2, 2, 1)},
    ),
    "batch_norm_of_classes": (
        ClassConditional(models.MAF(4, 2, (8,), batch_norm=True, context_features=3), 3),
        NLL,
        {"x": REAL, "context": np.eye(3, dtype=np.float32)[LABELS]},
    ),
    "batch_norm_of_integers": (INTEGERS, objectives.iwae, {"x": BINARY}),
    "vq_ema_of_levels": (LEVELS(restart_below=0.9, decay=0.1), objectives.vq_vae, {"x": IMAGES}),
}


def padded(batch):
    """Rows of twos behind the batch, under a mask of 0."""
    garbage = lambda a: np.full((PADDING, *a.shape[1:]), 2, a.dtype)
    rows = {name: np.concatenate([a, garbage(a)]) for name, a in batch.items()}
    return {**rows, "mask": np.repeat([1.0, 0.0], [ROWS, PADDING]).astype(np.float32)}


def step(learner, state, batch):
    new, metrics = jax.jit(learner.step)(state, jax.tree.map(jnp.asarray, batch))
    moved = jax.tree.map(lambda a, b: a - b, new.params, state.params)  # minus the gradient
    return moved, new.collections, metrics


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", CASES)
def test_padding_enters_neither_gradients_nor_collections_nor_metrics(name):
    module, objective, batch = CASES[name]
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(1.0))})
    half = jax.tree.map(lambda a: jnp.asarray(a[: ROWS // 2]), batch)
    state = jax.jit(learner.init)(jax.random.key(0), half)
    state = state.replace(params=perturbed({"params": state.params}, scale=0.1)["params"])
    found, expected = (step(learner, state, b) for b in (padded(batch), batch))
    assert int(np.isfinite(found[2]["loss"]))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), found, expected)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), expected[1], dict(state.collections))
    assert not moved or max(jax.tree.leaves(moved)) > 0, "a collection that never moves"


@pytest.mark.staggered
@pytest.mark.parametrize("name", ["vq_ema", "baseline", "batch_norm"])
def test_a_batch_of_padding_alone_changes_no_collection(name):
    module, objective, batch = CASES[name]
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(1.0))})
    state = jax.jit(learner.init)(jax.random.key(0), jax.tree.map(jnp.asarray, batch))
    nothing = {**batch, "mask": np.zeros(ROWS, np.float32)}
    _, collections, metrics = step(learner, state, nothing)
    assert all(np.isfinite(value) for value in metrics.values())
    jax.tree.map(np.testing.assert_array_equal, collections, dict(state.collections))


def test_parts_of_a_padded_batch_average_to_the_whole():
    """Codes that follow averages: each part counts by its rows of data."""
    module, objective, batch = VQ(restart_below=0.0), objectives.vq_vae, padded({"x": IMAGES})
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(1.0))})
    state = jax.jit(learner.init)(jax.random.key(0), {"x": jnp.asarray(IMAGES)})
    _, whole, _ = step(learner, state, batch)
    _, parts, _ = step(learner.with_gradients(Microbatches(3)), state, batch)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), whole, parts)


def test_a_model_made_from_a_padded_batch_does_not_see_the_padding():
    x = {"x": jnp.asarray(REAL)}
    flow = models.Flow((4,), (models.ActNormLayer(4), models.BatchNormLayer(4)))
    from_real, from_padded = (
        flow.init(jax.random.key(0), batch, method=NLL) for batch in (x, padded({"x": REAL}))
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), from_padded, from_real)
    quantiser = nn.VectorQuantiser(4, 4)
    variables = compiled_start(
        quantiser,
        jax.random.key(0),
        jnp.asarray(padded({"x": REAL})["x"]),
        None,
        jnp.arange(9) < ROWS,
    )
    codes = applied(quantiser, variables, method=lambda module: module.codebook)
    distance = np.abs(np.asarray(codes)[:, None] - REAL).max(-1)
    assert distance.min(1).max() < 0.2, "codes start at rows of data"


NORMAL = families.Normal()
MODALITIES = tuple(
    Modality(key, nn.MLP((), (2, 2)), nn.MLP((), (5, 2)), NORMAL, (5,)) for key in ("x", "y")
)
SEQUENCES = {
    "vrnn_lstm": (models.VRNN((5, 2), 2, 4, NORMAL), objectives.elbo, (6, 5, 2)),
    "vrnn_gru": (
        models.VRNN((5, 2), 2, 4, NORMAL, recurrence="gru"),
        partial(objectives.iwae, num_samples=2, gradient="dreg"),
        (6, 5, 2),
    ),
    "wavenet": (
        ClassConditional(
            models.WaveNet((5,), NORMAL, channels=4, stacks=1, layers=2, context_features=3), 3
        ),
        objectives.padded_sequence_nll,
        (6, 5),
    ),
    "made": (
        ClassConditional(models.MADE((5,), (8,), NORMAL, context_features=3), 3),
        objectives.padded_sequence_nll,
        (6, 5),
    ),
    "product": (models.MultimodalVAE(2, MODALITIES), objectives.elbo, (6, 5)),
    "mixture": (models.MultimodalVAE(2, MODALITIES, "mixture"), objectives.elbo, (6, 5)),
    "missing_entries": (
        models.DenseVAE((5,), 2, (4,), observation=NORMAL),
        objectives.miwae,
        (6, 5),
    ),
}
LENGTHS = np.array([5, 2, 1, 4, 3, 0], np.int32)
ENDS = np.arange(5) < LENGTHS[:, None]


def with_padding(name, shape, filler):
    """A batch in which `filler` stands in whatever is not there."""
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    if name in ("product", "mixture"):
        present = np.stack([np.arange(6) % 2, np.ones(6)], -1).astype(np.float32)
        absent = np.where(present[:, :1] > 0, x, filler)
        return {"x": absent.astype(np.float32), "y": 2.0 * x, "present": present}
    x = np.where(ENDS.reshape(6, 5, *[1] * (len(shape) - 2)), x, filler).astype(np.float32)
    if name == "missing_entries":
        return {"x": x, "observed": ENDS.astype(np.float32)}
    return {"x": x, "length": LENGTHS, "label": LABELS}


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", SEQUENCES)
def test_what_stands_in_padding_is_read_by_no_network(name):
    """Zeros, NaN and 1e30 behind the end of sequences: one start, one loss, one gradient."""
    module, objective, shape = SEQUENCES[name]

    @jax.jit
    def run(batch):
        start = module.init(jax.random.key(0), batch, jax.random.key(1), method=objective)

        def loss(variables):
            return module.apply(variables, batch, jax.random.key(2), method=objective)[0].sum()

        return start, *jax.value_and_grad(loss)(perturbed(start))

    batches = [with_padding(name, shape, filler) for filler in (0.0, np.nan, 1e30)]
    found = [run(jax.tree.map(jnp.asarray, batch)) for batch in batches]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found[0]))
    jax.tree.map(np.testing.assert_array_equal, found[1], found[0])
    jax.tree.map(np.testing.assert_array_equal, found[2], found[0])
