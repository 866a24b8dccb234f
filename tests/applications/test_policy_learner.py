"""Learners of policies: rewards and updates of all kinds, resumed and together with other seeds."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import compiled_start, perturbed

from dgmjax import objectives
from dgmjax.applications import (
    CIRCLES,
    ENVIRONMENTS,
    UPDATES,
    PolicyLearner,
    begin,
    dense_agent,
    environment_reward,
    fixed_horizon,
    game_reward,
    ppo,
    random_actions,
    recognition,
    rollout,
    shaped_reward,
    trpo,
    with_information,
)
from dgmjax.devices import make_mesh
from dgmjax.errors import DgmjaxError
from dgmjax.runs import RunFolder
from dgmjax.training import Execution, Job, Player, fit, fit_together
from dgmjax.training.gradients import Microbatches, VirtualShards

KEY = jax.random.key(0)
CARTPOLE = fixed_horizon(ENVIRONMENTS["cartpole"])
GENERATOR = np.random.default_rng(0)
DATA = {
    "x": GENERATOR.normal(size=(12, 5)).astype(np.float32),
    "action": GENERATOR.integers(0, 2, 12).astype(np.int32),
}
SMALL = {"num_environments": 4, "num_steps": 8}
LITTLE = {"passes": 2, "minibatches": 2}


def imitating(update="ppo", steps=10, critic_steps=2):
    """GAIL of small networks."""
    loss = partial(objectives.critic_loss, game="minimax", penalties=(objectives.r1(1.0),))
    judges = {"critic": Player(loss, optax.adam(1e-2), ("critic",), critic_steps)}
    agent = dense_agent(CARTPOLE, (8,), (8,))
    return PolicyLearner(
        agent, game_reward("minimax"), UPDATES[update](steps, **LITTLE), judges, **SMALL
    )


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


FIT = {"key": jax.random.key(3), "batch_size": 4}


@pytest.fixture(scope="module")
def learner():
    return imitating()


@pytest.fixture(scope="module")
def whole(learner):
    return fit(learner, DATA, steps=10, execution=Execution(log_every=2), **FIT)


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(learner, whole, tmp_path):
    """In the middle of episodes, of which checkpoints hold the states and times."""
    settings = Execution(log_every=2, checkpoint_every=4)
    make = lambda: RunFolder.create(tmp_path, "policy", {}, 0)
    fit(learner, DATA, steps=4, run=make(), execution=settings, **FIT)
    resumed = fit(learner, DATA, steps=10, run=make(), execution=settings, **FIT)
    assert bits(resumed.state) == bits(whole.state)
    times = np.asarray(whole.state.collections["episodes"].time)
    assert len(set(times.tolist())) == 4  # they began apart
    last = resumed.history[-1]
    assert {"return", "reward", "critic/accuracy", "policy/entropy", "value/loss"} <= set(last)
    assert all(np.isfinite(v) for v in last.values())


def test_every_player_moves_its_own_part_alone(learner, whole):
    start = jax.jit(learner.init)(KEY, {name: jnp.asarray(a[:4]) for name, a in DATA.items()})
    assert sorted(start.params) == ["critic", "policy", "value"]
    stacked = {name: jnp.asarray(a[:8].reshape(2, 4, *a.shape[1:])) for name, a in DATA.items()}
    state, _ = jax.jit(learner.step)(start, stacked)
    for part in start.params:
        assert bits(state.params[part]) != bits(start.params[part])
    assert int(state.step) == 1 and int(state.skipped) == 0
    assert "episodes" not in learner.variables(state)


def test_transitions_are_a_batch_of_their_own():
    """In a shard there are as many of them as demonstrations, some of which are padding."""
    whole = imitating(critic_steps=1)
    batch = {name: jnp.asarray(a) for name, a in DATA.items()}
    start = jax.jit(whole.init)(KEY, batch)
    found = [
        jax.jit(one.step)(start, batch)[1]
        for one in (whole, whole.with_gradients(VirtualShards(make_mesh(1), 8)))
    ]
    assert sorted(found[0]) == sorted(found[1])
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    with pytest.raises(DgmjaxError, match=r"^`accumulate` must divide the 16 transitions of a"):
        whole.with_gradients(Microbatches(3))


@pytest.mark.slow  # what vectorises steps is tested elsewhere
def test_seeds_together_are_those_alone(learner):
    jobs = [Job(jax.random.key(seed)) for seed in (3, 4)]
    settings = Execution(log_every=2)
    first, second = fit_together(learner, DATA, jobs, steps=2, batch_size=4, execution=settings)
    alone = fit(learner, DATA, steps=2, execution=settings, **FIT)
    for a, b in zip(jax.tree.leaves(first.state.params), jax.tree.leaves(alone.state.params)):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert bits(first.state.params) != bits(second.state.params)


@lru_cache
def seen_of(environment, num_codes=0):
    """Six steps of three environments under random actions."""
    act = random_actions(environment)

    @jax.jit
    def walk(key):
        start = begin(environment, key, 3, num_codes=num_codes)
        return rollout(environment, act, start, key, 6, num_codes=num_codes)[1]

    return walk(KEY)


@pytest.mark.parametrize("game", objectives.GAMES)
def test_rewards_of_all_games_prefer_what_the_critic_takes_for_data(game):
    """For games of values the reward is minus the generator's loss, and rises with the value."""
    head = objectives.game_of(game).head
    agent = dense_agent(CARTPOLE, (4,), (4,), critic_outputs=1 if head == "value" else 3)
    batch = {name: jnp.asarray(a) for name, a in DATA.items()}
    seen = seen_of(CARTPOLE)
    events = lambda m: m.event(seen.observation, seen.action)
    params = perturbed(agent.init(KEY, method=lambda m: m.features(events(m))))

    def reward_and_values(model):
        data = model.event(batch["x"], batch["action"])
        values = [model.features(event)[..., 0] for event in (events(model), data)]
        return game_reward(game)(model, seen, batch), *values

    compiled = jax.jit(lambda params: agent.apply(params, method=reward_and_values))
    found, value, data = (np.asarray(a).reshape(-1) for a in compiled(params))
    assert found.shape == (18,) and np.isfinite(found).all() and found.std() > 0
    if head == "value" and game != "relativistic":
        rises = np.diff(found[np.argsort(value)])
        # Least squares and Pearson's divergence are quadratic, and rise up to their minimum.
        assert (rises >= -1e-6).all() or game in ("f_pearson_chi2", "least_squares")
    if game == "minimax":
        np.testing.assert_allclose(found, np.log1p(np.exp(value)), rtol=1e-5)
    if game == "relativistic":
        expected = -np.log1p(np.exp(data[np.arange(18) % 12] - value))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_rewards_of_codes_and_of_potentials_are_added():
    agent = dense_agent(CIRCLES, (4,), (4,), num_codes=3)
    seen = seen_of(CIRCLES, 3)
    events = lambda m: m.event(seen.observation, seen.action)
    make = lambda m: (m.logit(events(m)), m.log_recognition(events(m), seen.code))
    params = perturbed(compiled_start(agent, KEY, method=make))
    batch = {"x": jnp.zeros((5, 10)), "action": jnp.ones((5, 2))}
    two = lambda m: (
        game_reward()(m, seen, batch),
        make(m)[1],
        with_information(game_reward(), 0.5)(m, seen, batch),
    )
    plain, known, both = jax.jit(lambda params: agent.apply(params, method=two))(params)
    np.testing.assert_allclose(both, plain + 0.5 * known, rtol=1e-5)
    car = dense_agent(ENVIRONMENTS["mountain_car"], (4,), (4,))
    seen = seen_of(ENVIRONMENTS["mountain_car"])
    found = shaped_reward(0.9)(car, seen, {})
    energy = ENVIRONMENTS["mountain_car"].potential
    expected = -1.0 + 0.9 * energy(seen.next_observation) - energy(seen.observation)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # At an end the potential is 0: how an episode ends is not paid for.
    over = seen._replace(terminated=jnp.ones_like(seen.terminated))
    found = shaped_reward(0.9)(car, over, {})
    np.testing.assert_allclose(found, -1.0 - energy(seen.observation), rtol=1e-4, atol=1e-4)


def test_an_absorbing_state_has_no_potential():
    """A slow and a fast arrival are seen as one state, and are paid as one."""
    endless = fixed_horizon(ENVIRONMENTS["mountain_car"])
    energy = ENVIRONMENTS["mountain_car"].potential
    state = endless.reset(KEY, (2,))
    state = state._replace(state=jnp.array([[0.495, 0.012], [0.445, 0.06]]))
    np.testing.assert_array_equal(endless.potential(state), energy(state.state))
    for _ in range(2):
        state = endless.step(state, jnp.full(2, 2)).state
    assert state.ended.all() and (energy(state.state) > 1.0).all()
    np.testing.assert_array_equal(endless.potential(state), [0.0, 0.0])


@pytest.mark.staggered
@pytest.mark.parametrize("update", UPDATES)
def test_policies_learn_to_balance(update):
    """Random actions balance for 22 steps; a policy that got nowhere would fail."""
    steps = 40
    options = {"value_rate": 3e-3, "schedule": "constant", "minibatches": 4}
    make = UPDATES[update](steps, learning_rate=3e-3, **options)
    learner = PolicyLearner(
        dense_agent(CARTPOLE, (16,), (4,)),
        environment_reward,
        make,
        num_environments=16,
        num_steps=32,
    )
    nothing = {"x": jnp.zeros((1, 5)), "action": jnp.zeros(1, jnp.int32)}
    state = jax.jit(learner.init)(KEY, nothing)
    walk = lambda _, state: learner.step(state, nothing)[0]
    state = jax.jit(lambda state: jax.lax.fori_loop(0, steps, walk, state))(state)
    returns = lambda model, key: model.returns(key, 50)
    found = learner.call(learner.variables(state), returns, KEY)
    assert found.mean() > 100


def test_codes_are_learned_with_the_rest():
    agent = dense_agent(CIRCLES, (8,), (8,), num_codes=3)
    judges = {
        "critic": Player(objectives.critic_loss, optax.adam(1e-2), ("critic",)),
        "recognition": Player(recognition, optax.adam(1e-2), ("recognition",)),
    }
    reward = with_information(game_reward())
    learner = PolicyLearner(agent, reward, ppo(4, **LITTLE), judges, **SMALL)
    batch = {"x": jnp.zeros((4, 10)), "action": jnp.ones((4, 2))}
    start = jax.jit(learner.init)(KEY, batch)
    state, metrics = jax.jit(learner.step)(start, batch)
    assert bits(state.params["recognition"]) != bits(start.params["recognition"])
    assert metrics["recognition/loss"] == pytest.approx(np.log(3), abs=0.7)
    codes = jnp.array([0, 1, 2])
    play = lambda model, key: model.play(key, 3, codes)
    seen = learner.call(learner.variables(state), play, KEY)
    np.testing.assert_array_equal(seen.code, np.broadcast_to(codes, (100, 3)))
    drawn = learner.bind(state).sample(KEY, (2, 2))
    assert drawn.shape == (2, 2, 10)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"discount": 1.5}, r"`discount` must be in \[0, 1\]; got 1.5"),
        ({"num_steps": 0}, "`num_steps` must be at least 1; got 0"),
        ({"num_steps": 7, "num_environments": 1}, "`minibatches` must divide the 7 transitions"),
    ],
)
def test_settings_that_do_not_fit_are_named(change, words):
    agent = dense_agent(CARTPOLE, (4,), (4,))
    with pytest.raises(DgmjaxError, match=f"^{words}"):
        PolicyLearner(agent, environment_reward, trpo(1, **LITTLE), **{**SMALL, **change})
