"""Environments against recorded trajectories of Gymnasium; rollouts, resets and horizons."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.applications import (
    CIRCLES,
    ENVIRONMENTS,
    begin,
    circle_demonstrations,
    circle_positions,
    fixed_horizon,
    random_actions,
    rollout,
)
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
RECORDED = Path(__file__).with_name("gymnasium_1_4_0.npz")


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_physics_is_that_of_gymnasium_step_by_step(recorded, name, dtype, tolerance):
    """States, rewards and ends of every recorded step: falls, goals and clipped speeds too."""
    environment = ENVIRONMENTS[name]
    part = {key.split("/")[1]: a for key, a in recorded.items() if key.startswith(f"{name}/")}
    with jax.enable_x64(dtype == np.float64):
        state, action = jnp.asarray(part["state"], dtype), jnp.asarray(part["action"])
        found = jax.jit(environment.step)(state, action)
        seen = environment.observe(jnp.asarray(part["next_state"], dtype))
    assert found.state.dtype == found.reward.dtype == dtype
    wanted = part["next_state"]
    np.testing.assert_allclose(found.state, wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.reward, part["reward"], rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found.terminated, part["terminated"])
    np.testing.assert_allclose(seen, part["observation"], rtol=1e-6, atol=2e-6)
    assert name == "pendulum" or part["terminated"].any()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_whole_trajectories_follow_those_of_gymnasium(recorded, name):
    """From the first state on alone, over an episode of the task, in float64."""
    ends = np.flatnonzero(recorded[f"{name}/terminated"])
    length = min(100, ends[0] + 1 if len(ends) else 100)
    with jax.enable_x64(True):
        step = lambda state, action: (ENVIRONMENTS[name].step(state, action).state,) * 2
        start = jnp.asarray(recorded[f"{name}/state"][0])
        action = jnp.asarray(recorded[f"{name}/action"][:length])
        _, found = jax.lax.scan(step, start, action)
    wanted = recorded[f"{name}/next_state"][:length]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_resets_are_uniform_in_the_ranges_of_gymnasium(name):
    ranges = {
        "cartpole": ([-0.05] * 4, [0.05] * 4),
        "acrobot": ([-0.1] * 4, [0.1] * 4),
        "mountain_car": ([-0.6, 0.0], [-0.4, 0.0]),
        "pendulum": ([-np.pi, -1.0], [np.pi, 1.0]),
    }
    low, high = map(np.asarray, ranges[name])
    state = np.asarray(ENVIRONMENTS[name].reset(KEY, (50, 40)))
    assert state.shape == (50, 40, len(low))
    assert (state >= low - 1e-7).all() and (state <= high + 1e-7).all()
    # Standard deviations of 2000 uniform numbers are within 3% of their own mean.
    np.testing.assert_allclose(state.std((0, 1)), (high - low) / 12**0.5, rtol=0.05, atol=1e-7)


def walked(environment, num_steps, num=3, **options):
    """A compiled rollout of random actions."""
    walk = jax.jit(
        lambda key: rollout(
            environment,
            random_actions(environment),
            begin(environment, key, num, **options),
            key,
            num_steps,
            num_codes=options.get("num_codes", 0),
        )
    )
    return jax.tree.map(np.asarray, walk(KEY))


def test_a_rollout_resets_where_the_task_ends_and_keeps_the_state_before():
    episodes, seen = walked(ENVIRONMENTS["cartpole"], 120)
    assert seen.observation.shape == (120, 3, 4) and seen.action.shape == (120, 3)
    ended = seen.terminated | seen.truncated
    assert ended.any(0).all() and not seen.truncated.any()
    for lane in range(3):
        total = 0.0
        for t in range(120):
            total += seen.reward[t, lane]
            assert seen.total[t, lane] == pytest.approx(total)
            fallen = abs(seen.next_observation[t, lane, 2]) > 12 * np.pi / 180
            fallen |= abs(seen.next_observation[t, lane, 0]) > 2.4
            assert fallen == seen.terminated[t, lane]
            total = 0.0 if ended[t, lane] else total
            if t < 119:
                after = seen.observation[t + 1, lane]
                if ended[t, lane]:
                    assert (np.abs(after) <= 0.05).all()
                else:
                    np.testing.assert_array_equal(after, seen.next_observation[t, lane])
    last = np.where(ended[-1], 0.0, seen.total[-1])
    np.testing.assert_allclose(episodes.total, last)


def test_a_step_is_the_environments_own():
    environment = ENVIRONMENTS["pendulum"]
    _, seen = walked(environment, 20)
    angle = np.arctan2(seen.observation[..., 1], seen.observation[..., 0])
    state = jnp.stack([angle, seen.observation[..., 2]], -1)
    found = environment.step(state, seen.action)
    np.testing.assert_allclose(found.reward, seen.reward, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        environment.observe(found.state), seen.next_observation, rtol=1e-4, atol=1e-4
    )


def test_time_is_up_is_not_the_end_of_the_task():
    _, seen = walked(ENVIRONMENTS["pendulum"], 401)
    assert not seen.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(seen.truncated[:, 0]), [199, 399])
    _, apart = walked(ENVIRONMENTS["pendulum"], 200, num=16, apart=True)
    assert (apart.truncated.sum(0) == 1).all() and len(set(apart.truncated.argmax(0))) > 4


@pytest.mark.parametrize("name", ["cartpole", "acrobot"])
def test_terminal_states_absorb_until_the_horizon(name):
    """The return is that of the episode which ends, and no length depends on the policy."""
    environment = fixed_horizon(ENVIRONMENTS[name])
    assert fixed_horizon(ENVIRONMENTS[name]) is environment  # compiles once
    _, seen = walked(environment, 200, num=8)
    assert not seen.terminated.any() and seen.truncated[-1].all() and not seen.truncated[:-1].any()
    plain = ENVIRONMENTS[name]
    # The same actions in the plain environment, from the same states.
    reset_key = jax.random.split(KEY, 3)[0]
    state, alive, total = plain.reset(reset_key, (8,)), np.ones(8, bool), np.zeros(8)
    step = jax.jit(plain.step)
    for t in range(60):
        expected = np.concatenate([plain.observe(state), np.zeros((8, 1))], -1)
        np.testing.assert_allclose(expected[alive], seen.observation[t][alive], atol=1e-3)
        assert (seen.observation[t][~alive] == [0] * len(expected[0, 1:]) + [1]).all()
        state, reward, terminated = step(state, jnp.asarray(seen.action[t]))
        total += np.where(alive, reward, 0.0)
        np.testing.assert_allclose(seen.total[t], total, atol=1e-4)
        alive = alive & ~np.asarray(terminated)
    assert name == "acrobot" or not alive.all()


def test_codes_belong_to_episodes():
    _, seen = walked(CIRCLES, 250, num=40, num_codes=3)
    assert set(np.unique(seen.code)) == {0, 1, 2}
    for first, last in ((0, 100), (100, 200), (200, 250)):
        assert (seen.code[first:last] == seen.code[first]).all()
    assert (seen.code[0] != seen.code[100]).any()


def test_demonstrated_circles_are_circles():
    states, actions, _ = circle_demonstrations(4, seed=1)
    assert states.shape == (12, 100, 10) and actions.shape == (12, 100, 2)
    np.testing.assert_allclose(np.linalg.norm(actions, axis=-1), 1.0, rtol=1e-5)
    for radius, one in zip((1.0, -1.0, 2.0), states.reshape(3, 4, 100, 10)):
        distance = np.linalg.norm(one[..., :2] - np.array([0.0, radius]), axis=-1)
        np.testing.assert_allclose(distance, abs(radius), atol=0.15)
        exact = circle_positions(radius)
        np.testing.assert_allclose(np.linalg.norm(exact - [0.0, radius], axis=-1), abs(radius))
    # What was recorded is what the environment does with these actions.
    state = CIRCLES.reset(KEY, (12,))
    for t in range(30):
        np.testing.assert_allclose(CIRCLES.observe(state), states[:, t], atol=1e-4)
        state = CIRCLES.step(state, jnp.asarray(actions[:, t])).state


def test_no_environment_is_not_a_number_of_them():
    with pytest.raises(DgmjaxError, match=r"^`num` must be at least 1; got 0"):
        begin(ENVIRONMENTS["cartpole"], KEY, 0)
