"""The learner: players, counts, averages, non-finite steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from scrambling import compiled_start

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, adam, gradient_learner, optimisers

pytestmark = pytest.mark.accelerator


class Quadratic(linen.Module):
    """Two parameter groups, and a counter in a mutable collection."""

    @linen.compact
    def __call__(self, x):
        a = self.param("a", linen.initializers.ones, (3,))
        b = self.param("b", linen.initializers.ones, (3,))
        calls = self.variable("counts", "calls", lambda: jnp.zeros(()))
        if not self.is_initializing():
            calls.value += 1
        return (a - x) ** 2 + 2.0 * (b + x) ** 2


def loss(model, batch, key):
    values = model(batch["x"]).sum(-1)
    return values, {"first": batch["x"][:, 0], "noise": jax.random.normal(key)}


BATCH = {"x": jnp.arange(12.0).reshape(4, 3)}
KEY = jax.random.key(0)


def test_one_step_is_the_gradient_step_by_hand():
    learner = gradient_learner(Quadratic(), {"model": Player(loss, optax.sgd(0.1))})
    state = jax.jit(learner.init)(KEY, BATCH)
    new, metrics = jax.jit(learner.step)(state, BATCH)
    mean = np.asarray(BATCH["x"]).mean(0)
    np.testing.assert_allclose(new.params["a"], 1 - 0.1 * 2 * (1 - mean), rtol=1e-5)
    np.testing.assert_allclose(new.params["b"], 1 - 0.1 * 4 * (1 + mean), rtol=1e-5)
    expected = ((1 - BATCH["x"]) ** 2 + 2 * (1 + BATCH["x"]) ** 2).sum(-1).mean()
    assert float(metrics["loss"]) == pytest.approx(float(expected))
    assert float(metrics["first"]) == pytest.approx(4.5)
    assert int(new.step) == 1 and float(new.collections["counts"]["calls"]) == 1


def test_padding_does_not_count():
    learner = gradient_learner(Quadratic(), {"model": Player(loss, optax.sgd(0.1))})
    padded = {"x": BATCH["x"].at[2:].set(1e6), "mask": jnp.array([1.0, 1, 0, 0])}
    state = jax.jit(learner.init)(KEY, BATCH)
    from_padded, metrics = learner.step(state, padded)
    from_real, expected = learner.step(state, {"x": BATCH["x"][:2]})
    np.testing.assert_allclose(from_padded.params["a"], from_real.params["a"], rtol=1e-5)
    assert float(metrics["loss"]) == pytest.approx(float(expected["loss"]))


def test_players_move_their_own_parameters_their_own_number_of_times():
    players = {
        "first": Player(loss, optax.sgd(0.01), params=("a",), steps=3),
        "second": Player(loss, optax.sgd(0.01), params=("b",)),
    }
    learner = gradient_learner(Quadratic(), players)
    assert learner.batches_per_step == 3
    state = jax.jit(learner.init)(KEY, BATCH)
    batches = {"x": jnp.stack([BATCH["x"], BATCH["x"] + 1, BATCH["x"] + 2])}
    new, metrics = jax.jit(learner.step)(state, batches)
    a = np.ones(3)
    for batch in np.asarray(batches["x"]):
        a = a - 0.01 * 2 * (a - batch.mean(0))
    b = 1 - 0.01 * 4 * (1 + np.asarray(BATCH["x"]).mean(0))
    np.testing.assert_allclose(new.params["a"], a, rtol=1e-5)
    np.testing.assert_allclose(new.params["b"], b, rtol=1e-5)
    assert float(new.collections["counts"]["calls"]) == 4
    assert {"first/loss", "second/loss"} <= set(metrics)
    assert "loss" not in metrics, "the sum of the players' losses means nothing"


def test_a_non_finite_step_changes_nothing_and_is_counted():
    learner = gradient_learner(Quadratic(), {"model": Player(loss, optax.adam(0.1))}, ema_decay=0.5)
    step = jax.jit(learner.step)
    state, _ = step(jax.jit(learner.init)(KEY, BATCH), BATCH)
    bad = {"x": BATCH["x"].at[0, 0].set(jnp.nan)}
    skipped, metrics = step(state, bad)
    for before, after in zip(
        jax.tree.leaves((state.params, state.optimisers, state.collections)),
        jax.tree.leaves((skipped.params, skipped.optimisers, skipped.collections)),
    ):
        np.testing.assert_array_equal(before, after)
    assert int(skipped.skipped) == int(skipped.skipped_in_row) == 1
    assert np.isfinite(float(metrics["loss"]))
    recovered, _ = step(skipped, BATCH)
    assert int(recovered.skipped) == 1 and int(recovered.skipped_in_row) == 0


def test_average_of_parameters():
    learner = gradient_learner(Quadratic(), {"m": Player(loss, optax.sgd(0.1))}, ema_decay=0.9)
    state = jax.jit(learner.init)(KEY, BATCH)
    new, _ = learner.step(state, BATCH)
    expected = 0.1 * np.asarray(state.params["a"]) + 0.9 * np.asarray(new.params["a"])
    np.testing.assert_allclose(new.ema["a"], expected, rtol=1e-6)
    np.testing.assert_allclose(learner.variables(new)["params"]["a"], expected, rtol=1e-6)
    assert state.ema["a"] is not state.params["a"]
    late = dataclasses.replace(state, step=jnp.int32(81))  # (1 + 81) / (10 + 81) is above 0.9
    new, _ = learner.step(late, BATCH)
    expected = 0.9 * np.asarray(state.params["a"]) + 0.1 * np.asarray(new.params["a"])
    np.testing.assert_allclose(new.ema["a"], expected, rtol=1e-6)


def test_accumulation_comes_from_optax():
    accumulating = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=2)
    learner = gradient_learner(Quadratic(), {"model": Player(loss, accumulating)})
    whole = gradient_learner(Quadratic(), {"model": Player(loss, optax.sgd(0.1))})
    state = jax.jit(learner.init)(KEY, BATCH)
    for half in (BATCH["x"][:2], BATCH["x"][2:]):
        state, _ = learner.step(state, {"x": half})
    expected, _ = whole.step(compiled_start(whole, KEY, BATCH), BATCH)
    np.testing.assert_allclose(state.params["a"], expected.params["a"], rtol=1e-5)


LEARNERS = {
    "vae": gradient_learner(
        models.DenseVAE((4,), 2, (8,)), {"model": Player(objectives.elbo, adam(1e-2, 10))}
    ),
    "made": gradient_learner(
        models.MADE((4,), (8,)),
        {"model": Player(objectives.negative_log_likelihood, adam(1e-2, 10, clip=1.0))},
    ),
    "maf": gradient_learner(
        models.MAF(4, 2, (8,)),
        {"model": Player(objectives.negative_log_likelihood, optax.sgd(1e-2))},
    ),
    "gan": gradient_learner(
        models.GAN(2, nn.MLP((8,), (4,)), nn.MLP((8,), (1,))),
        {
            "critic": Player(objectives.critic_loss, optax.adam(1e-2), ("critic",), steps=2),
            "generator": Player(objectives.generator_loss, optax.adam(1e-2), ("generator",)),
        },
        ema_decay=0.9,
    ),
}


@pytest.mark.staggered
@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_every_family_learns_without_retracing(learner):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (8, 4)), jnp.float32)
    batch = {"x": x if learner.batches_per_step == 1 else jnp.stack([x] * learner.batches_per_step)}
    traces = []

    def counted(state, batch):
        traces.append(1)
        return learner.step(state, batch)

    step = jax.jit(counted)
    state = jax.jit(learner.init)(KEY, {"x": x})
    before = state.params
    for _ in range(3):
        state, metrics = step(state, batch)
    assert len(traces) == 1
    losses = [value for name, value in metrics.items() if name.endswith("loss")]
    assert len(losses) == len(learner.players) and np.isfinite(losses).all()
    moved = jax.tree.map(lambda a, b: bool(jnp.abs(a - b).max() > 0), before, state.params)
    masked_out = [leaf for leaf in jax.tree.leaves(moved) if not leaf]
    assert len(masked_out) < len(jax.tree.leaves(moved)) / 2


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: gradient_learner(Quadratic(), {}), "players"),
        (lambda: Player(loss, optax.sgd(0.1), steps=0), "steps"),
        (
            lambda: gradient_learner(
                Quadratic(), {"m": Player(loss, optax.sgd(0.1), params=("c",))}
            ).init(KEY, BATCH),
            "players",
        ),
        (
            lambda: gradient_learner(
                Quadratic(), {"m": Player(loss, optax.sgd(0.1), part="own")}
            ).init(KEY, BATCH),
            "part",
        ),
        (
            lambda: gradient_learner(
                Quadratic(), {"m": Player(loss, optax.sgd(0.1))}, ema_decay=1.0
            ),
            "ema_decay",
        ),
        (
            lambda: gradient_learner(
                Quadratic(),
                {"m": Player(lambda m, b, k: (m(b["x"]).mean(), {}), optax.sgd(0.1))},
            ).step(
                gradient_learner(Quadratic(), {"m": Player(loss, optax.sgd(0.1))}).init(KEY, BATCH),
                BATCH,
            ),
            "players",
        ),
        (
            lambda: step_of(lambda m, b, k: m(b["x"]).sum(-1)),
            "players.*must return a pair",
        ),
        (lambda: step_of(lambda m, b, k: (jnp.zeros(0), {})), "players.*not empty"),
        (lambda: step_of(rollouts(7), mask=jnp.ones(4)), "players.*a metric `mask"),
        (lambda: step_of(rollouts(7, mask=jnp.ones(6))), "players.*of the loss's shape"),
        (lambda: adam(1e-3, 10, schedule="step"), "schedule"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}"):
        act()


def rollouts(count, **metrics):
    """An objective whose losses are not those of the rows: i^2 (1 + a_0) for i < count."""

    def objective(model, batch, key):
        factor = 1.0 + model(batch["x"])[0, 0]
        return jnp.arange(count) ** 2.0 * factor, {"count": jnp.arange(1.0 * count), **metrics}

    return objective


def step_of(objective, **more):
    learner = gradient_learner(Quadratic(), {"m": Player(objective, optax.sgd(0.1))})
    state = gradient_learner(Quadratic(), {"m": Player(loss, optax.sgd(0.1))}).init(KEY, BATCH)
    return learner.step(state, {**BATCH, **more})[1]


def test_losses_may_be_of_another_size_than_the_batch():
    factor = 1 + 1 + 2 * 1  # a = b = 1 and x = 0
    assert float(step_of(rollouts(7))["loss"]) == pytest.approx(13 * factor)
    own = jnp.array([1.0, 1, 1, 0, 0, 0, 0])
    padded = step_of(rollouts(7, mask=own), mask=jnp.array([1.0, 1, 1, 0]))
    assert float(padded["loss"]) == pytest.approx(5 / 3 * factor)
    assert float(padded["count"]) == pytest.approx(1.0) and "mask" not in padded


def test_a_player_may_read_a_part_of_the_batch():
    """Each learns as if its batch were the only one, which may have another number of rows."""
    part = {"x": 1.0 - BATCH["x"][:2]}
    player = lambda name, part=None: Player(loss, optax.sgd(0.1), (name,), part=part)
    both = gradient_learner(Quadratic(), {"a": player("a"), "b": player("b", "own")})
    state = both.init(KEY, {**BATCH, "own": part})
    moved, _ = both.step(state, {**BATCH, "own": part})
    for name, batch in (("a", BATCH), ("b", part)):
        alone = gradient_learner(Quadratic(), {"m": player(name)})
        expected, _ = alone.step(alone.init(KEY, batch), batch)
        np.testing.assert_allclose(moved.params[name], expected.params[name], rtol=1e-6)


def test_parts_of_a_parameter_group_may_be_frozen():
    vae = models.DenseVAE((4,), latent=2, hidden=(8,))
    moved = ("encoder/Dense_0", "decoder")
    player = Player(objectives.elbo, optax.adam(0.1), params=moved)
    learner = gradient_learner(vae, {"model": player})
    batch = {"x": jnp.ones((3, 4))}
    state = jax.jit(learner.init)(KEY, batch)
    assert set(state.optimisers["model"][0].mu["encoder"]) == {"Dense_0"}
    new, _ = learner.step(state, batch)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), state.params, new.params)
    assert all(jax.tree.leaves({**same["encoder"], "Dense_0": True}))
    assert not same["encoder"]["Dense_0"]["bias"] and not same["decoder"]["Dense_0"]["bias"]
    wrong = gradient_learner(vae, {"m": Player(objectives.elbo, optax.sgd(0.1), ("encoder/x",))})
    with pytest.raises(DgmjaxError, match="encoder/x"):
        wrong.init(KEY, batch)


def test_published_schedule_of_burda():
    """10^(-i/7) times the rate in stage i; stage i lasts 3^i of 3280 passes."""
    learner = gradient_learner(
        Quadratic(),
        {"m": Player(loss, adam(1.0, 3280, schedule="burda", b1=0.0, b2=0.0, eps=1e-30))},
    )
    state = jax.jit(learner.init)(KEY, BATCH)
    step = jax.jit(learner.step)
    for count, expected in ((0, 1.0), (1, 10 ** (-1 / 7)), (4, 10 ** (-2 / 7)), (3279, 0.1)):
        leaves, structure = jax.tree.flatten(state.optimisers)
        leaves = [jnp.int32(count) if leaf.dtype == jnp.int32 else leaf for leaf in leaves]
        there = dataclasses.replace(state, optimisers=jax.tree.unflatten(structure, leaves))
        moved, _ = step(there, BATCH)
        change = float(jnp.abs(moved.params["b"] - state.params["b"])[0])
        assert change == pytest.approx(expected, rel=1e-4)
    # Also where several stages of a short run end at one step.
    for steps in (10, 100, 400):
        assert float(optimisers._rate(1.0, steps, "burda")(steps - 1)) == pytest.approx(
            0.1, rel=1e-5
        )
