"""Steps that are not finite: left out as if their batches were not there; training goes back."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import fit

from dgmjax import data
from dgmjax.devices.mesh import StateLayout, make_mesh
from dgmjax.errors import DgmjaxError, TrainingDiverged
from dgmjax.runs import RunFolder
from dgmjax.training import Player, gradient_learner
from dgmjax.training.steps import Divided, _run_one, initial_state, zero_metrics

ROWS, BATCH, STEPS = 64, 8, 24


class Line(nn.Module):
    """A linear map."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


def poisoned_loss(model, batch, key):
    """A squared error, which is NaN in a batch with a poisoned row."""
    noise = 0.01 * jax.random.normal(key, batch["x"].shape)
    error = ((model(batch["x"] + noise) - batch["x"][:, ::-1]) ** 2).sum(-1)
    return jnp.where(batch["poison"].any(), jnp.nan, error), {}


@pytest.fixture(scope="module")
def learner():
    return gradient_learner(Line(), {"model": Player(poisoned_loss, optax.adam(1e-2))})


def arrays(poison=()):
    x = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    return {"x": x, "poison": np.isin(np.arange(ROWS), poison).astype(np.float32)}


def options(**changes):
    key = jax.random.key(3)
    always = {"key": key, "batch_size": BATCH, "steps": STEPS, "stream": True}
    return always | {"log_every": 4, "every": 4} | changes


def keys():
    init_key, order_key, data_key = jax.random.split(options()["key"], 3)
    return init_key, int(jax.random.bits(order_key)), data_key


def without_batches(learner, chosen, steps=STEPS):
    """A hand-written loop over the same compiled step that passes over the batches of `chosen`."""
    init_key, seed, data_key = keys()
    batches = data.Batches(arrays(), BATCH, seed=seed)
    layout = StateLayout(make_mesh(1))
    divided = Divided(layout, BATCH)
    first_batch = batches.batch(0)
    state = initial_state(learner, None, init_key, first_batch, data_key)
    zeros = zero_metrics(learner, state, first_batch, layout)
    for step in range(steps):
        if step in chosen:
            state = dataclasses.replace(state, step=state.step + 1)
            continue
        batch = jax.device_put(batches.batch(step))
        state, _ = _run_one(learner, None, divided, state, zeros(), batch, data_key)
    return state


def poisoned_steps(rows):
    batches = data.Batches(arrays(), BATCH, seed=keys()[1])
    return {step for step in range(STEPS) if np.isin(batches.indices(step), rows).any()}


def assert_equal(first, second):
    jax.tree.map(
        np.testing.assert_array_equal,
        (first.step, first.params, first.optimisers),
        (second.step, second.params, second.optimisers),
    )


@pytest.mark.parametrize("rows", [(5,), (5, 17)])
def test_a_run_with_poisoned_batches_equals_one_without_them(learner, rows):
    """One row is in one batch of each of the three epochs."""
    bad = poisoned_steps(rows)
    assert 3 <= len(bad) <= 6
    result = fit(learner, arrays(rows), **options())
    assert int(result.state.skipped) == len(bad)
    assert result.history[-1]["skipped"] == len(bad)
    assert_equal(result.state, without_batches(learner, bad))


def run_in(folder):
    """A run whose data, as those of an experiment, are known already: here they change."""
    run = RunFolder.create(folder, "test", {}, 0)
    run.note_data({})
    return run


def test_training_goes_back_and_leaves_out_the_batches_since(learner, tmp_path):
    """Three bad batches in a row, 9 to 11: back to the checkpoint at step 8, and on with 12."""
    batches = data.Batches(arrays(), BATCH, seed=keys()[1])
    poison = np.concatenate([batches.indices(step) for step in (9, 10, 11)])
    stops, goes_on = (run_in(tmp_path / name) for name in "ab")
    for run in (stops, goes_on):
        fit(learner, arrays(), run=run, **options(steps=8))
    bad = options(steps=16, max_skipped=3)
    with pytest.raises(TrainingDiverged, match=r"(?s)in the last 3 steps .*Lower the learning"):
        fit(learner, arrays(poison), run=stops, **bad)
    result = fit(learner, arrays(poison), run=goes_on, rewinds=1, **bad)
    assert_equal(result.state, without_batches(learner, {8, 9, 10, 11}, steps=16))
    resumed = fit(learner, arrays(poison), run=goes_on, rewinds=1, **bad)
    assert_equal(result.state, resumed.state)


def test_the_best_parameters_survive_going_back_to_an_older_checkpoint(learner, tmp_path):
    """Best at step 12; three bad batches, 13 to 15, lead back to the checkpoint of step 8."""
    batches = data.Batches(arrays(), BATCH, seed=keys()[1])
    poison = np.concatenate([batches.indices(step) for step in (13, 14, 15)])
    run = run_in(tmp_path / "run")
    fit(learner, arrays(), run=run, **options(steps=8))
    validate = lambda state: {"loss": abs(int(state.step) - 12.0)}
    bad = options(steps=16, max_skipped=3, checkpoint_every=8, validate=validate)
    result = fit(learner, arrays(poison), run=run, rewinds=1, **bad)
    assert result.best_step == int(result.state.step) == 12


def test_rewinding_needs_a_run(learner):
    with pytest.raises(DgmjaxError, match=r"^`rewinds` must be 0 without a `run`"):
        fit(learner, arrays(), rewinds=1, **options())
