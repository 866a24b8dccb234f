"""Gradients of discrete latents against exact ones, by enumeration of all latents."""

import sys
from functools import cache, partial
from pathlib import Path

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from scrambling import applied, compiled_start

from dgmjax import models, nn, objectives
from dgmjax.distributions import families
from dgmjax.distributions.relaxation import discrete_sites
from dgmjax.errors import DgmjaxError
from dgmjax.objectives.discrete.relaxed import discrete_kl, straight_through_sample
from dgmjax.training import Player, gradient_learner

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import gradient_variance as benchmark

KEY = jax.random.key(0)
NUM = 6000
ERROR_RATE = 1e-4  # of one estimator, over all of its parameters (Bonferroni)
CASES = [(2, name) for name, row in benchmark.ESTIMATORS.items() if row.unbiased] + [
    (3, name) for name in ("REINFORCE", "REBAR", "REINFORCE of L_K", "VIMCO")
]
measured = cache(partial(benchmark.measure, num_keys=NUM))


@pytest.mark.staggered
@pytest.mark.parametrize("levels, name", CASES)
def test_unbiased_and_of_less_variance_than_reinforce(levels, name):
    """The mean of 6000 gradients against the exact one, each parameter by a z-test."""
    result = measured(name, levels)
    assert result["largest_z"] < scipy.stats.norm.isf(ERROR_RATE / 2 / result["parameters"])
    reference = benchmark.ESTIMATORS[name].reference
    if reference != name:
        assert result["variance"] < 0.6 * measured(reference, levels)["variance"]


def without_the_samples(model, batch, key):
    """The ELBO at discrete samples, differentiated as if they did not depend on the posterior."""
    q, p = model.posterior(batch["x"]), model.prior()
    z = q.sample(seed=key)
    elbo = p.log_prob(z) + model.likelihood(z).log_prob(batch["x"]) - q.log_prob(z)
    return -elbo, {"elbo": elbo}


def test_the_z_test_finds_a_bias():
    """A gradient that forgets its score function is far off, and so is that of Concrete."""
    for name, row in {
        "reparameterised": benchmark.Row(without_the_samples),
        "Concrete": benchmark.ESTIMATORS["Concrete"],
    }.items():
        assert benchmark.measure(name, 2, 1000, row=row)["largest_z"] > 10


@pytest.mark.slow
def test_control_variates_learn_to_lower_the_variance(monkeypatch):
    monkeypatch.setattr(benchmark, "ADAPTATION", 0)
    row = benchmark.Row(objectives.relax, lambda m: models.WithControlVariate(m, scale=-1.0))
    untrained = benchmark.measure("REBAR", 2, 1000, row=row)["variance"]
    assert untrained > 3 * measured("REBAR", 2)["variance"]


@pytest.fixture(scope="module", params=[2, 3], ids=["binary", "three_levels"])
def bound(request):
    """A model with random weights, a batch, and every latent."""
    model, params = benchmark.toy(request.param)
    return model.bind({"params": params}), benchmark.all_latents(request.param)


def test_values_are_the_bounds(bound):
    """Whatever the gradient, the loss is the negative bound at the same samples."""
    model, _ = bound
    x = benchmark.BATCH["x"]
    z = model.posterior(x).sample(seed=KEY, sample_shape=(3,))
    log_w = model.log_joint(x, z) - model.posterior(x).log_prob(z)
    run = lambda objective: jax.jit(lambda: objective(model, benchmark.BATCH, KEY))()
    loss, metrics = run(partial(objectives.reinforce, num_samples=3))
    np.testing.assert_allclose(loss, -log_w.mean(0), rtol=1e-5)
    np.testing.assert_allclose(loss, -metrics["elbo"], rtol=1e-6)
    loss, metrics = run(partial(objectives.vimco, num_samples=3))
    np.testing.assert_allclose(loss, np.log(3) - jax.nn.logsumexp(log_w, 0), rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], log_w.mean(0), rtol=1e-5)
    loss, _ = run(partial(objectives.vimco, num_samples=3, baseline="arithmetic"))
    np.testing.assert_allclose(loss, np.log(3) - jax.nn.logsumexp(log_w, 0), rtol=1e-5)


def test_discrete_kl_is_the_sum_over_all_latents(bound):
    model, every = bound
    q, p = model.posterior(benchmark.BATCH["x"]), model.prior()
    log_q = q.log_prob(every[:, None])
    expected = (jnp.exp(log_q) * (log_q - p.log_prob(every)[:, None])).sum(0)
    np.testing.assert_allclose(discrete_kl(q, p), expected, rtol=1e-4)


@pytest.mark.parametrize("through", ["relaxed", "probabilities"])
def test_straight_through_is_discrete_forwards_and_smooth_backwards(bound, through):
    model, _ = bound
    q = model.posterior(benchmark.BATCH["x"])
    z = straight_through_sample(q, KEY, 0.5, (100,), through)
    assert set(np.unique(z)) == {0.0, 1.0}
    if z.ndim == 4:
        assert (z.sum(-1) == 1).all()
    _, sites, _ = discrete_sites(q)

    def total(logits):
        same = distrax.Independent(type(sites)(logits), 1)
        weights = 1.0 + jnp.arange(z[0].size).reshape(z.shape[1:])
        return (weights * straight_through_sample(same, KEY, 0.5, (), through)).sum()

    gradient = jax.grad(total)(sites.logits)
    assert jnp.isfinite(gradient).all() and (gradient != 0).all()


def test_straight_through_loss_is_the_discrete_bound(bound):
    """Averaged over draws it is the exact ELBO (4.5 standard errors)."""
    model, every = bound
    x = benchmark.BATCH["x"]
    log_q = model.posterior(x).log_prob(every[:, None])
    exact = (jnp.exp(log_q) * (model.log_joint(x, every[:, None]) - log_q)).sum(0)
    run = jax.jit(lambda key: objectives.straight_through(model, benchmark.BATCH, key)[0])
    losses = jax.lax.map(run, jax.random.split(KEY, 2000), batch_size=500)
    error = losses.std(0) / np.sqrt(2000)
    assert (jnp.abs(losses.mean(0) + exact) < 4.5 * error).all()


def test_relaxed_bound_is_the_marginal_where_posterior_and_prior_agree(bound):
    """With equal relaxations of q and p the KL is zero at every draw."""
    model, _ = bound

    class Agreeing:
        def prior(self):
            return model.prior()

        def posterior(self, x):
            _, sites, _ = discrete_sites(model.prior())
            logits = jnp.broadcast_to(sites.logits, (*x.shape[:1], *sites.logits.shape))
            return distrax.Independent(type(sites)(logits), 1)

        def likelihood(self, z):
            return model.likelihood(z)

    run = partial(objectives.concrete, Agreeing(), benchmark.BATCH, KEY, temperature=0.3)
    found = jax.jit(lambda: [run(kl=kl)[1]["kl"] for kl in ("relaxed", "discrete")])()
    np.testing.assert_allclose(found, 0.0, atol=1e-4)


def test_temperature_follows_its_schedule():
    model, params = benchmark.toy(2)
    schedule = optax.linear_schedule(1.0, 0.1, 100)

    def temperature(batch):
        method = partial(objectives.concrete, temperature=schedule)
        return model.apply({"params": params}, batch, KEY, method=method)[1]["temperature"]

    assert temperature({**benchmark.BATCH, "step": jnp.int32(50)}) == pytest.approx(0.55)
    assert temperature(benchmark.BATCH) == pytest.approx(0.1)


def test_running_moments_and_their_use():
    """Two training steps by hand; evaluation leaves the moments alone."""
    model, params = benchmark.toy(2)
    wrapped = models.WithBaseline(model, decay=0.8)
    learner = gradient_learner(wrapped, {"model": Player(objectives.reinforce, optax.sgd(0.0))})
    state = jax.jit(learner.init)(KEY, benchmark.BATCH)
    np.testing.assert_array_equal(state.collections["state"]["moments"], 0.0)
    moments, step = np.zeros(3), jax.jit(learner.step)
    for _ in range(2):
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        key = jax.random.fold_in(key, 0)
        plain = model.bind({"params": state.params["model"]})
        signal = np.asarray(objectives.reinforce(plain, benchmark.BATCH, key)[1]["elbo"])
        seen = np.array([signal.mean(), np.square(signal).mean(), 1.0])
        moments = 0.8 * moments + 0.2 * seen
        state, _ = step(state, benchmark.BATCH)
        np.testing.assert_allclose(state.collections["state"]["moments"], moments, rtol=1e-5)
    trained = learner.bind(state)
    mean, square = moments[0] / moments[2], moments[1] / moments[2]
    np.testing.assert_allclose(trained.baseline(benchmark.BATCH["x"]), mean, rtol=1e-5)
    expected = np.sqrt(max(1.0, square - mean**2))
    np.testing.assert_allclose(trained.signal_scale(), expected, rtol=1e-4)
    loss, _ = objectives.reinforce(trained, benchmark.BATCH, KEY)
    assert loss.shape == (3,)
    del params


def test_a_learned_baseline_predicts_the_signal():
    """Trained alone it leaves less of the signal's variance than a constant does."""
    model, params = benchmark.toy(2)
    wrapped = models.WithBaseline(model, nn.MLP((8,), (1,)))
    player = Player(objectives.reinforce, optax.adam(0.02), params=("network",))
    learner = gradient_learner(wrapped, {"baseline": player})
    state = jax.jit(learner.init)(KEY, benchmark.BATCH)
    state.params["model"] = params
    step = jax.jit(learner.step)
    for _ in range(150):
        state, _ = step(state, benchmark.BATCH)
    exact = -benchmark.exact_loss(model, 2, 1, params)
    predicted = learner.bind(state).baseline(benchmark.BATCH["x"])
    assert predicted.mean() == pytest.approx(float(exact), abs=1.0)
    assert predicted.std() > 0.1


def test_models_answer_through_their_wrappers():
    model, params = benchmark.toy(3)
    x = benchmark.BATCH["x"]

    def answers(model):
        return model.reconstruct(x, KEY), model.sample(KEY, (2,)), model.mean(KEY, (2,))

    expected = applied(model, {"params": params}, method=answers)
    for wrapped in (models.WithBaseline(model), models.WithControlVariate(model)):
        variables = compiled_start(wrapped, KEY, x, KEY, method="reconstruct")
        variables = {**variables, "params": {**variables["params"], "model": params}}
        assert wrapped.observation == model.observation
        found = applied(wrapped, variables, method=answers)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        bound = partial(objectives.importance_bound, num_samples=10)
        loss, _ = jax.eval_shape(
            partial(wrapped.apply, method=bound), variables, benchmark.BATCH, KEY
        )
        assert loss.shape == (3,)


def test_any_prior_serves_the_score_function():
    """An autoregressive prior over binary latents gets its gradients, too."""
    prior = models.MADE((3,), (4,))
    model = models.DiscreteVAE((4,), 3, 2, (4,), prior_model=prior)
    variables = compiled_start(model, KEY, benchmark.BATCH, KEY, method=objectives.reinforce)

    def loss(params):
        method = partial(objectives.vimco, num_samples=2)
        return model.apply({"params": params}, benchmark.BATCH, KEY, method=method)[0].mean()

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    assert jnp.abs(gradient["prior_model"]["network"]["out_bias"]).sum() > 0


TOY = benchmark.toy(2)[0]
NORMAL = models.DenseVAE((4,), 2, (4,))


def initialised(model, objective):
    return lambda: model.init(KEY, benchmark.BATCH, KEY, method=objective)


@pytest.mark.parametrize(
    "act, word",
    [
        (initialised(TOY, partial(objectives.reinforce, num_samples=0)), "num_samples"),
        (initialised(TOY, partial(objectives.reinforce, leave_one_out=True)), "num_samples"),
        (initialised(TOY, partial(objectives.vimco, num_samples=1)), "num_samples"),
        (initialised(TOY, partial(objectives.vimco, baseline="mean")), "baseline"),
        (initialised(TOY, partial(objectives.concrete, temperature=0.0)), "temperature"),
        (initialised(TOY, partial(objectives.concrete, kl="sampled")), "kl"),
        (initialised(TOY, partial(objectives.straight_through, through="z")), "through"),
        (initialised(NORMAL, objectives.concrete), "model"),
        (initialised(NORMAL, objectives.straight_through), "model"),
        (initialised(models.WithControlVariate(NORMAL), objectives.relax), "model"),
        (
            initialised(models.WithControlVariate(TOY, temperature=0.0), objectives.relax),
            "temperature",
        ),
        (initialised(models.WithBaseline(TOY, decay=1.0), objectives.reinforce), "decay"),
        (
            initialised(models.WithBaseline(TOY, nn.MLP((2,), (3,))), objectives.reinforce),
            "network",
        ),
        (lambda: models.DiscreteVAE((4,), 0, 2, (4,)), "latent"),
        (lambda: models.DiscreteVAE((4,), 3, 1, (4,)), "levels"),
        (lambda: models.DiscreteVAE((4,), 3, 2, ()), "hidden"),
        (
            lambda: discrete_kl(
                families.Bernoulli()(jnp.zeros((3, 1))), families.OneHotCategorical(3)(jnp.zeros(3))
            ),
            "model",
        ),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()


def test_the_table_sets_variances_beside_their_reference():
    row = {"levels": 2, "variance": 8.0, "largest_z": 2.0, "unbiased": True}
    results = [
        {**row, "estimator": "REINFORCE"},
        {**row, "estimator": "REBAR", "variance": 2.0},
        {**row, "estimator": "Concrete", "largest_z": 50.0, "unbiased": False},
    ]
    lines = benchmark.table(results).splitlines()
    assert lines[3] == "| binary | REBAR | 2 | 0.250 | 2.0 |"
    assert lines[4].endswith("| 1.000 | 50.0 (biased) |")


REFUSED = {
    "elbo": objectives.elbo,
    "elbo_analytic": partial(objectives.elbo, kl="analytic"),
    "iwae": partial(objectives.iwae, num_samples=3),
    "renyi": partial(objectives.renyi, alpha=0.5),
    "chi_upper_bound": objectives.chi_upper_bound,
    "importance_bound": partial(objectives.importance_bound, num_samples=2, chunk=1),
}


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("levels", [2, 3])
def test_bounds_that_need_reparameterised_samples_refuse_discrete_ones(name, levels):
    """Their gradient lacked the term through the samples, and nobody was told."""
    model = models.DiscreteVAE((4,), 3, levels, (5,))
    batch = {"x": jnp.ones((2, 4))}
    key = jax.random.key(0)
    variables = compiled_start(model, key, batch, key, method=objectives.elbo)
    loss = lambda v: model.apply(v, batch, key, method=REFUSED[name])[0].mean()
    assert jnp.isfinite(jax.jit(loss)(variables))  # evaluation is allowed
    words = "discrete latents.*reinforce, vimco or relax.*concrete or straight_through"
    with pytest.raises(DgmjaxError, match=words):
        jax.jit(jax.grad(loss))(variables)

    def of_the_likelihood(decoder):
        params = {**variables["params"], "decoder": decoder}
        return loss({**variables, "params": params})

    found = jax.jit(jax.grad(of_the_likelihood))(variables["params"]["decoder"])
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.slow
def test_the_wake_phase_trains_a_discrete_posterior():
    model = models.DiscreteVAE((4,), 3, 2, (5,))
    batch, key = {"x": jnp.ones((2, 4))}, jax.random.key(0)
    variables = compiled_start(model, key, batch, key, method=objectives.elbo)
    loss = lambda v: model.apply(v, batch, key, method=objectives.wake_phase)[0].mean()
    assert optax.tree.norm(jax.jit(jax.grad(loss))(variables)) > 0
