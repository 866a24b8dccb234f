"""Demonstrations: cut to a horizon, read from files, and refused where they do not fit."""

import numpy as np
import pytest

from dgmjax.applications import (
    CIRCLES,
    ENVIRONMENTS,
    demonstrations,
    fixed_horizon,
    load_demonstrations,
)
from dgmjax.errors import DataError

CARTPOLE, PENDULUM = ENVIRONMENTS["cartpole"], ENVIRONMENTS["pendulum"]


def episodes(*lengths, shape=(4,), extra=1):
    generator = np.random.default_rng(0)
    states = [generator.normal(size=(length + extra, *shape)) for length in lengths]
    return states, [generator.integers(0, 2, length) for length in lengths]


def test_episodes_are_cut_to_the_horizon_and_thinned():
    states, actions = episodes(200, 260)
    found = demonstrations(CARTPOLE, states, actions, [np.arange(200.0), np.arange(260.0)])
    assert found.observation.shape == (2, 200, 4) and found.reward.sum() == 2 * 199 * 100
    np.testing.assert_allclose(found.observation[1], states[1][:200], rtol=1e-6)
    np.testing.assert_array_equal(found.action[1], actions[1][:200])
    pairs = found.pairs(every=4)
    assert pairs["x"].shape == (100, 4) and pairs["action"].dtype == np.int32
    np.testing.assert_array_equal(pairs["x"][:2], found.observation[0, [2, 6]])
    assert found.pairs()["x"].shape == (400, 4)


def test_recordings_without_absorbing_states_are_in_none():
    states, actions = episodes(200)
    found = demonstrations(fixed_horizon(CARTPOLE), states, actions)
    assert found.observation.shape == (1, 200, 5) and not found.observation[..., 4].any()


@pytest.mark.parametrize("lengths", [(200, 60), (150, 150), (199,)])
def test_episodes_shorter_than_the_horizon_are_refused(lengths):
    words = r"^`demonstrations` must be episodes of 200 steps each; got .*leaks the reward"
    with pytest.raises(DataError, match=words):
        demonstrations(CARTPOLE, *episodes(*lengths))


def _with(**changes):
    states, actions = episodes(200)
    given = {"observations": states, "actions": actions} | changes
    return lambda: demonstrations(CARTPOLE, **given)


@pytest.mark.parametrize(
    "make, words",
    [
        (_with(observations=episodes(200, shape=(6,))[0]), r"`observations` must be \[H, 4\] in"),
        (_with(actions=[np.zeros((200, 1))]), r"`actions` must be \[H\] in the environment cart"),
        (_with(actions=[np.full(200, 2)]), r"`actions` must be the integers 0 \.\. 1 in"),
        (_with(actions=[np.full(200, 0.5)]), r"`actions` must be the integers 0 \.\. 1 in"),
        (_with(observations=[np.full((200, 4), np.nan)]), "`observations` must be finite"),
        (_with(observations=episodes(203)[0]), "`observations` must be 200, one for each"),
        (_with(observations=episodes(200, 200)[0]), "`observations` must be those of 1 episodes"),
        (_with(actions=[np.full(200, "left")]), "`actions` must be numbers"),
        (_with(rewards=[np.ones(199)]), "`rewards` must be one for each action"),
        (_with(rewards=[np.ones((200, 1))]), "`rewards` must be one for each action"),
        (_with(rewards=[np.ones(200)] * 2), "`rewards` must be one for each action"),
        (_with(rewards=[np.full(200, np.nan)]), "`rewards` must be finite"),
        (_with(actions=[]), "`demonstrations` must hold an episode"),
        (lambda: demonstrations(PENDULUM, *episodes(200)), r"`observations` must be \[H, 3\]"),
        (lambda: demonstrations(CIRCLES, *episodes(200)), r"`observations` must be \[H, 10\]"),
        (lambda: demonstrations(CARTPOLE, *episodes(200)).pairs(0), "`every` must be between 1"),
    ],
)
def test_demonstrations_of_another_environment_are_refused(make, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make()


def file_of(folder, **changes):
    states, actions = episodes(230, 210)
    arrays = {
        "obs": np.concatenate(states).astype(np.float32),
        "acts": np.concatenate(actions),
        "rews": np.ones(440),
        "indices": np.array([230]),
    }
    path = folder / "expert.npz"
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return path, states, actions


def test_files_hold_the_episodes_one_after_the_other(tmp_path):
    path, states, actions = file_of(tmp_path)
    found = load_demonstrations(path, CARTPOLE)
    for episode in range(2):
        np.testing.assert_allclose(found.observation[episode], states[episode][:200], rtol=1e-6)
        np.testing.assert_array_equal(found.action[episode], actions[episode][:200])
    assert found.reward.sum(1).tolist() == [200.0, 200.0]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"acts": None}, "`path` must hold the arrays"),
        ({"indices": np.array([440])}, "`indices` must be increasing numbers of actions"),
        ({"indices": np.array([], np.int64)}, "`obs` must be 441; got 442"),
        ({"indices": np.array([230.5])}, "`indices` must be increasing numbers of actions"),
        ({"indices": np.array(230)}, "`indices` must be increasing numbers of actions"),
        ({"acts": np.array(1)}, "`acts` must hold an action"),
        ({"obs": np.array(1.0)}, "`obs` must be 442; got a single number"),
        ({"rews": np.ones(439)}, "`rews` must be 440; got 439"),
        ({"indices": np.array([300])}, "`demonstrations` must be episodes of 200 steps each"),
    ],
)
def test_files_of_another_form_are_refused(changes, words, tmp_path):
    path, *_ = file_of(tmp_path, **changes)
    with pytest.raises(DataError, match=f"^{words}"):
        load_demonstrations(path, CARTPOLE)
    with pytest.raises(DataError, match=r"^`observations` must be \[H, 3\] in the env"):
        load_demonstrations(file_of(tmp_path)[0], PENDULUM)
