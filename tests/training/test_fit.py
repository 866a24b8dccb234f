"""`fit`: batches, resumption to the bit, early stopping, interruption, faults."""

import io
import os
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import fit

from dgmjax import data, models, objectives
from dgmjax.devices import make_mesh
from dgmjax.errors import DgmjaxError, RunError, TrainingDiverged
from dgmjax.runs import RunFolder
from dgmjax.training import Player, gradient_learner
from dgmjax.training.progress import Progress

X = np.random.default_rng(0).integers(0, 17, (64, 4, 2, 1)).astype(np.uint8)
TRAIN = {"x": X}
OPTIONS = {
    "key": jax.random.key(0),
    "steps": 24,
    "batch_size": 8,
    "transform": data.Binarise("dynamic", levels=17),
    "log_every": 6,
    "every": 8,
}


@pytest.fixture(scope="module")
def learner():
    vae = models.DenseVAE((4, 2, 1), latent=2, hidden=(8,))
    return gradient_learner(vae, {"model": Player(objectives.elbo, optax.adam(1e-2))})


def run_in(folder):
    return RunFolder.create(folder, "test", {}, 0)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def logged(history):
    """The history without wall-clock times."""
    return [{k: v for k, v in line.items() if k != "examples_per_second"} for line in history]


def test_loss_falls_and_history_has_a_line_a_log_step(learner):
    result = fit(learner, TRAIN, **OPTIONS | {"steps": 240})
    losses = [line["loss"] for line in result.history]
    assert [line["step"] for line in result.history] == list(range(6, 241, 6))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert int(result.state.step) == 240 and result.best_step == 240


@pytest.mark.parametrize("stream, devices", [(False, 1), (True, 2)])
def test_an_objective_is_traced_for_the_parameters_and_for_the_step_only(learner, stream, devices):
    traces = []

    def counted(model, batch, key):
        traces.append(batch["x"].shape)
        return objectives.elbo(model, batch, key)

    counting = gradient_learner(learner.module, {"model": Player(counted, optax.adam(1e-2))})

    # A constant comes without a mesh, which is a part of the type that a trace is for.
    def transform(batch, key):
        return {**OPTIONS["transform"](batch, key), "offset": jnp.zeros(len(batch["x"]))}

    options = {**OPTIONS, "transform": transform, "mesh": make_mesh(devices)}
    fit(counting, TRAIN, stream=stream, **options)
    assert len(traces) == 2


def test_resident_and_streamed_training_are_the_same(learner):
    resident = fit(learner, TRAIN, stream=False, **OPTIONS)
    streamed = fit(learner, TRAIN, stream=True, **OPTIONS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        resident.state.params,
        streamed.state.params,
    )


def test_steps_see_the_batches_of_the_contract(learner):
    """A hand-written loop over `Batches` and the transform reaches the same parameters."""
    from dgmjax.training.steps import initial_state

    result = fit(learner, TRAIN, **OPTIONS)
    init_key, order_key, data_key = jax.random.split(OPTIONS["key"], 3)
    batches = data.Batches(TRAIN, 8, seed=int(jax.random.bits(order_key)))
    transform = OPTIONS["transform"]
    state = initial_state(learner, transform, init_key, batches.batch(0), data_key)
    step = jax.jit(learner.step)
    for i in range(24):
        batch = transform(batches.batch(i), jax.random.fold_in(data_key, i))
        state, _ = step(state, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        state.params,
        result.state.params,
    )


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(learner, tmp_path):
    whole = fit(learner, TRAIN, run=run_in(tmp_path / "whole"), **OPTIONS)
    for steps in (5, 11, 16):
        fit(learner, TRAIN, run=run_in(tmp_path / "parts"), **OPTIONS | {"steps": steps})
    parts = fit(learner, TRAIN, run=run_in(tmp_path / "parts"), **OPTIONS)
    assert_equal(whole.state, parts.state)
    again = fit(learner, TRAIN, run=run_in(tmp_path / "parts"), **OPTIONS)
    assert_equal(whole.state, again.state)


def test_several_devices_train_like_one(learner):
    one = fit(learner, TRAIN, **OPTIONS)
    for devices in (2, 8):
        many = fit(learner, TRAIN, mesh=make_mesh(devices), **OPTIONS)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
            one.state.params,
            many.state.params,
        )
        assert len(jax.tree.leaves(many.state.params)[0].sharding.device_set) == devices


@pytest.mark.staggered
@pytest.mark.parametrize("stream", [False, True])
def test_any_batch_size_runs_on_any_mesh(stream):
    """Batches of 10 rows, ten draws of z each, on 8 and on 3 devices: the noise is the same."""
    iwae = partial(objectives.iwae, num_samples=10)
    vae = models.DenseVAE((4, 2, 1), latent=2, hidden=(8,))
    learner = gradient_learner(vae, {"model": Player(iwae, optax.adam(1e-2))})
    options = OPTIONS | {"batch_size": 10, "stream": stream, "log_every": 1, "steps": 12}
    one = fit(learner, TRAIN, **options)
    for mesh in (make_mesh(8), make_mesh(3), make_mesh(2, fsdp=4)):
        many = fit(learner, TRAIN, mesh=mesh, **options)
        for line, expected in zip(many.history, one.history, strict=True):
            assert line["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_a_second_fit_compiles_nothing(learner):
    from dgmjax.training.steps import _run_block

    fit(learner, TRAIN, **OPTIONS)
    before = _run_block.program(())._cache_size()
    fit(learner, TRAIN, **OPTIONS)
    assert _run_block.program(())._cache_size() == before >= 1


def test_best_parameters_by_validation_and_early_stopping(learner, tmp_path):
    values = iter([3.0, 1.0, 2.0, 2.5, 0.0])

    def validate(state):
        return {"loss": next(values)}

    result = fit(
        learner,
        TRAIN,
        validate=validate,
        patience=2,
        run=run_in(tmp_path),
        **OPTIONS | {"steps": 80},
    )
    assert result.best_step == 16 and int(result.state.step) == 16
    steps = [line["step"] for line in result.history if "validation/loss" in line]
    assert steps == [8, 16, 24, 32]
    assert_equal(result.state, fit(learner, TRAIN, **OPTIONS | {"steps": 16}).state)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_end(learner, tmp_path, number):
    def interrupt(state, step):
        if step == 8:
            os.kill(os.getpid(), number)

    first = fit(learner, TRAIN, run=run_in(tmp_path), on_evaluation=interrupt, **OPTIONS)
    assert first.interrupted and int(first.state.step) < 24
    second = fit(learner, TRAIN, run=run_in(tmp_path), **OPTIONS)
    assert not second.interrupted
    assert_equal(second.state, fit(learner, TRAIN, **OPTIONS).state)
    assert signal.getsignal(number) is not None


def test_non_finite_steps_are_skipped_counted_and_end_the_run():
    def poisoned(model, batch, key):
        loss, metrics = objectives.elbo(model, batch, key)
        return loss + jnp.log(batch["good"] * 1.0) * loss, metrics

    vae = models.DenseVAE((4, 2, 1), latent=2, hidden=(8,))
    learner = gradient_learner(vae, {"model": Player(poisoned, optax.adam(1e-2))})
    good = np.ones(64)
    good[:1] = 0
    arrays = {"x": X, "good": good.astype(np.float32)}
    result = fit(learner, arrays, **OPTIONS)
    assert int(result.state.skipped) == 3, "one bad row an epoch of 8 steps"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.state.params))
    with pytest.raises(TrainingDiverged, match="Lower the learning rate"):
        fit(learner, {"x": X, "good": np.zeros(64, np.float32)}, max_skipped=5, **OPTIONS)


def poisoned_learner(*names):
    """Players of which the first, `gone`, skips the batches that hold a row marked 0."""

    def poisoned(model, batch, key):
        loss, metrics = objectives.elbo(model, batch, key)
        return loss + jnp.log(batch["good"].min()), {**metrics, "constant": jnp.float32(3.0)}

    whole = lambda model, batch, key: (batch["good"], {"constant": jnp.float32(2.0)})
    vae = models.DenseVAE((4, 2, 1), latent=2, hidden=(8,))
    acts = {"gone": poisoned, "stays": whole}
    return gradient_learner(vae, {name: Player(acts[name], optax.sgd(0.0)) for name in names})


def test_skipped_steps_are_not_averaged_also_after_a_resumption(tmp_path):
    learner = poisoned_learner("gone")
    arrays = {"x": X, "good": (np.arange(64) > 0).astype(np.float32)}
    windows = OPTIONS | {"log_every": 8, "checkpoint_every": 1}
    for steps in (5, 13, 24):
        result = fit(learner, arrays, run=run_in(tmp_path), **windows | {"steps": steps})
    assert [line["step"] for line in result.history] == [5, 8, 13, 16, 24]
    assert result.history[-1]["skipped"] == 3
    assert [line["constant"] for line in result.history] == [3.0] * 5
    both = fit(poisoned_learner("gone", "stays"), arrays, **windows)
    assert [line["stays/constant"] for line in both.history] == [2.0] * 3


def test_a_window_of_skipped_steps_has_no_loss(tmp_path):
    arrays = {"x": X, "good": np.zeros(64, np.float32)}
    run = run_in(tmp_path)
    first = fit(poisoned_learner("gone"), arrays, run=run, **OPTIONS | {"max_skipped": 99})
    assert len(first.history) == 4 and all(np.isnan(line["loss"]) for line in first.history)
    assert [line["skipped"] for line in first.history] == [6, 12, 18, 24]


def test_steps_before_a_rewind_are_not_averaged_either(tmp_path):
    """Three batches of an epoch of eight are skipped, and training goes back once."""
    arrays = {"x": X, "good": np.ones(64, np.float32)}
    learner = poisoned_learner("gone")
    stop = {"log_every": 8, "checkpoint_every": 1, "max_skipped": 1, "rewinds": 9}
    arrays["good"][:1] = 0
    result = fit(learner, arrays, run=run_in(tmp_path), **OPTIONS | stop)
    assert [line["constant"] for line in result.history] == [3.0] * 3


def test_two_players_train_through_fit():
    from dgmjax import nn

    gan = models.GAN(2, nn.MLP((8,), (2,)), nn.MLP((8,), (1,)))
    players = {
        "critic": Player(objectives.critic_loss, optax.adam(1e-3), ("critic",), steps=3),
        "generator": Player(objectives.generator_loss, optax.adam(1e-3), ("generator",)),
    }
    learner = gradient_learner(gan, players, ema_decay=0.9)
    points = {"x": np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)}
    options = OPTIONS | {"transform": data.Identity()}
    resident = fit(learner, points, **options)
    streamed = fit(learner, points, stream=True, **options)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        resident.state.params,
        streamed.state.params,
    )


@pytest.mark.parametrize(
    "change, word",
    [
        ({"batch_size": 65}, "batch_size"),
        ({"steps": 0}, "steps"),
        ({"steps": 10.5}, "steps"),
        ({"steps": "5"}, "steps"),
        ({"batch_size": 4.0}, "batch_size"),
        ({"log_every": 0}, "log_every"),
        ({"mesh": "three"}, "mesh"),
        ({"every": 0}, "every"),
    ],
)
def test_bad_arguments_are_named(learner, change, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        fit(learner, TRAIN, **OPTIONS | change)


def test_a_run_goes_on_with_what_it_was_made_of_only(learner, tmp_path):
    options = OPTIONS | {"steps": 3}
    fit(learner, TRAIN, run=run_in(tmp_path), **options)
    other = {"x": X[::-1]}
    for arrays, change, word in (
        (TRAIN, {"steps": 2}, "steps"),
        (TRAIN, {"batch_size": OPTIONS["batch_size"] // 2}, "batch_size"),
        (TRAIN, {"key": jax.random.key(99)}, "key"),
        (other, {}, "data"),
    ):
        with pytest.raises(RunError, match=f"^`{word}` must be"):
            fit(learner, arrays, run=run_in(tmp_path), **options | change)


def test_progress_line():
    out = io.StringIO()
    progress = Progress(100, 10, stream=out, every=0.0)
    progress.compile_seconds = 1.5
    progress.update(50, 50, 2.0, {"loss": 3.25})
    assert out.getvalue() == (
        "step 50/100  loss 3.2500  250 examples/s  compiled in 1.5 s  0:00:02 left\n"
    )


def test_a_narrow_terminal_gets_one_line(monkeypatch):
    """A line that wraps cannot be rewritten: at 60 columns each update left one behind."""
    out = io.StringIO()
    out.isatty = lambda: True
    monkeypatch.setattr("dgmjax.training.progress._columns", lambda stream: 60)
    progress = Progress(100_000, 10, stream=out)
    losses = {"discriminator/loss": 0.6931, "generator/loss": 0.6931}
    progress.update(50_000, 50, 2.0, losses)
    line = out.getvalue()
    assert len(line) < 60 and line.startswith("step 50000/100000") and line.endswith("left")


def test_parameters_may_be_divided_over_devices(tmp_path):
    """data=2,fsdp=4 trains like one device; a run moves between meshes by its checkpoints."""
    vae = models.DenseVAE((4, 2, 1), latent=2, hidden=(64, 64))
    learner = gradient_learner(vae, {"model": Player(objectives.elbo, optax.adam(1e-2))})
    one = fit(learner, TRAIN, **OPTIONS)
    mesh = make_mesh(2, fsdp=4)
    parts = fit(learner, TRAIN, mesh=mesh, run=run_in(tmp_path), **OPTIONS | {"steps": 11})
    kernel = parts.state.params["encoder"]["Dense_1"]["kernel"]
    moment = parts.state.optimisers["model"][0].mu["encoder"]["Dense_1"]["kernel"]
    for array in (kernel, moment):
        assert array.addressable_data(0).shape == (16, 64)
    assert parts.state.params["encoder"]["Dense_1"]["bias"].addressable_data(0).shape == (64,)
    moved = fit(learner, TRAIN, mesh=make_mesh(8), run=run_in(tmp_path), **OPTIONS)
    assert moved.state.params["encoder"]["Dense_1"]["kernel"].addressable_data(0).shape == (64, 64)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        one.state.params,
        moved.state.params,
    )


def test_rules_divide_arrays_by_their_paths():
    from jax.sharding import PartitionSpec

    from dgmjax.devices.mesh import StateLayout

    last = PartitionSpec(None, "fsdp")
    rules = (("decoder/", last), ("embedding", PartitionSpec()))
    layout = StateLayout(make_mesh(2, fsdp=4), rules)
    assert layout.spec("params/decoder/Dense_0/kernel", (128, 64)) == last
    assert layout.spec("params/encoder/Dense_0/kernel", (128, 64)) == PartitionSpec("fsdp")
    assert layout.spec("params/decoder/Dense_0/kernel", (128, 63)) == PartitionSpec("fsdp")
    assert layout.spec("params/embedding", (512, 64)) == PartitionSpec()
    assert layout.spec("params/decoder/Dense_0/bias", (64,)) == PartitionSpec()


def test_checkpoints_have_an_interval_of_their_own(learner, tmp_path):
    options = OPTIONS | {"checkpoint_every": 6}
    fit(learner, TRAIN, run=run_in(tmp_path), keep=10, keep_every=12, **options)
    saved = tmp_path.rglob("checkpoints/latest/steps/*")
    assert sorted(int(path.name) for path in saved) == [6, 12, 18, 24]


@pytest.mark.parametrize(("share", "steps"), [(1e9, [8, 16, 24]), (1e-9, [8, 24])])
def test_checkpoints_at_evaluations_take_a_small_share_of_the_time(
    learner, tmp_path, monkeypatch, share, steps
):
    """The first and the last are always saved, those between where they are cheap enough."""
    monkeypatch.setattr("dgmjax.training.loop.SAVING_SHARE", share)
    fit(learner, TRAIN, run=run_in(tmp_path), keep=10, **OPTIONS)
    saved = tmp_path.rglob("checkpoints/latest/steps/*")
    assert sorted(int(path.name) for path in saved) == steps
