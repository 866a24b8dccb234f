"""Advantages, losses and updates of policies against plain NumPy and dense linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start, perturbed, scrambled

from dgmjax.applications import (
    CIRCLES,
    ENVIRONMENTS,
    TrustRegion,
    clipped_gain,
    cloning,
    dense_agent,
    generalised_advantages,
    recognition,
    value_error,
)
from dgmjax.distributions.categorical import Categorical
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, gradient_learner

KEY = jax.random.key(0)


def by_hand(reward, value, next_value, terminated, truncated, discount, decay):
    """The double loop: every advantage as its own sum of discounted errors."""
    advantage = np.zeros_like(reward)
    for t in range(len(reward)):
        weight = 1.0
        for s in range(t, len(reward)):
            future = 0.0 if terminated[s] else discount * next_value[s]
            advantage[t] += weight * (reward[s] + future - value[s])
            weight *= discount * decay
            if terminated[s] or truncated[s]:
                break
    return advantage


def test_generalised_advantages_are_the_double_sum():
    generator = np.random.default_rng(0)
    reward, value, next_value = generator.normal(size=(3, 30, 4))
    terminated = generator.random((30, 4)) < 0.1
    truncated = (generator.random((30, 4)) < 0.1) & ~terminated
    assert terminated.any() and truncated.any()
    with jax.enable_x64(True):
        found = generalised_advantages(
            *map(jnp.asarray, (reward, value, next_value, terminated, truncated)),
            discount=0.9,
            decay=0.8,
        )
    for lane in range(4):
        arrays = (a[:, lane] for a in (reward, value, next_value, terminated, truncated))
        np.testing.assert_allclose(found[:, lane], by_hand(*arrays, 0.9, 0.8), rtol=1e-12)


@pytest.mark.parametrize("dtype", [int, np.uint8, float])
def test_ends_of_episodes_may_be_numbers(dtype):
    """The complement of the integer 0 is -1."""
    reward, no = jnp.ones(3), jnp.zeros(3, dtype)
    found = generalised_advantages(reward, 0 * reward, 0 * reward, no, no, discount=0.5, decay=1.0)
    np.testing.assert_allclose(found, [1.75, 1.5, 1.0])


@pytest.fixture(scope="module")
def cartpole():
    """An agent with scrambled parameters, and 20 transitions of an older policy."""
    agent = dense_agent(ENVIRONMENTS["cartpole"], (8,), (8,))
    generator = np.random.default_rng(1)
    observation = generator.normal(size=(20, 4)).astype(np.float32)
    variables = compiled_start(
        agent, KEY, jnp.asarray(observation), method=lambda m, x: (m.actions(x), m.values(x))
    )
    own = {
        "x": observation,
        "action": generator.integers(0, 2, 20),
        "code": np.zeros(20, np.int32),
        "log_prob": np.log(generator.uniform(0.2, 0.8, 20)).astype(np.float32),
        "advantage": generator.normal(size=20).astype(np.float32),
        "target": generator.normal(size=20).astype(np.float32),
    }
    return agent, perturbed(variables, scale=1.0), own


def test_the_clipped_loss_is_its_formula(cartpole):
    agent, variables, own = cartpole
    logits = np.asarray(agent.apply(variables, own["x"], method="actions").logits, float)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    ratio = np.exp(log_probs[np.arange(20), own["action"]] - own["log_prob"])
    gain = []
    for r, a in zip(ratio, own["advantage"]):
        gain.append(min(r * a, (1.2 if r > 1.2 else 0.8 if r < 0.8 else r) * a))
    entropy = -(np.exp(log_probs) * log_probs).sum(-1)
    loss = lambda m, b: clipped_gain(m, b, KEY, clip=0.2, entropy=0.1)
    found, metrics = applied(agent, variables, own, method=loss)
    np.testing.assert_allclose(found, -np.array(gain) - 0.1 * entropy, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(metrics["clipped"], np.abs(ratio - 1) > 0.2)
    error, _ = applied(agent, variables, own, KEY, method=value_error)
    value = applied(agent, variables, own["x"], method="values")
    np.testing.assert_allclose(error, 0.5 * (value - own["target"]) ** 2, rtol=1e-5)


def test_losses_of_numbers_sum_over_an_action():
    agent = dense_agent(CIRCLES, (8,), (8,), num_codes=3)
    x, action = jax.random.normal(KEY, (6, 10)), jax.random.normal(KEY, (6, 2))
    batch = {"x": x, "action": action, "code": jnp.arange(6) % 3}
    variables = perturbed(compiled_start(agent, KEY, batch, KEY, method=cloning))
    policy = applied(agent, variables, x, batch["code"], method="actions")
    assert policy.batch_shape == (6, 2)
    found, _ = applied(agent, variables, batch, KEY, method=cloning)
    np.testing.assert_allclose(found, -policy.log_prob(action).sum(-1), rtol=1e-5)
    events = jax.random.normal(KEY, (6, 12))
    own = {"events": events, "codes": batch["code"]}
    variables = perturbed(compiled_start(agent, KEY, own, KEY, method=recognition))
    loss, _ = applied(agent, variables, own, KEY, method=recognition)
    each = lambda m, c: m.log_recognition(events, jnp.full(6, c))
    log_probs = jnp.stack([applied(agent, variables, c, method=each) for c in range(3)], -1)
    np.testing.assert_allclose(jnp.exp(log_probs).sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(-loss, log_probs[np.arange(6), batch["code"]], rtol=1e-5)


def test_cloning_a_linear_policy_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(3)
    x = generator.normal(size=(200, 4)).astype(np.float32)
    logit = x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.3
    action = (generator.random(200) < 1 / (1 + np.exp(-logit))).astype(np.int32)
    agent = dense_agent(ENVIRONMENTS["cartpole"], (), ())
    learner = gradient_learner(agent, {"model": Player(cloning, optax.adam(0.1))})
    batch = {"x": jnp.asarray(x), "action": jnp.asarray(action)}
    step = jax.jit(lambda _, state: learner.step(state, batch)[0])
    state = jax.lax.fori_loop(0, 1500, step, jax.jit(learner.init)(KEY, batch))
    logits = agent.apply(learner.variables(state), x, method="actions").logits
    found = np.asarray(logits[:, 1] - logits[:, 0])
    exact = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, action)
    np.testing.assert_allclose(found, exact.decision_function(x), rtol=1e-2, atol=1e-2)


def test_a_step_in_a_trust_region_is_the_dense_solve():
    """A softmax of a linear map in float64: its Fisher matrix is J^T (diag p - p p^T) J / N."""
    generator = np.random.default_rng(4)
    x, chosen = generator.normal(size=(40, 3)), generator.integers(0, 4, 40)
    advantage, start = generator.normal(size=40), generator.normal(size=(3, 4))
    with jax.enable_x64(True):
        X, A, W = map(jnp.asarray, (x, advantage, start))
        old = Categorical(X @ W)
        log_prob = lambda w: Categorical(X @ w["w"]).log_prob(jnp.asarray(chosen))
        gain = lambda w: (jnp.exp(log_prob(w) - old.log_prob(jnp.asarray(chosen))) * A).mean()
        divergence = lambda w: old.kl_divergence(Categorical(X @ w["w"])).mean()
        region = TrustRegion(radius=1e-6, damping=0.01, iterations=12)
        found = jax.jit(lambda w: region(gain, divergence, w))({"w": W})
        gradient = np.asarray(jax.grad(gain)({"w": W})["w"]).reshape(-1)
        p = np.asarray(jnp.exp(old.log_probs))
    fisher = np.zeros((12, 12))
    for row, q in zip(x, p):
        jacobian = np.kron(row[None], np.eye(4))  # of the logits with respect to w, row by row
        fisher += jacobian.T @ (np.diag(q) - np.outer(q, q)) @ jacobian / len(x)
    fisher += 0.01 * np.eye(12)
    direction = np.linalg.solve(fisher, gradient)
    longest = np.sqrt(2e-6 / (direction @ fisher @ direction)) * direction
    # With the damping the longest step diverges by less than the radius, and is taken.
    moved = np.asarray(found.params["w"]) - start
    np.testing.assert_allclose(moved.reshape(-1), longest, rtol=1e-6)
    assert float(found.share) == 1.0 and 0.5e-6 < float(found.divergence) <= 1e-6


def test_a_trust_region_halves_steps_until_they_are_good():
    """-w^2 at 1 under a quadratic divergence: the longest step leads too far."""
    flat = lambda w: 0.5 * jnp.sum((w - 1.0) ** 2)
    region = TrustRegion(radius=8.0, damping=0.0)  # a step of length 4, to w = -3
    found = region(lambda w: -jnp.sum(w**2), flat, jnp.ones(1))
    np.testing.assert_allclose(found.params, [0.0], atol=1e-5)  # 4 and 2 do not raise the gain
    assert found.share == 0.25
    for gain in (lambda w: jnp.sum(jnp.nan * w), lambda w: jnp.sum(0.0 * w)):
        stays = region(gain, flat, jnp.ones(1))
        assert stays.params.tolist() == [1.0] and stays.share == 0.0
    with pytest.raises(DgmjaxError, match=r"^`radius` must be positive"):
        TrustRegion(radius=0.0)


def test_the_divergence_of_categories_is_the_sum():
    first, second = scrambled([jnp.zeros((5, 3))] * 2)
    p, q = jax.nn.softmax(first), jax.nn.softmax(second)
    found = Categorical(first).kl_divergence(Categorical(second))
    np.testing.assert_allclose(found, (p * jnp.log(p / q)).sum(-1), rtol=1e-5)
    without = Categorical(jnp.array([0.0, -jnp.inf])).kl_divergence(Categorical(jnp.zeros(2)))
    assert float(without) == pytest.approx(np.log(2.0))


@pytest.mark.parametrize(
    "changed, name",
    [
        ({"value": np.ones((3, 1))}, "value"),
        ({"terminated": np.zeros((3, 1), bool)}, "terminated"),
        ({"discount": 1.5}, "discount"),
        ({"decay": -0.1}, "decay"),
        ({"reward": np.ones(0)}, "reward"),
    ],
)
def test_advantages_of_what_would_be_broadcast_are_refused(changed, name):
    ones, no = np.ones(3), np.zeros(3, bool)
    given = {"reward": ones, "value": ones, "next_value": ones, "terminated": no, "truncated": no}
    with pytest.raises(DgmjaxError, match=f"`{name}` must"):
        generalised_advantages(**{**given, "discount": 0.9, "decay": 0.9, **changed})
