"""Markov kernels: moments against closed forms and quadrature, steps against another library."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.errors import DgmjaxError
from dgmjax.inference import (
    block_gibbs,
    hamiltonian,
    hmc,
    kernels,
    leapfrog,
    mala,
    run,
    ula,
    warm_up,
)
from dgmjax.inference.adaptation import dual_averaging, dual_averaging_update

KEY = jax.random.key(0)
SCALES = jnp.array([0.5, 1.0, 3.0])
MEAN = jnp.array([1.0, -2.0, 0.5])
REAL = block_gibbs({"a": lambda _: distrax.Normal(0.0, 1.0)})


def normal(z):
    return -0.5 * (((z - MEAN) / SCALES) ** 2).sum(-1)


def banana(z):
    return -0.5 * (z[..., 0] ** 2 + (z[..., 1] - z[..., 0] ** 2) ** 2 / 0.25)


def test_leapfrog_is_reversible_and_preserves_volume():
    key = jax.random.key(0)
    z, p = jax.random.normal(key, (2, 5, 2))
    there = lambda z, p: leapfrog([banana], [1.0], hamiltonian.evaluated([banana], z), p, 0.1, 7)
    point, momentum = there(z, p)
    back, negated = there(point.position, -momentum)
    np.testing.assert_allclose(back.position, z, atol=2e-5)
    np.testing.assert_allclose(negated, -p, atol=2e-5)

    def flow(v):
        point, momentum = there(v[None, :2], v[None, 2:])
        return jnp.concatenate([point.position[0], momentum[0]])

    jacobian = jax.jacobian(flow)(jnp.concatenate([z[0], p[0]]))
    assert abs(np.linalg.det(np.asarray(jacobian, np.float64))) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", ["hmc", "mala", "hmc with a mass"])
def test_moments_are_those_of_a_normal(name):
    kernel = {
        "hmc": lambda: hmc(normal, 0.4, 5),
        "mala": lambda: mala(normal, 0.6),
        "hmc with a mass": lambda: hmc(normal, 0.5, 5, inverse_mass=SCALES**2),
    }[name]()
    start = kernel.init(jnp.zeros((400, 3)))
    steps = 1500 if name == "mala" else 300
    _, positions, info = jax.jit(lambda key: run(kernel, key, start, steps))(jax.random.key(1))
    kept = np.asarray(positions[steps // 3 :], np.float64)
    np.testing.assert_allclose(kept.mean((0, 1)), MEAN, atol=0.06)
    np.testing.assert_allclose(kept.std((0, 1)), SCALES, rtol=0.03)
    assert 0.5 < float(info.acceptance.mean()) < 1.0 and not info.divergent.any()


def test_moments_of_a_curved_density_are_those_of_quadrature():
    kernel = hmc(banana, 0.15, 12)
    start = kernel.init(jnp.zeros((500, 2)))
    _, positions, _ = jax.jit(lambda key: run(kernel, key, start, 400))(jax.random.key(2))
    kept = np.asarray(positions[100:], np.float64)
    # y = x^2 + n / 2 with x, n ~ N(0, 1): E y = 1, var y = 2 + 1/4.
    assert kept[..., 1].mean() == pytest.approx(1.0, abs=0.05)
    assert kept[..., 1].var() == pytest.approx(2.25, rel=0.06)
    assert kept[..., 0].var() == pytest.approx(1.0, rel=0.04)


def test_unadjusted_langevin_has_its_known_bias():
    """On N(0, 1), z' = (1 - e^2/2) z + e n has the variance 1 / (1 - e^2 / 4)."""
    kernel = ula(lambda z: -0.5 * (z**2).sum(-1), 1.0)
    start = kernel.init(jnp.zeros((2000, 1)))
    _, positions, _ = jax.jit(lambda key: run(kernel, key, start, 200))(jax.random.key(3))
    assert positions[50:].var() == pytest.approx(4.0 / 3.0, rel=0.02)
    # In many dimensions a stable step gains more energy than a test would ever accept.
    _, positions, info = jax.jit(
        lambda key: run(kernel, key, kernel.init(jnp.zeros((1, 20_000))), 30)
    )(KEY)
    assert info.accepted.all() and info.divergent.any()
    assert positions[-1].var() == pytest.approx(4.0 / 3.0, rel=0.05)


@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_chance_in_the_length_of_trajectories_breaks_their_period(jitter):
    """Ten leapfrog steps of a whole period of a normal lead back to where they began."""
    period = 2.0 * np.sin(np.pi / 10)
    kernel = hmc(lambda z: -0.5 * (z**2).sum(-1), period, 10, jitter=jitter)
    start = jax.random.normal(jax.random.key(1), (20_000, 1))
    state, info = jax.jit(kernel.step)(jax.random.key(2), kernel.init(start))
    assert float(info.acceptance.mean()) > 0.95
    turned = 20.0 * np.arcsin(period * np.linspace(1.0 - jitter, 1.0, 1001) / 2.0)
    correlation = float((start * state.position).mean())
    assert correlation == pytest.approx(np.cos(turned).mean(), abs=0.05)
    assert float((state.position**2).mean()) == pytest.approx(1.0, abs=0.05)


def test_an_infinite_density_is_never_entered():
    pole = lambda z: jnp.where(jnp.abs(z[..., 0]) < 0.2, jnp.inf, -jnp.abs(z[..., 0]))
    for kernel in (hmc(pole, 0.5, 2), ula(pole, 0.5)):
        start = kernel.init(jnp.ones((50, 1)))
        _, positions, info = jax.jit(lambda key, k=kernel, s=start: run(k, key, s, 50))(KEY)
        assert (jnp.abs(positions) >= 0.2).all() and info.divergent.any()


def test_a_step_is_that_of_blackjax():
    """The trajectory from the same momentum, and the acceptance it would have."""
    from blackjax.mcmc import integrators, metrics

    z, p = jax.random.normal(jax.random.key(4), (2, 3))
    mass = jnp.array([0.5, 1.0, 2.0])
    metric = metrics.default_metric(mass)
    step = integrators.velocity_verlet(lambda z: normal(z), metric.kinetic_energy)
    state = integrators.new_integrator_state(normal, z, p)
    for _ in range(6):
        state = step(state, 0.3)
    point, momentum = leapfrog(
        [normal], [1.0], hamiltonian.evaluated([normal], z[None]), p[None], 0.3, 6, mass
    )
    np.testing.assert_allclose(point.position[0], state.position, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(momentum[0], state.momentum, rtol=1e-5, atol=1e-6)


def test_warm_up_reaches_the_target_and_the_scales():
    start = jax.random.normal(jax.random.key(5), (50, 3))
    kernel = lambda step_size, mass: hmc(normal, step_size, 4, mass, jitter=0.1)
    found = jax.jit(lambda key: warm_up(kernel, key, start, 400))(jax.random.key(6))
    assert float(found.acceptance) == pytest.approx(0.65, abs=0.06)
    np.testing.assert_allclose(jnp.sqrt(found.inverse_mass), SCALES, rtol=0.15)


def test_dual_averaging_finds_the_root_of_a_known_curve():
    """Acceptance exp(-e) of a step size e: 0.8 at e = -log 0.8."""
    state = dual_averaging(1.0)
    for _ in range(3000):
        state = dual_averaging_update(state, jnp.exp(-state.step_size), target=0.8)
    assert float(state.final) == pytest.approx(-np.log(0.8), rel=0.02)


def test_trees_and_scalars_are_positions():
    log_density = lambda z: -0.5 * (z["a"] ** 2 + ((z["b"] - 3.0) ** 2).sum(-1))
    kernel = hmc(log_density, 0.5, 5, {"a": 1.0, "b": jnp.ones(2)})
    start = kernel.init({"a": jnp.zeros(300), "b": jnp.zeros((300, 2))})
    _, positions, _ = jax.jit(lambda key: run(kernel, key, start, 100))(jax.random.key(7))
    assert positions["a"].shape == (100, 300) and positions["b"].shape == (100, 300, 2)
    assert positions["b"][20:].mean() == pytest.approx(3.0, abs=0.02)


def test_a_chain_stays_where_the_density_is_positive_and_counts_divergences():
    half_line = lambda z: jnp.where(z[..., 0] > 0, -z[..., 0], -jnp.inf)
    kernel = hmc(half_line, 0.6, 4)
    start = kernel.init(jnp.ones((200, 1)))
    _, positions, info = jax.jit(lambda key: run(kernel, key, start, 200))(jax.random.key(8))
    assert (positions > 0).all() and info.divergent.any()
    assert positions[50:].mean() == pytest.approx(1.0, rel=0.1)


def test_kernels_in_float64_and_under_vmap():
    with jax.enable_x64(True):
        kernel = mala(lambda z: -0.5 * (z**2).sum(-1), 0.3)
        state, info = kernel.step(jax.random.key(0), kernel.init(jnp.zeros((3, 2), jnp.float64)))
        assert state.position.dtype == info.acceptance.dtype == jnp.float64
    kernel = hmc(normal, 0.3, 3)
    keys = jax.random.split(jax.random.key(0), 4)
    one = lambda key: kernel.step(key, kernel.init(jnp.zeros((2, 3))))[0].position
    np.testing.assert_allclose(jax.vmap(one)(keys)[2], one(keys[2]), rtol=1e-6)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: hmc(normal, 0.1, 0), "num_steps"),
        (lambda: hmc(normal, -0.1), "step_size"),
        (lambda: hmc(normal, np.float32(-0.5)), "step_size"),
        (lambda: hmc(normal, 0.5, inverse_mass={"z": np.array([1.0, -1.0])}), "inverse_mass"),
        (lambda: hmc(normal, 0.5, jitter=1.0), "jitter"),
        (lambda: hmc(normal, 0.1).init(jnp.zeros((2, 3), jnp.int32)), "position"),
        (lambda: run(hmc(normal, 0.1), jax.random.key(0), None, 0), "num_steps"),
        (lambda: warm_up(lambda s, m: hmc(normal, s), jax.random.key(0), MEAN, 3), "num_steps"),
        (
            lambda: hmc(lambda z: -(z**2).sum(-1, keepdims=True), 0.1).init(MEAN[None]),
            "log_density",
        ),
        (lambda: block_gibbs({}), "conditionals"),
        (lambda: block_gibbs({"a": None}).init({"b": MEAN}), "position"),
        (lambda: REAL.step(KEY, REAL.init({"a": jnp.array(0)})), "position"),
        (lambda: kernels.check_real({"a": jnp.zeros(2, bool)}), "position"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


def test_gibbs_draws_blocks_in_turn_and_leaves_the_joint_density_invariant():
    """Two normals with correlation 0.8: each given the other is N(0.8 other, 0.6^2)."""
    given = lambda name: lambda blocks: distrax.Normal(0.8 * blocks[name], 0.6)
    kernel = block_gibbs({"a": given("b"), "b": given("a")})
    start = kernel.init({"a": jnp.zeros(2000), "b": jnp.zeros(2000)})
    _, positions, info = jax.jit(lambda key: run(kernel, key, start, 60))(jax.random.key(9))
    kept = {name: np.asarray(values[20:], np.float64).ravel() for name, values in positions.items()}
    np.testing.assert_allclose(np.cov(kept["a"], kept["b"]), [[1.0, 0.8], [0.8, 1.0]], atol=0.03)
    assert info.accepted.all()
