"""World models: pictures, evolution, dreams and reality against closed forms and plain loops."""

from types import SimpleNamespace

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, objectives
from dgmjax.applications import (
    ENVIRONMENTS,
    Task,
    WorldModel,
    controlled,
    dreamt,
    evolve,
    held_actions,
    lived,
    num_parameters,
    pendulum_frames,
    world_model_loss,
)
from dgmjax.applications.world_model import control
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
PENDULUM = ENVIRONMENTS["pendulum"]
TASK = Task(PENDULUM, lambda state: pendulum_frames(state, 8), 2.0, 7)


@pytest.fixture(scope="module")
def bound():
    """A small world model with scrambled parameters, and a batch of episodes."""
    observation = families.DiscretisedLogisticMixture(1, 256)
    vae = models.DenseVAE((8, 8, 1), 3, (6,), observation=observation)
    module = WorldModel(vae, 3, 1, 5, 2)
    draws = np.random.default_rng(0)
    batch = {
        "x": np.asarray(pendulum_frames(jnp.asarray(draws.normal(size=(2, 6, 2))), 8)),
        "action": draws.uniform(-1, 1, (2, 6, 1)).astype(np.float32),
        "reward": draws.normal(size=(2, 6)).astype(np.float32),
    }
    variables = perturbed(
        compiled_start(module, KEY, batch, KEY, method=world_model_loss), scale=0.3
    )
    return module, variables, batch


def test_a_quarter_of_a_turn_turns_the_picture():
    up = np.asarray(pendulum_frames(jnp.array([0.0, 5.0]), 16))[..., 0]
    for quarter in range(1, 4):
        turned = np.asarray(pendulum_frames(jnp.array([quarter * np.pi / 2, 0.0]), 16))[..., 0]
        assert np.abs(turned.astype(int) - np.rot90(up, -quarter)).max() <= 1
    np.testing.assert_array_equal(up, up[:, ::-1])
    assert up[:8].sum() > 5 * up[8:].sum() and up.dtype == np.uint8
    with pytest.raises(DgmjaxError, match="`size` must be at least 4"):
        pendulum_frames(jnp.zeros(2), 3)


def test_evolution_climbs_a_slope_whose_members_break_down():
    def fitness(members, key):
        value = -((members - jnp.array([0.5, -1.0])) ** 2).sum(-1)
        return jnp.where(members[:, 0] > 0.8, jnp.nan, value)

    found = evolve(fitness, jnp.zeros(2), KEY, generations=150, pairs=16)
    np.testing.assert_allclose(found.params, [0.5, -1.0], atol=0.1)
    # Where no member is better than another, none is followed.
    still = evolve(lambda members, _: jnp.zeros(len(members)), jnp.ones(2), KEY, generations=20)
    np.testing.assert_allclose(still.params, 1.0, atol=1e-6)
    with pytest.raises(DgmjaxError, match="`spread` must be positive"):
        evolve(fitness, jnp.zeros(2), KEY, spread=0.0)
    with pytest.raises(DgmjaxError, match=r"`params` must be \[D\]"):
        evolve(fitness, jnp.zeros((2, 2)), KEY)


@pytest.mark.slow
def test_pictures_train_the_vae_and_codes_the_memory(bound):
    module, variables, batch = bound

    def parts(params, name):
        return module.apply({"params": params}, batch, KEY, method=world_model_loss)[1][name].sum()

    for name, trained in {"pictures": {"vae"}, "codes": {"memory", "next_code"}}.items():
        slopes = jax.grad(parts)(variables["params"], name)
        moved = {
            group for group, tree in slopes.items() if any(map(jnp.any, jax.tree.leaves(tree)))
        }
        assert moved == trained
    loss, metrics = applied(module, variables, batch, KEY, method=world_model_loss)
    flat = {"x": batch["x"].reshape(12, 8, 8, 1)}
    elbo = lambda model: objectives.elbo(model.vae, flat, jax.random.split(KEY)[0])[0]
    expected = np.asarray(applied(module, variables, method=elbo)).reshape(2, 6).mean(1)
    np.testing.assert_allclose(metrics["pictures"], expected, rtol=1e-5)
    total = 6 * metrics["pictures"] + 5 * (metrics["codes"] + metrics["rewards"])
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_steps_of_the_memory_are_those_of_training(bound):
    module, variables, batch = bound
    z = jax.random.normal(KEY, (2, 6, 3))

    def both(model):
        carry, found = model.memory.init_carry((2,)), []
        for step in range(6):
            carry = model.remember(carry, z[:, step], batch["action"][:, step])
            found.append(carry[0])
        return jnp.stack(found, 1), model.memory(jnp.concatenate([z, batch["action"]], -1))

    np.testing.assert_allclose(*applied(module, variables, method=both), atol=1e-6)


def test_life_is_a_plain_loop(bound):
    module, variables, _ = bound
    model = module.bind(variables)
    params = 0.5 * jax.random.normal(KEY, (2, num_parameters(model)))
    found = jax.jit(lambda params: lived(model, TASK, params, KEY, 3))(params)
    state = PENDULUM.reset(KEY, (3,))
    total, carry = np.zeros(3), model.memory.init_carry((3,))
    for _ in range(TASK.horizon):
        z = model.encode(TASK.frames(state))
        action = controlled(model, params[1:], z[None], carry[0][None], 2.0)[0]
        carry = model.remember(carry, z, action / 2.0)
        state, reward, _ = PENDULUM.step(state, action)
        total += np.asarray(reward) / PENDULUM.unit
    np.testing.assert_allclose(found[1], total, rtol=1e-4)


def test_a_dream_of_known_dynamics():
    """z' = z + a / 2, r = -z': the controller a = 2 tanh(-z) has a return in closed form."""
    tiny = 1e-7

    def predicted(h, temperature):
        code = distrax.Independent(distrax.Normal(h, jnp.full_like(h, tiny)), 1)
        return code, distrax.Normal(-h[..., 0], 1.0)

    memory = SimpleNamespace(init_carry=lambda batch: (jnp.zeros((*batch, 1)),))
    model = SimpleNamespace(
        memory=memory,
        remember=lambda carry, z, action: (z + action,),
        predicted=predicted,
        latent=1,
        features=1,
        actions=1,
    )
    start = jnp.array([[1.0], [-3.0]])
    found = dreamt(model, TASK, jnp.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), start, KEY)
    z, expected = np.array([1.0, -3.0]), np.zeros(2)
    for _ in range(TASK.horizon):
        z = z + np.tanh(-z)
        expected -= z
    np.testing.assert_allclose(found, [expected.mean(), TASK.horizon * 1.0], rtol=1e-4)


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
def test_members_of_a_population_meet_the_same_chances(kind):
    codes = distrax.Independent(distrax.Normal(jnp.zeros((3, 4, 2)), jnp.ones((3, 4, 2))), 1)
    drawn = control._common_draw(codes, jax.random.key(0, impl=kind))
    np.testing.assert_array_equal(drawn, jnp.broadcast_to(drawn[0], drawn.shape))
    assert len(np.unique(drawn[0])) == 8


def test_torques_are_held():
    actions = np.asarray(held_actions(KEY, (200, 100, 1), 2.0, 9))
    assert np.abs(actions).max() <= 2.0 and actions.std() == pytest.approx(2 / 3**0.5, rel=0.1)
    changes = (actions[:, 1:] != actions[:, :-1]).mean()
    assert changes == pytest.approx(0.2, abs=4 * (0.16 / 19_800) ** 0.5)
