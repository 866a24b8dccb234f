"""RBM of four visible and three hidden units against the enumeration of all its states."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import logsumexp
from scrambling import applied, compiled_start, scrambled, scrambled_start

from dgmjax import models, objectives, training
from dgmjax.devices.mesh import make_mesh
from dgmjax.errors import DgmjaxError
from dgmjax.inference import (
    anneal,
    annealing,
    log_partition,
    run,
    sigmoid_temperatures,
    tempered_transitions,
)
from dgmjax.models.energy.rbm import log_sum_of_states
from dgmjax.training.gradients import Microbatches, VirtualShards

KEY = jax.random.key(0)
X = np.array(list(product((0, 1), repeat=4)), np.float32).reshape(16, 2, 2)
H = np.array(list(product((0, 1), repeat=3)), np.float32)
MODULE = models.RBM((2, 2), 3)
VARIABLES = scrambled(compiled_start(MODULE, KEY, X, method="energy"), seed=3)
PARAMS = {name: np.asarray(a, np.float64) for name, a in VARIABLES["params"].items()}


def joint():
    """log of the unnormalised p(x, h), `[16, 8]`."""
    x = X.reshape(16, 4).astype(np.float64)
    bias = (x @ PARAMS["visible_bias"])[:, None] + H @ PARAMS["hidden_bias"]
    return x @ PARAMS["weights"] @ H.T + bias


LOG_Z = logsumexp(joint())
LOG_P = logsumexp(joint(), 1) - LOG_Z


def apply(method, *arguments, variables=VARIABLES, **options):
    return MODULE.apply(variables, *arguments, method=method, **options)


def test_density_and_conditionals_are_those_of_the_table():
    assert float(apply("log_partition")) == pytest.approx(LOG_Z, abs=1e-5)
    np.testing.assert_allclose(apply("log_prob", X), LOG_P, atol=1e-5)
    of_h = np.exp(joint() - logsumexp(joint(), 1, keepdims=True)) @ H
    of_x = np.exp(joint() - logsumexp(joint(), 0)).T @ X.reshape(16, 4)
    hidden = apply(lambda model: model.hidden_given(X).distribution.probs)
    visible = apply(lambda model: model.visible_given(H).distribution.probs)
    np.testing.assert_allclose(hidden, of_h, atol=1e-5)
    np.testing.assert_allclose(visible.reshape(8, 4), of_x, atol=1e-5)


@pytest.mark.parametrize("visible, hidden", [(3, 13), (13, 3), (12, 12)])
def test_enumeration_in_parts_is_that_of_all_states(visible, hidden):
    """The smaller side is summed, and beyond ten units in parts."""
    module = models.RBM((visible,), hidden)
    variables = scrambled_start(module, KEY, jnp.zeros(visible), seed=2, scale=0.5, method="energy")
    states = (np.arange(2**visible)[:, None] >> np.arange(visible)) & 1
    energies = applied(module, variables, states.astype(np.float32), method="energy")
    expected = logsumexp(-np.asarray(energies, np.float64))
    assert float(applied(module, variables, method="log_partition")) == pytest.approx(
        expected, abs=1e-4
    )
    params = variables["params"]
    parts = params["weights"], params["visible_bias"], params["hidden_bias"]
    assert float(log_sum_of_states(*parts)) == pytest.approx(expected, abs=1e-4)


def shares(x):
    """The share of each of the 16 images."""
    codes = np.asarray(x).reshape(-1, 4) @ np.array([8, 4, 2, 1])
    return np.bincount(codes.astype(int), minlength=16) / len(codes)


def test_gibbs_sweeps_leave_the_density_invariant():
    def draw(model):
        start = model.start(jnp.zeros((2000, 2, 2)))
        _, positions, info = run(model.kernel(), KEY, start, 60)
        return positions, info

    positions, info = applied(MODULE, VARIABLES, method=draw)
    truth = np.exp(LOG_P)
    found = shares(positions["visible"][20:])
    # 80,000 draws, of chains that forget their start within a few sweeps.
    np.testing.assert_allclose(found, truth, atol=0.008)
    of_h = np.exp(logsumexp(joint(), 0) - LOG_Z) @ H
    np.testing.assert_allclose(positions["hidden"][20:].mean((0, 1)), of_h, atol=0.01)
    assert info.accepted.all() and not info.divergent.any()
    samples = MODULE.clone(sampling_steps=30).apply(VARIABLES, KEY, (20_000,), method="sample")
    np.testing.assert_allclose(shares(samples), truth, atol=0.015)


DATA = X[np.random.default_rng(3).integers(0, 16, 4000)]


def gradient(loss, variables=VARIABLES):
    def mean(params):
        found = MODULE.apply({"params": params}, {"x": DATA}, KEY, method=loss)
        return found[0].mean()

    return jax.jit(jax.grad(mean))(variables["params"])


def distance(a, b):
    leaves = jax.tree.leaves(jax.tree.map(lambda a, b: jnp.abs(a - b).max(), a, b))
    return float(max(leaves))


def test_with_many_steps_contrastive_divergence_is_the_gradient_of_the_likelihood():
    truth = gradient(objectives.negative_log_likelihood)
    long, short = (
        gradient(partial(objectives.contrastive_divergence, num_steps=k)) for k in (40, 1)
    )
    # The mean of 4000 products of bits has a standard error of at most 0.008.
    assert distance(long, truth) < 0.03 < distance(short, truth)


def test_the_exact_gradient_is_that_of_the_table():
    """d -log p(x) / d W = E_model[x h^T] - E[x h^T | data], by enumeration."""
    p = np.exp(joint() - LOG_Z)
    x = X.reshape(16, 4)
    model_side = np.einsum("xh,xi,hj->ij", p, x, H)
    given = np.exp(joint() - logsumexp(joint(), 1, keepdims=True))
    data_side = np.einsum("x,xh,xi,hj->ij", shares(DATA), given, x, H)
    found = gradient(objectives.negative_log_likelihood)["weights"]
    np.testing.assert_allclose(found, model_side - data_side, atol=1e-5)


def persistent_learner(chains=500):
    module = models.RBM((2, 2), 3, num_chains=chains)
    loss = partial(objectives.contrastive_divergence, persistent=True)
    player = training.Player(loss, optax.sgd(0.05))
    return training.gradient_learner(module, {"model": player})


@pytest.mark.slow
def test_persistent_chains_move_in_training_and_learn_the_data():
    learner = persistent_learner()
    truth = np.exp(LOG_P)
    data = jnp.asarray(X[np.random.default_rng(4).choice(16, 20_000, p=truth / truth.sum())])
    state = jax.jit(learner.init)(KEY, {"x": data[:100]})
    before = state.collections["state"]["chains"]
    assert jnp.issubdtype(before.dtype, jnp.integer) and before.shape == (500, 2, 2)

    @jax.jit
    def many(state):
        def body(state, index):
            x = jax.lax.dynamic_slice_in_dim(data, 500 * (index % 40), 500)
            return learner.step(state, {"x": x})

        return jax.lax.scan(body, state, jnp.arange(8000))

    state, _ = many(state)
    after = state.collections["state"]["chains"]
    assert set(np.unique(after)) == {0, 1} and not np.array_equal(before, after)
    # Chains are samples of the model, which fits the data: KL(data || model) is small.
    log_prob = learner.bind(state).log_prob(X)
    assert float((truth * (LOG_P - log_prob)).sum()) < 0.01
    # 0.1 is more than four standard errors of a share of 500 chains.
    np.testing.assert_allclose(shares(after), np.exp(log_prob), atol=0.1)


def test_outside_of_training_chains_stay():
    learner = persistent_learner(5)
    state = jax.jit(learner.init)(KEY, {"x": X})
    loss = partial(objectives.contrastive_divergence, persistent=True)
    value, metrics = learner.call(learner.variables(state), loss, {"x": X}, KEY)
    assert value.shape == (16,) and set(metrics) == {"energy", "chain_energy"}


@pytest.mark.parametrize("strategy", ["parts", "shards"])
def test_chains_stay_bits_where_a_batch_is_taken_in_parts(strategy):
    gradients = Microbatches(4)
    if strategy == "shards":
        gradients = VirtualShards(make_mesh(1), 4)
    learner = persistent_learner(20).with_gradients(gradients)
    state = jax.jit(learner.init)(KEY, {"x": X})
    before = state.collections["state"]["chains"]
    state, _ = jax.jit(learner.step)(state, {"x": X})
    after = state.collections["state"]["chains"]
    assert set(np.unique(after)) == {0, 1} and not np.array_equal(before, after)


RATES = jnp.array([[0.2, 0.5], [0.7, 0.6]])


def test_the_ends_of_the_path_are_known():
    """log Z_0 by enumeration, and increments that add up to log f_1 - log f_0."""

    def ends(model):
        path, _, log_normaliser = model.annealing(RATES)
        return path.increment(path.init(X), 0.0, 1.0), log_normaliser

    gained, log_normaliser = applied(MODULE, VARIABLES, method=ends)
    logits = np.log(RATES / (1 - RATES)).reshape(-1)
    log_base = X.reshape(16, 4) @ logits + 3 * np.log(2.0)
    assert float(log_normaliser) == pytest.approx(logsumexp(log_base), abs=1e-5)
    np.testing.assert_allclose(log_base + gained, -apply("energy", X), atol=1e-4)


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("count", [2, 100])
def test_annealed_weights_have_no_bias(count):
    estimate = lambda model: log_partition(
        model.annealing(RATES), KEY, sigmoid_temperatures(count), num_chains=20_000
    )
    found = jax.jit(lambda v: MODULE.apply(v, method=estimate))(VARIABLES)
    log_zero = float(found.log_z - annealing.log_mean_weight(found.log_weight))
    weight = np.exp(np.asarray(found.log_weight, np.float64) + log_zero - LOG_Z)
    error = weight.std() / np.sqrt(len(weight))
    assert abs(weight.mean() - 1.0) < 4.0 * error < 0.1
    assert float(found.standard_error) == pytest.approx(error / weight.mean(), rel=1e-3)
    # With few temperatures the mean of log w is a bound that is far off.
    assert (np.log(weight).mean() < -0.1) == (count == 2)


def test_backwards_from_exact_samples_they_bound_from_above():
    def weights(model):
        path, _, log_normaliser = model.annealing(RATES)
        codes = jax.random.categorical(KEY, jnp.asarray(LOG_P, jnp.float32), shape=(20_000,))
        state = path.init(jnp.asarray(X)[codes])
        betas = jnp.asarray(sigmoid_temperatures(3), jnp.float32)
        return anneal(KEY, path, state, betas, backwards=True)[1].log_weight + log_normaliser

    inverse = np.exp(LOG_Z - np.asarray(applied(MODULE, VARIABLES, method=weights), np.float64))
    error = inverse.std() / np.sqrt(len(inverse))
    assert abs(inverse.mean() - 1.0) < 4.0 * error < 0.1


def act_on(method, *arguments, module=MODULE):
    return lambda: module.init(KEY, *arguments, method=method)


@pytest.mark.parametrize(
    "act, word",
    [
        (act_on("energy", X, module=models.RBM((2, 2), 0)), "hidden"),
        (act_on("energy", X, module=models.RBM((2, 2), 2, num_chains=-1)), "num_chains"),
        (act_on("energy", X[..., :1]), "x"),
        (act_on("log_partition", module=models.RBM((21,), 21)), "model"),
        (act_on("annealing", np.ones(4)), "rates"),
        (act_on("chains"), "num_chains"),
        (
            act_on(partial(objectives.contrastive_divergence, num_steps=0), {"x": X}, KEY),
            "num_steps",
        ),
        (
            lambda: objectives.contrastive_divergence(object(), {"x": X}, KEY),
            "model",
        ),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}"):
        act()


@pytest.mark.slow
def test_tempered_transitions_leave_the_density_invariant():
    """Of a machine with weights three times as large, all chains starting at one image."""
    strong = {"params": {n: (3.0 if n == "weights" else 1.0) * a for n, a in PARAMS.items()}}
    strong = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), strong)
    truth = np.exp(np.asarray(apply("log_prob", X, variables=strong), np.float64))

    def draw(model):
        path = model.annealing(RATES).path
        kernel = tempered_transitions(path, np.linspace(0.0, 1.0, 9))
        start = kernel.init(jnp.tile(X[5], (2000, 1, 1)))
        return run(kernel, KEY, start, 40)[1:]

    positions, info = jax.jit(lambda v: MODULE.apply(v, method=draw))(strong)
    np.testing.assert_allclose(shares(positions["visible"][20:]), truth, atol=0.02)
    assert 0.2 < float(info.accepted.mean()) < 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_chains_start_at_whole_numbers(dtype):
    """Chains that start at the data had the data's type, which no draw has."""
    loss = lambda x: apply(objectives.contrastive_divergence, {"x": x}, KEY)[0]
    np.testing.assert_array_equal(loss(X.astype(dtype)), loss(X))
