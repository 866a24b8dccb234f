"""Annealed importance sampling against closed forms: bounds, bias, schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dgmjax.errors import DgmjaxError
from dgmjax.inference import (
    adaptive_temperatures,
    anneal as run_along,
    annealed_importance_sampling,
    effective_chains,
    geometric_temperatures,
    hamiltonian_path,
    linear_temperatures,
    log_evidence_bounds,
    log_mean_weight,
    log_partition,
    sigmoid_temperatures,
    tuned_step_sizes,
)

# x = W z + n: log p(x) is a normal density, and the posterior can be sampled exactly.
W = np.random.default_rng(0).normal(size=(6, 3))
NOISE = 0.5
KEYS = jax.random.split(jax.random.key(0), 5)
Z_TRUE = np.random.default_rng(1).normal(size=(4, 3))
X = (Z_TRUE @ W.T + NOISE * np.random.default_rng(2).normal(size=(4, 6))).astype(np.float32)
EVIDENCE = multivariate_normal(np.zeros(6), W @ W.T + NOISE**2 * np.eye(6)).logpdf(X)
COVARIANCE = np.linalg.inv(np.eye(3) + W.T @ W / NOISE**2)
MEANS = X @ W @ COVARIANCE.T / NOISE**2


def base(z):
    return (-0.5 * z**2 - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)


def ratio(z):
    """log p(x | z) for z `[chains, data, 3]`."""
    error = (X - z @ W.T.astype(np.float32)) / NOISE
    return (-0.5 * error**2 - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(NOISE)).sum(-1)


def prior(key, chains):
    return jax.random.normal(key, (chains, *Z_TRUE.shape))


def exact_posterior(key, chains):
    factor = np.linalg.cholesky(COVARIANCE).astype(np.float32)
    return MEANS.astype(np.float32) + prior(key, chains) @ factor.T


@pytest.fixture(scope="module")
def sandwich():
    """Both directions with 128 chains and 200 temperatures, tuned step sizes."""
    betas = sigmoid_temperatures(200)

    @jax.jit
    def both(keys):
        sizes = tuned_step_sizes(keys[0], base, ratio, prior(keys[1], 128), betas, num_steps=5)
        options = {"temperatures": betas, "step_sizes": sizes, "num_steps": 5}
        forwards = annealed_importance_sampling(
            keys[2], base, ratio, prior(keys[1], 128), **options
        )
        start = exact_posterior(keys[3], 128)
        backwards = annealed_importance_sampling(
            keys[4], base, ratio, start, backwards=True, **options
        )
        return forwards, backwards

    return both(KEYS)


def test_both_bounds_are_near_the_evidence(sandwich):
    forwards, backwards = sandwich
    bounds = log_evidence_bounds(forwards, backwards)
    for sign, found in ((1.0, forwards), (-1.0, backwards)):
        weight = np.exp(sign * (np.asarray(found.log_weight, np.float64) - EVIDENCE))
        error = weight.std(0) / np.sqrt(len(weight))
        assert (np.abs(weight.mean(0) - 1.0) < 4.0 * error).all() and (error < 0.15).all()
        estimate = bounds.lower if sign > 0 else bounds.upper
        np.testing.assert_allclose(estimate, EVIDENCE + sign * np.log(weight.mean(0)), atol=1e-4)
    lower, upper = forwards.log_weight.mean(0), backwards.log_weight.mean(0)
    assert (lower < EVIDENCE + 0.05).all() and (upper > EVIDENCE - 0.05).all()
    assert (upper - lower > 0).all() and (upper - lower < 1.0).all()


def test_step_sizes_reach_the_target_and_chains_do_not_diverge(sandwich):
    for annealed in sandwich:
        assert float(annealed.acceptance.mean()) == pytest.approx(0.65, abs=0.08)
        assert annealed.divergent.sum() == 0 and annealed.step_sizes.shape == (200,)
    forwards = sandwich[0]
    assert (effective_chains(forwards.log_weight) > 64).all()
    mean = (jax.nn.softmax(forwards.log_weight, 0)[..., None] * forwards.position).sum(0)
    np.testing.assert_allclose(mean, MEANS, atol=0.15)


def test_weights_are_unbiased_even_with_three_temperatures():
    """Mean of exp(log w) over many chains, where each chain alone is far off."""
    betas = np.array([0.0, 0.05, 0.3, 1.0])
    sizes = jnp.array([0.5, 0.3, 0.15])
    run = jax.jit(
        lambda key: (
            annealed_importance_sampling(
                key, base, ratio, prior(key, 20_000), betas, sizes, num_steps=3
            ).log_weight
        )
    )
    log_weight = jnp.concatenate([run(key) for key in jax.random.split(jax.random.key(9), 5)])
    weight = np.exp(np.asarray(log_weight, np.float64) - EVIDENCE)
    error = weight.std(0) / np.sqrt(len(weight))
    assert (np.abs(weight.mean(0) - 1.0) < 4.0 * error).all() and (error < 0.05).all()
    assert (np.asarray(log_weight).mean(0) < EVIDENCE - 0.5).all()


def test_weights_count_each_temperature_before_its_transition():
    """A path of one temperature is importance sampling: log w = ratio(z_0), with z_0 the start.

    TensorFlow Probability weighed the state after the transition there; its estimate is biased.
    """
    start = prior(jax.random.key(3), 8)
    found = annealed_importance_sampling(
        jax.random.key(4), base, ratio, start, np.array([0.0, 1.0]), 0.2, num_steps=4
    )
    np.testing.assert_allclose(found.log_weight, ratio(start), rtol=1e-6)
    assert not np.allclose(found.position, start)


@pytest.mark.slow
def test_adaptive_temperatures_keep_the_weights_even():
    start = prior(jax.random.key(5), 64)
    betas, sizes = adaptive_temperatures(
        jax.random.key(6), base, ratio, start, effective=0.8, num_steps=4
    )
    assert betas[0] == 0.0 and betas[-1] == 1.0 and (np.diff(betas) > 0).all()
    assert len(sizes) == len(betas) - 1 and 5 < len(betas) < 200
    found = annealed_importance_sampling(
        jax.random.key(7), base, ratio, start, betas, sizes, num_steps=4
    )
    np.testing.assert_allclose(log_mean_weight(found.log_weight), EVIDENCE, atol=0.6)
    fewer, _ = adaptive_temperatures(
        jax.random.key(6), base, ratio, start, effective=0.5, num_steps=4
    )
    assert len(fewer) < len(betas)


def test_schedules_increase_from_0_to_1():
    for schedule in (linear_temperatures, sigmoid_temperatures):
        for count in (1, 2, 50):
            betas = schedule(count)
            assert len(betas) == count + 1 and betas[0] == 0.0 and betas[-1] == 1.0
            assert (np.diff(betas) > 0).all()
    ends = np.diff(sigmoid_temperatures(100))
    assert ends[0] < ends[50] and ends[-1] < ends[50]


def anneal(betas=(0.0, 1.0), sizes=0.1, **options):
    start = options.pop("start", None)
    start = prior(KEYS[0], 2) if start is None else start
    arguments = (np.array(betas), sizes)
    return annealed_importance_sampling(KEYS[0], base, ratio, start, *arguments, **options)


def along_path(given):
    path = hamiltonian_path(base, ratio)
    state = path.init(prior(KEYS[0], 2))
    return run_along(KEYS[0], path, state, np.linspace(0.0, 1.0, 4), given)


def test_temperatures_and_what_is_given_may_be_arrays_of_numpy():
    _, found = along_path(np.full(3, 0.1))
    _, wanted = along_path(jnp.full(3, 0.1))
    np.testing.assert_array_equal(found.log_weight, wanted.log_weight)


@pytest.mark.parametrize("dtype, x64", [("bfloat16", False), ("float32", True)])
def test_states_may_be_narrower_than_temperatures(dtype, x64):
    """Weights are those of `annealed_importance_sampling`, and the chains keep their dtype."""
    normal = lambda z: -0.5 * (z**2).sum(-1)
    betas, sizes = np.array([0.0, 0.4, 1.0]), np.full(2, 0.3)
    with jax.enable_x64(x64):
        start = jnp.ones((4, 2), dtype)
        path = hamiltonian_path(normal, normal, num_steps=1)
        state, found = run_along(KEYS[0], path, path.init(start), betas, sizes)
        wanted = annealed_importance_sampling(
            KEYS[0], normal, normal, start, betas, sizes, num_steps=1
        )
        tuned = tuned_step_sizes(KEYS[0], normal, normal, start, betas, num_steps=1)
    assert state.position.dtype == found.log_weight.dtype == dtype
    assert found.log_weight.tolist() == wanted.log_weight.tolist()
    assert tuned.dtype == "float32" and bool((tuned > 0).all())


def test_values_may_be_wider_than_positions():
    """Such as those of float64 data in place of float32: half precision stands for the latter."""
    wide = lambda z: -0.5 * (z.astype(jnp.float32) ** 2).sum(-1)
    start = jnp.ones((4, 2), jnp.bfloat16)
    found = annealed_importance_sampling(
        KEYS[0], wide, wide, start, np.array([0.0, 0.4, 1.0]), 0.3, num_steps=1
    )
    assert found.position.dtype == jnp.bfloat16 and found.log_weight.dtype == jnp.float32


ONES = jnp.ones((3, 2))


def trial(ratio=ratio, **options):
    temperatures = np.array([0.0, 1.0])
    return tuned_step_sizes(KEYS[0], base, ratio, prior(KEYS[0], 2), temperatures, **options)


def adaptive(position=ONES, ratio=base):
    return adaptive_temperatures(KEYS[0], base, ratio, position, num_steps=1)


WHOLE = ONES.astype(jnp.int32)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: anneal((0.0, 0.5)), "temperatures"),
        (lambda: anneal((0.0, 0.5, 0.4, 1.0)), "temperatures"),
        (lambda: anneal((0.1, 1.0)), "temperatures"),
        (lambda: anneal(num_steps=0), "num_steps"),
        (lambda: anneal((0.0, 0.5, 1.0), jnp.ones(3)), "step_sizes"),
        (lambda: anneal(start=jnp.zeros((2, 4, 3), jnp.int32)), "position"),
        (lambda: anneal(sizes=0.0), "step_sizes"),
        (lambda: anneal((0.0, 0.5, 1.0), np.array([0.1, -0.1])), "step_sizes"),
        (lambda: anneal(sizes=np.nan), "step_sizes"),
        (lambda: trial(step_size=0.0), "step_size"),
        (lambda: trial(ratio=lambda z: ratio(z) * jnp.nan), "ratio"),
        (lambda: log_mean_weight(jnp.zeros((0, 3))), "log_weight"),
        (lambda: effective_chains(jnp.zeros((3, 0)), -1), "log_weight"),
        (lambda: effective_chains(jnp.zeros(3), 1), "log_weight"),
        (lambda: tuned_step_sizes(KEYS[0], base, base, WHOLE, np.array([0.0, 1.0])), "position"),
        (lambda: tuned_step_sizes(KEYS[0], base, base, ONES[:0], np.array([0.0, 1.0])), "position"),
        (lambda: adaptive(WHOLE), "position"),
        (lambda: adaptive(ONES[0]), "position"),
        (lambda: adaptive(ONES[:0]), "position"),
        (lambda: adaptive(ratio=lambda z: base(z) * jnp.nan), "ratio"),
        (lambda: adaptive(ratio=lambda z: base(z) + jnp.array([0.0, 0.0, -jnp.inf])), "ratio"),
        (lambda: along_path(given=jnp.ones(2)), "given"),
        (lambda: log_partition(None, KEYS[0], np.array([0.0, 1.0]), num_chains=1), "num_chains"),
        (lambda: linear_temperatures(0), "count"),
        (lambda: sigmoid_temperatures(5, -1.0), "steepness"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


def test_geometric_steps_are_equally_hard_and_vary_less():
    """x = z + n / sqrt(r): the log ratio has variance (r / (1 + b r))^2 / 2 a dimension."""
    r = 400.0
    betas = geometric_temperatures(20, r)
    np.testing.assert_allclose(np.diff(np.log1p(betas * r)), np.log1p(r) / 20, rtol=1e-9)
    x = jax.random.normal(KEYS[0], (30,))

    def evidence(key, temperatures):
        base = lambda z: (-0.5 * z**2 - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)
        ratio = lambda z: (-0.5 * r * (x - z) ** 2 - 0.5 * jnp.log(2 * jnp.pi / r)).sum(-1)
        start = jax.random.normal(key, (64, 30))
        # A quarter of a period in ten steps: the next state hardly depends on the last.
        sizes = 0.05 * np.pi / np.sqrt(1.0 + temperatures[1:] * r)
        found = annealed_importance_sampling(key, base, ratio, start, temperatures, sizes)
        return found.log_weight

    spread = {
        schedule: float(evidence(KEYS[1], schedule(100)).std())
        for schedule in (geometric_temperatures, sigmoid_temperatures, linear_temperatures)
    }
    # The variance of the whole path is at least its squared length over the number of steps.
    least = np.sqrt(30 / 2 * np.log1p(r) ** 2 / 100)
    assert least * 0.8 < spread[geometric_temperatures] < 1.5 * least
    assert spread[geometric_temperatures] < 0.6 * spread[sigmoid_temperatures]
    assert spread[sigmoid_temperatures] < spread[linear_temperatures]


@pytest.mark.slow
def test_step_sizes_of_each_datum_follow_its_posterior():
    scales = jnp.array([0.02, 0.2, 1.0])
    base = lambda z: -0.5 * (z**2).sum(-1)
    ratio = lambda z: -0.5 * (z**2).sum(-1) / scales**2
    start = jax.random.normal(KEYS[0], (16, 3, 2))
    betas = geometric_temperatures(100)
    sizes = jax.jit(lambda key: tuned_step_sizes(key, base, ratio, start, betas, shared=0))(KEYS[1])
    assert sizes.shape == (100, 1, 3)
    at_the_end = np.asarray(sizes[-1, 0])
    assert at_the_end[0] < 0.25 * at_the_end[1] < 0.25 * 0.6 * at_the_end[2]
    found = annealed_importance_sampling(KEYS[2], base, ratio, start, betas, sizes)
    assert found.log_weight.shape == (16, 3)
    every = tuned_step_sizes(KEYS[1], base, ratio, start, betas)
    assert every.shape == (100,)
