"""Seeds trained together: each as if it were alone, resumed alone, stopping alone."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError, TrainingDiverged
from dgmjax.runs import RunFolder
from dgmjax.training import Execution, Job, Player, Validation, fit, fit_together, gradient_learner

DATA = {"x": np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32)}
NLL = objectives.negative_log_likelihood
LEARNER = gradient_learner(
    models.MAF(2, 2, (8,)), {"model": Player(NLL, optax.adam(1e-2))}, ema_decay=0.9
)
QUIET = Execution(quiet=True, log_every=4)
OPTIONS = {"steps": 12, "batch_size": 8, "execution": QUIET}
KEYS = [jax.random.key(seed) for seed in range(3)]


def close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def validation(every=4):
    """The loss of the data, chosen from at every fourth step."""
    loss = lambda state: {"loss": float(LEARNER.call(LEARNER.variables(state), mean_loss, DATA))}
    return Validation(loss, every=every)


def mean_loss(model, batch):
    return NLL(model, batch, jax.random.key(0))[0].mean()


def test_each_seed_is_as_if_it_were_alone(tmp_path):
    """Parameters, averages, moments, logs and best steps agree to the rounding of products."""
    runs = [RunFolder.create(tmp_path, "flow", {}, seed) for seed in range(3)]
    jobs = [Job(key, run, validation()) for key, run in zip(KEYS, runs, strict=True)]
    together = fit_together(LEARNER, DATA, jobs, **OPTIONS)
    for key, run, found in zip(KEYS, runs, together, strict=True):
        alone = fit(LEARNER, DATA, key=key, validation=validation(), **OPTIONS)
        close(found.state, alone.state)
        assert found.best_step == alone.best_step and not found.interrupted
        for line, expected in zip(found.history, alone.history, strict=True):
            assert line["step"] == expected["step"]
            if "loss" in expected:
                assert line["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        again = fit(LEARNER, DATA, key=key, run=run, validation=validation(), **OPTIONS)
        close(again.state, found.state)
    losses = {found.history[-1]["validation/loss"] for found in together}
    assert len(losses) == 3


def test_a_seed_that_is_behind_catches_up_and_is_resumed(tmp_path):
    """One of the runs is twelve steps long already, another eight, the third is new."""
    runs = [RunFolder.create(tmp_path, "flow", {}, seed) for seed in range(3)]
    short = {**OPTIONS, "execution": dataclasses.replace(QUIET, checkpoint_every=4)}
    fit(LEARNER, DATA, key=KEYS[0], run=runs[0], **short)
    fit(LEARNER, DATA, key=KEYS[1], run=runs[1], **{**short, "steps": 8})
    jobs = [Job(key, run) for key, run in zip(KEYS, runs, strict=True)]
    together = fit_together(LEARNER, DATA, jobs, **short)
    for key, found in zip(KEYS, together, strict=True):
        assert int(found.state.step) == 12
        close(found.state, fit(LEARNER, DATA, key=key, **OPTIONS).state)


def test_patience_stops_a_seed_and_not_the_others():
    values = iter([1.0, 2.0, 3.0])
    stale = Validation(lambda state: {"loss": next(values)}, every=4, patience=1)
    better = itertools.count(0, -1)
    improving = Validation(lambda state: {"loss": float(next(better))}, every=4, patience=1)
    found = fit_together(
        LEARNER, DATA, [Job(KEYS[0], None, stale), Job(KEYS[1], None, improving)], **OPTIONS
    )
    assert [one.best_step for one in found] == [4, 12]
    close(found[1].state, fit(LEARNER, DATA, key=KEYS[1], **OPTIONS).state)


@pytest.mark.slow
def test_several_players_and_their_batches():
    """A game whose critic moves twice."""
    gan = models.GAN(latent=2, generator=nn.MLP((8,), (2,)), critic=nn.MLP((8,), (1,)))
    players = {
        "critic": Player(objectives.critic_loss, optax.sgd(0.1), ("critic",), steps=2),
        "generator": Player(objectives.generator_loss, optax.sgd(0.1), ("generator",)),
    }
    learner = gradient_learner(gan, players)
    jobs = [Job(key) for key in KEYS[:2]]
    for key, found in zip(KEYS, fit_together(learner, DATA, jobs, **OPTIONS)):
        close(found.state, fit(learner, DATA, key=key, **OPTIONS).state)


def test_a_seed_that_diverges_is_reported_after_the_others(tmp_path):
    def start(params):
        return jax.tree.map(lambda leaf: leaf + jnp.nan, params)

    jobs = [Job(KEYS[0], start=start), Job(KEYS[1], RunFolder.create(tmp_path, "flow", {}, 1))]
    execution = dataclasses.replace(QUIET, max_skipped=3)
    with pytest.raises(TrainingDiverged):
        fit_together(LEARNER, DATA, jobs, **{**OPTIONS, "execution": execution})
    resumed = fit(LEARNER, DATA, key=KEYS[1], run=jobs[1].run, **OPTIONS)
    close(resumed.state, fit(LEARNER, DATA, key=KEYS[1], **OPTIONS).state)


@pytest.mark.parametrize(
    "execution, word",
    [
        ({"mesh": "data=2"}, "mesh"),
        ({"replay_every": 4}, "replay_every"),
        ({"stream": True}, "stream"),
    ],
)
def test_what_seeds_together_cannot_have_is_named(execution, word):
    changed = dataclasses.replace(QUIET, **execution)
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        fit_together(LEARNER, DATA, [Job(KEYS[0])], **{**OPTIONS, "execution": changed})
    with pytest.raises(DgmjaxError, match=r"^`jobs`"):
        fit_together(LEARNER, DATA, [], **OPTIONS)
