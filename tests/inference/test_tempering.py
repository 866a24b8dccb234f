"""Tempered transitions: masses of separate modes, exact reversal, densities of other kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.errors import DgmjaxError
from dgmjax.inference import hamiltonian_path, hmc, run, tempered_transitions

KEY = jax.random.key(0)
LADDER = np.geomspace(0.02, 1.0, 16)
SIZES = 0.25 / np.sqrt(LADDER)
SHARE = 0.3


def two_modes(z):
    """0.3 N(-5, 0.6^2) + 0.7 N(5, 1), of z[..., 0]; z[..., 1] ~ N(0, 1)."""
    x, y = z[..., 0], z[..., 1]
    left = jnp.log(SHARE / 0.6) - 0.5 * ((x + 5.0) / 0.6) ** 2
    return jnp.logaddexp(left, jnp.log(1.0 - SHARE) - 0.5 * (x - 5.0) ** 2) - 0.5 * y**2


def flat(z):
    return jnp.zeros(z.shape[:-1])


def sampled(kernel, start, steps):
    _, positions, info = jax.jit(lambda key: run(kernel, key, kernel.init(start), steps))(KEY)
    return np.asarray(positions, np.float64), info


@pytest.mark.slow
def test_modes_that_hmc_does_not_join_have_their_masses():
    start = jnp.tile(jnp.array([5.0, 0.0]), (400, 1))
    stuck, _ = sampled(hmc(two_modes, 0.25, 10), start, 200)
    assert (stuck[..., 0] > 0).all()
    kernel = tempered_transitions(hamiltonian_path(flat, two_modes), LADDER, SIZES)
    positions, info = sampled(kernel, start, 150)
    kept = positions[50:]
    left = kept[..., 0] < 0
    # Chains change their mode about every ten steps: 400 x 100 / 20 independent draws.
    assert left.mean() == pytest.approx(SHARE, abs=4 * np.sqrt(SHARE * (1 - SHARE) / 2000))
    assert np.abs(np.diff(left, axis=0)).mean() > 0.02
    assert kept[..., 0][left].std() == pytest.approx(0.6, rel=0.05)
    assert kept[..., 0][~left].std() == pytest.approx(1.0, rel=0.05)
    assert kept[..., 1].var() == pytest.approx(1.0, rel=0.05)
    assert 0.2 < float(info.acceptance.mean()) < 1.0 and not info.divergent.any()


def test_exact_samples_stay_exact_with_a_coarse_ladder():
    """A ladder of two, whose proposals are poor: without the test they would widen the density."""
    normal = lambda z: -0.5 * (z**2).sum(-1)
    path = hamiltonian_path(flat, normal, num_steps=3)
    kernel = tempered_transitions(path, [0.1, 1.0], jnp.array([1.0, 0.3]))
    start = jax.random.normal(KEY, (20_000, 2))
    positions, info = sampled(kernel, start, 5)
    error = np.sqrt(2 / positions[-1].size)
    assert positions[-1].var() == pytest.approx(1.0, abs=4 * error)
    assert 0.1 < float(info.accepted.mean()) < 0.9
    moved = np.abs(positions[1:] - positions[:-1]).max(-1) > 0
    np.testing.assert_array_equal(moved, info.accepted[1:])


def test_one_temperature_is_two_transitions_of_hmc():
    normal = lambda z: -0.5 * (z**2).sum(-1)
    kernel = tempered_transitions(hamiltonian_path(flat, normal), [1.0], jnp.array([0.3]))
    _, info = sampled(kernel, jax.random.normal(KEY, (50, 2)), 3)
    np.testing.assert_array_equal(info.acceptance, 1.0)


@pytest.mark.parametrize("dtype, x64", [("bfloat16", False), ("float32", True)])
def test_states_may_be_narrower_than_the_ladder(dtype, x64):
    normal = lambda z: -0.5 * (z**2).sum(-1)
    with jax.enable_x64(x64):
        path = hamiltonian_path(flat, normal, num_steps=1)
        kernel = tempered_transitions(path, [0.5, 1.0], np.array([0.4, 0.3]))
        state, info = kernel.step(KEY, kernel.init(jnp.ones((4, 2), dtype)))
    assert state.position.dtype == dtype and not info.divergent.any()


@pytest.mark.parametrize(
    "temperatures, given, word",
    [
        ([0.1, 0.5], None, "temperatures"),
        ([0.5, 0.2, 1.0], None, "temperatures"),
        ([-0.1, 1.0], None, "temperatures"),
        ([], None, "temperatures"),
        ([0.1, 1.0], jnp.ones(3), "given"),
        ([0.1, 1.0], 0.3, "given"),
    ],
)
def test_bad_arguments_are_named(temperatures, given, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        tempered_transitions(hamiltonian_path(flat, two_modes), temperatures, given)
