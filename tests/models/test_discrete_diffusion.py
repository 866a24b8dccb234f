"""Discrete processes and models on a tiny alphabet: every chain, order and state enumerated."""

import functools
import itertools
import math

import flax.linen as flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from scrambling import applied, compiled_start

from dgmjax import models, nn, noising, objectives
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
SITES, LEVELS = 3, 2
DATA = np.array(list(itertools.product(range(LEVELS), repeat=SITES)))
KINDS = ["absorbing", "uniform"]
RNG = np.random.default_rng(0)
P_DATA = RNG.dirichlet(np.ones(len(DATA)))


class Lookup(flax.Module):
    """Logits of each site for each of all states x_t, and a drift of them with the time."""

    states: int

    @flax.compact
    def __call__(self, x, t, context=None):
        init = flax.initializers.normal(1.0)
        shape = (2, *(self.states,) * SITES, SITES, LEVELS)
        table = self.param("table", init, shape)
        place = tuple(x[..., i] for i in range(SITES))
        return table[0][place] + t[..., None, None] * table[1][place]


def model_of(replacement, kept="linear", table=None, **options):
    process = noising.DiscreteProcess(LEVELS, replacement, kept)
    module = models.DiscreteDiffusion((SITES,), process, Lookup(process.num_states), **options)
    variables = compiled_start(module, KEY, jnp.zeros((1, SITES), jnp.int32), jnp.zeros(1))
    if table is not None:
        variables = {"params": {"network": {"table": jnp.asarray(table, jnp.float32)}}}
    return module, variables


def states(process):
    return np.array(list(itertools.product(range(process.num_states), repeat=SITES)))


def forward_step(process, s, t):
    """q(x_t | x_s) of one site, `[from, to]`."""
    share = float(process.share(jnp.array(t)) / process.share(jnp.array(s)))
    return share * np.eye(process.num_states) + (1.0 - share) * process.pi


def product(parts):
    """Joint probabilities `[states]` of independent sites `parts[site, value]`."""
    return functools.reduce(np.multiply.outer, parts).ravel()


def reverse_chain(module, variables, steps):
    """p(x_s | x_t) `[steps, to, from]` between all states, from the last step to the first."""
    process, x = module.process, states(module.process)

    @jax.jit
    def probs(t, s):
        times = jnp.full(len(x), t)
        log_p = module.apply(variables, jnp.asarray(x), times)
        p0 = process.padded(jnp.exp(log_p))
        return process.posterior(x, p0, jnp.full(len(x), s), times).distribution.probs

    each = [probs((i + 1) / steps, i / steps) for i in reversed(range(steps))]
    return [np.stack([product(p) for p in np.asarray(one)], 1) for one in each]


def exact_log_prob(module, variables, steps):
    """log p(x_0) of all data in a chain of a few steps."""
    process = module.process
    p = product([process.pi] * SITES)
    for step in reverse_chain(module, variables, steps):
        p = step @ p
    known = (states(process) < LEVELS).all(1)
    assert p[known].sum() == pytest.approx(1.0, abs=1e-5)
    return np.log(p[known])


def exact_bound(module, variables, steps):
    """The bound of all data, its expectations over x_t enumerated."""
    process = module.process
    chain = reverse_chain(module, variables, steps)
    bounds = []
    for x0 in DATA:
        total = 0.0
        for i, reverse in zip(reversed(range(steps)), chain):
            s, t = i / steps, (i + 1) / steps
            one_hot = np.eye(process.num_states)[x0]
            early = product(one_hot @ forward_step(process, 0.0, s))
            step = functools.reduce(np.kron, [forward_step(process, s, t)] * SITES)
            joint = early[:, None] * step  # [x_s, x_t]
            late = joint.sum(0)
            true = joint / np.where(late > 0, late, 1.0)
            some = joint > 0
            log_ratio = np.log(np.where(some, true, 1.0)) - np.log(np.where(some, reverse, 1.0))
            total -= (joint * log_ratio).sum()
        bounds.append(total)
    return np.array(bounds)


def bound_by_quadrature(module, variables, nodes=48):
    """The bound in continuous time of all data: expectations enumerated, time by quadrature."""
    process, x = module.process, jnp.asarray(states(module.process))

    @jax.jit
    def rate(t):
        times = jnp.full(len(x), t)
        p0 = process.padded(jnp.exp(module.apply(variables, x, times)))

        def of(x0):
            x0 = jnp.broadcast_to(x0, x.shape)
            weights = jnp.exp(process.marginal(x0, times).log_prob(x))
            return (weights * process.divergence_rate(x0, x, p0, times).sum(-1)).sum()

        return jax.vmap(of)(jnp.asarray(DATA))

    at, weights = np.polynomial.legendre.leggauss(nodes)
    values = np.stack([np.asarray(rate(t)) for t in (at + 1) / 2])
    return -(weights[:, None] / 2 * values).sum(0)


@functools.lru_cache
def many_bounds(replacement, steps):
    """Estimates `[draws, data]`, and the model."""
    module, variables = model_of(replacement, reads_time=True)
    x = jnp.tile(jnp.asarray(DATA), (4000, 1))
    bound = jax.jit(functools.partial(module.apply, method="bound", steps=steps))
    return np.asarray(bound(variables, x, KEY)).reshape(4000, len(DATA)), (module, variables)


def close(estimates, exact):
    """Within 4.5 standard errors, of which one is exceeded in 1 of 10,000 tests of 16 numbers."""
    error = estimates.std(0) / np.sqrt(len(estimates))
    np.testing.assert_array_less(np.abs(estimates.mean(0) - exact), 4.5 * error)


@pytest.mark.parametrize("replacement", KINDS)
@pytest.mark.parametrize("kept", ["linear", "cosine"])
def test_marginals_are_a_markov_chain_and_posteriors_are_bayes_rule(replacement, kept):
    process = noising.DiscreteProcess(LEVELS, replacement, kept)
    s, t = 0.3, 0.7
    marginal = lambda x0, t: process.marginal(jnp.array([x0]), jnp.array(t)).distribution.probs[0]
    for x0 in range(LEVELS):
        early, step = marginal(x0, s), forward_step(process, s, t)
        np.testing.assert_allclose(early @ step, marginal(x0, t), atol=1e-6)
        np.testing.assert_allclose(marginal(x0, 0.0), np.eye(process.num_states)[x0], atol=1e-6)
        np.testing.assert_allclose(marginal(x0, 1.0), process.pi, atol=1e-6)
        for x_t in range(process.num_states):
            joint = early * step[:, x_t]
            if joint.sum() == 0:  # under masks another value than that of the data
                continue
            p0 = process.as_probabilities(jnp.array([x0]))
            found = process.posterior(jnp.array([x_t]), p0, jnp.array(s), jnp.array(t))
            np.testing.assert_allclose(
                found.distribution.probs[0], joint / joint.sum(), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("replacement", KINDS)
def test_the_rate_is_the_limit_of_the_divergence_of_short_steps(replacement):
    process = noising.DiscreteProcess(LEVELS, replacement, "cosine")
    t, short = 0.6, 1e-3
    kept = lambda t: np.cos(np.pi / 2 * t)

    def back(p, x_t, step):
        """q(x_{t - step} | x_t) by Bayes' rule, in float64."""
        early = kept(t - step) * p + (1.0 - kept(t - step)) * process.pi
        share = kept(t) / kept(t - step)
        joint = early * (share * np.eye(process.num_states) + (1.0 - share) * process.pi)[:, x_t]
        return joint / joint.sum()

    def divergence(x0, p0, x_t, step):
        true, model = back(np.eye(process.num_states)[x0], x_t, step), back(p0, x_t, step)
        return np.where(true > 0, true * (np.log(true + 1e-300) - np.log(model + 1e-300)), 0).sum()

    p0 = np.array([0.3, 0.7, 0.0])[: process.num_states]
    for x_t in range(process.num_states):
        for x0 in (0, 1) if not process.absorbs or x_t == LEVELS else (x_t,):
            # Richardson: the error of a short step is linear in it.
            rates = [divergence(x0, p0, x_t, step) / step for step in (short / 2, short)]
            rate = process.divergence_rate(
                jnp.array(x0), jnp.array(x_t), jnp.asarray(p0, jnp.float32), jnp.array(t)
            )
            assert float(rate) == pytest.approx(2 * rates[0] - rates[1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("replacement", KINDS)
def test_the_bound_of_a_short_chain_is_unbiased_and_below_the_likelihood(replacement):
    estimates, (module, variables) = many_bounds(replacement, 3)
    exact = exact_bound(module, variables, 3)
    close(estimates, exact)
    assert (exact < exact_log_prob(module, variables, 3)).all()


@pytest.mark.parametrize("replacement", KINDS)
def test_the_bound_in_continuous_time_is_the_limit_of_long_chains(replacement):
    estimates, (module, variables) = many_bounds(replacement, None)
    continuous = bound_by_quadrature(module, variables)
    close(estimates, continuous)
    # The error of a chain is of the order of 1 / steps.
    few, many = exact_bound(module, variables, 24), exact_bound(module, variables, 48)
    np.testing.assert_allclose(2 * many - few, continuous, atol=0.02)


def test_under_masks_the_bound_is_the_mean_over_orders():
    module, variables = model_of("absorbing", "cosine", reads_time=False)
    log_p = jax.jit(functools.partial(module.apply, variables))
    orders, each = list(itertools.permutations(range(SITES))), []
    for order in orders:
        total = np.zeros(len(DATA))
        for k in range(SITES):
            x = DATA.copy()
            x[:, list(order[k:])] = LEVELS
            log_probs = np.asarray(log_p(jnp.asarray(x), jnp.zeros(len(DATA))))
            total += log_probs[np.arange(len(DATA)), order[k], DATA[:, order[k]]]
        assert np.exp(total).sum() == pytest.approx(1.0, abs=1e-5)  # each order is a density
        each.append(total)
    bound = bound_by_quadrature(module, variables)
    np.testing.assert_allclose(bound, np.mean(each, 0), rtol=2e-3)
    # The model is the mixture of the orders, which the bound misses by Jensen's inequality only.
    mixture = jax.nn.logsumexp(jnp.array(each), 0) - math.log(len(orders))
    assert (bound < mixture).all()
    short, long = (exact_log_prob(module, variables, steps) for steps in (32, 64))
    np.testing.assert_allclose(2 * long - short, mixture, atol=0.01)


def conditionals(process, t):
    """Logits of the exact p(x_0 | x_t), `[*states, site, level]`, and what is best for rates.

    With uniform noise a site's own noisy value is left out: it enters with the process.
    """
    x, p0 = states(process), process.as_probabilities(jnp.asarray(DATA))
    q = np.asarray(process.probabilities(p0, jnp.full(len(DATA), t)))
    seen = np.stack([q[:, i, x[:, i]] for i in range(SITES)], -1)  # [data, state, site]
    table = np.zeros((len(x), SITES, LEVELS))
    for i in range(SITES):
        others = np.delete(seen, i, -1).prod(-1) * P_DATA[:, None]
        for k in range(LEVELS):
            table[:, i, k] = others[DATA[:, i] == k].sum(0)
    return np.log(table + 1e-30).reshape(*(process.num_states,) * SITES, SITES, LEVELS)


def test_with_the_exact_conditionals_the_bound_is_the_likelihood():
    process = noising.DiscreteProcess(LEVELS)
    # Under masks the conditionals do not depend on the time.
    early, late = conditionals(process, 0.2), conditionals(process, 0.8)
    logits = lambda table: table - jax.nn.logsumexp(table, -1, keepdims=True)
    np.testing.assert_allclose(logits(early), logits(late), atol=1e-3)
    table = np.stack([early, 0.0 * early])
    module, variables = model_of("absorbing", table=table, reads_time=False)
    np.testing.assert_allclose(bound_by_quadrature(module, variables), np.log(P_DATA), rtol=1e-3)


def test_with_uniform_noise_the_exact_conditionals_lose_nothing_on_average():
    """sum_x p(x) bound(x) = -entropy of the data."""
    process = noising.DiscreteProcess(LEVELS, "uniform")
    data, x = jnp.asarray(DATA), jnp.asarray(states(process))

    @jax.jit
    def mean_rate(logits, t):
        times = jnp.full(len(x), t)

        def of(x0):
            x0 = jnp.broadcast_to(x0, x.shape)
            rates = process.divergence_rate(x0, x, jax.nn.softmax(logits), times).sum(-1)
            return (jnp.exp(process.marginal(x0, times).log_prob(x)) * rates).sum()

        return jnp.dot(jnp.asarray(P_DATA, jnp.float32), jax.vmap(of)(data))

    def rates(root):  # t = root^2: near the data the rate is like log t
        tables = [conditionals(process, one**2).reshape(len(x), SITES, LEVELS) for one in root]
        each = [mean_rate(table, one**2) for table, one in zip(tables, root)]
        return 2 * root * np.array(each)

    nats = scipy.integrate.fixed_quad(rates, 0, 1, n=16)[0]
    assert nats == pytest.approx(-(P_DATA * np.log(P_DATA)).sum(), abs=2e-3)


@pytest.mark.parametrize("replacement", KINDS)
def test_samples_follow_the_chain(replacement):
    module, variables = model_of(replacement, reads_time=True)
    draw = jax.jit(functools.partial(module.apply, method="sample", steps=3), static_argnums=2)
    x = draw(variables, KEY, (20_000,))
    assert x.dtype == jnp.int32
    counts = np.bincount(np.asarray(x) @ (LEVELS ** np.arange(SITES)[::-1]), minlength=len(DATA))
    p = np.exp(exact_log_prob(module, variables, 3))
    error = np.sqrt(p * (1 - p) / 20_000)
    np.testing.assert_array_less(np.abs(counts / 20_000 - p), 4.5 * error)


def test_guidance_and_temperature_sharpen_samples():
    class Classes(flax.Module):
        @flax.compact
        def __call__(self, x, t, context=None):
            tilt = 0.0 if context is None else jnp.where(context == 1, 1.0, 0.0)[..., None]
            up = self.param("up", flax.initializers.ones, ()) * tilt
            return jnp.stack([jnp.zeros(x.shape), jnp.broadcast_to(up, x.shape)], -1)

    process = noising.DiscreteProcess(2)
    module = models.DiscreteDiffusion((SITES,), process, Classes(), steps=2)
    draw = functools.partial(module.apply, {"params": {"network": {"up": jnp.ones(())}}})
    label = jnp.ones(4000, int)
    for options, logit in (({}, 1.0), ({"guidance": 1.0}, 2.0), ({"temperature": 0.5}, 2.0)):
        mean = float(draw(KEY, (), label, method="sample", **options).mean())
        assert mean == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.02)
    assert draw(KEY, (2,), label[:3], method="sample").shape == (2, 3, SITES)


def test_masks_are_spread_evenly_and_leave_times_uniform():
    process = noising.DiscreteProcess(5, kept="cosine")
    x = jnp.zeros((512, 2, 2), jnp.int32)
    noisy, t, weight = jax.jit(process.hide, static_argnums=2)(KEY, x, 2)
    hidden = np.asarray((noisy == 5).sum((1, 2)))
    assert np.bincount(hidden)[1:].tolist() == [128] * 4
    np.testing.assert_allclose(weight, 4 / hidden)
    # The share that is hidden is uniform, as at a uniform time of the linear schedule.
    assert scipy.stats.kstest(1.0 - np.cos(np.pi / 2 * np.asarray(t)), "uniform").pvalue > 1e-3


def test_completions_keep_what_is_observed_and_follow_its_conditional():
    """With the exact conditionals, one site at a time: p(x_2 | x_0, x_1) of the data."""
    table = np.stack([conditionals(noising.DiscreteProcess(LEVELS), 0.5)] * 2)
    table[1] = 0.0
    module, variables = model_of("absorbing", table=table)
    observed, mask = jnp.array([0, 1, 0]), jnp.array([True, True, False])
    x = module.apply(variables, KEY, observed, mask, (20_000,), method="complete", steps=1)
    np.testing.assert_array_equal(x[:, :2], np.broadcast_to([0, 1], (20_000, 2)))
    pair = P_DATA[(DATA[:, 0] == 0) & (DATA[:, 1] == 1)]
    p = pair[1] / pair.sum()
    assert float(x[:, 2].mean()) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 20_000))


def test_times_are_spread_over_a_batch_and_over_copies_of_an_example():
    times = np.asarray(noising.spread_times(KEY, (4, 8)))
    np.testing.assert_allclose(np.diff(np.sort(times.ravel())), 1 / 32, atol=1e-6)
    np.testing.assert_allclose(np.diff(np.sort(times, 0), axis=0), 1 / 4, atol=1e-6)
    assert noising.spread_times(KEY, ()).shape == () and noising.spread_times(KEY, (0,)).size == 0
    means = jax.vmap(lambda key: noising.spread_times(key, (3,)))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(means.mean(0), 0.5, atol=4 / np.sqrt(12 * 4000))


@pytest.mark.slow
def test_the_objective_trains_a_network_over_images_from_its_marginals():
    process = noising.DiscreteProcess(2)
    network = nn.UNet((4,), embed=nn.OneHot(3), num_outputs=2)
    module = models.DiscreteDiffusion((4, 4, 1), process, network, steps=2, site_bias=True)
    x = jnp.zeros((64, 4, 4, 1), jnp.uint8).at[:, 0].set(1)
    batch = {"x": x, "log_det": jnp.full(64, 2.0)}
    variables = compiled_start(module, KEY, batch, KEY, method=objectives.discrete_diffusion)
    loss = jax.jit(functools.partial(module.apply, method=objectives.discrete_diffusion))
    nats, metrics = loss(variables, batch, KEY)
    assert nats.shape == (64,) and float(nats.mean()) < 0.2 * 16 * np.log(2) - 2.0
    np.testing.assert_array_equal(nats, -metrics["bound"])
    averaged = functools.partial(objectives.discrete_diffusion, num_samples=3)
    assert jax.eval_shape(lambda v: module.apply(v, batch, KEY, method=averaged), variables)[
        0
    ].shape == (64,)
    slopes = jax.grad(lambda v: loss(v, batch, KEY)[0].sum())(variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: noising.DiscreteProcess(0), "levels"),
        (lambda: noising.DiscreteProcess(2, "other"), "replacement"),
        (lambda: noising.DiscreteProcess(2, kept="other"), "kept"),
        (lambda: noising.DiscreteProcess(2, kept=lambda t: 1.0 - 0.5 * t), "kept"),
        (
            lambda: noising.DiscreteProcess(2, kept=lambda t: 1.0 - jnp.sin(2 * jnp.pi * t) - t),
            "kept",
        ),
        (lambda: noising.DiscreteProcess(2).marginal(jnp.zeros(2, int), jnp.array(1.5)), "t"),
        (lambda: noising.DiscreteProcess(2).marginal(jnp.zeros(2, int), jnp.array(jnp.nan)), "t"),
        (lambda: noising.DiscreteProcess(3).marginal(jnp.array([7]), jnp.array(0.25)), "x0"),
        (lambda: noising.DiscreteProcess(3).marginal(jnp.array([0.5]), jnp.array(0.25)), "x0"),
        (
            lambda: noising.DiscreteProcess(3, "uniform").posterior(
                jnp.array([0]), jnp.eye(3)[1:2], jnp.array(0.8), jnp.array(0.2)
            ),
            "s",
        ),
        (
            lambda: noising.DiscreteProcess(2, "uniform").hide(KEY, jnp.zeros((1, 2)), 1),
            "replacement",
        ),
    ],
)
def test_bad_processes_are_named(make, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}`"):
        make()


@pytest.mark.parametrize(
    "method, arguments, options, argument",
    [
        ("bound", (jnp.zeros((2, 4), int), KEY), {}, "x"),
        ("bound", (jnp.zeros((2, SITES), int), KEY), {"steps": 0}, "steps"),
        ("sample", (KEY,), {"steps": 0}, "steps"),
        ("complete", (KEY, jnp.zeros(4, int), True), {}, "x"),
        ("sample", (KEY,), {"guidance": 1.0}, "guidance"),
        ("sample", (KEY,), {"temperature": 0.0}, "temperature"),
    ],
)
def test_bad_input_is_named(method, arguments, options, argument):
    module, variables = model_of("absorbing")
    with pytest.raises(DgmjaxError, match=f"`{argument}`"):
        module.apply(variables, *arguments, method=method, **options)


def test_completions_need_masks():
    module, variables = model_of("uniform")
    with pytest.raises(DgmjaxError, match="`process`"):
        module.apply(variables, KEY, jnp.zeros(SITES, int), True, method="complete")


def test_a_network_of_another_alphabet_is_named():
    process = noising.DiscreteProcess(3)
    module = models.DiscreteDiffusion((SITES,), process, Lookup(process.num_states))
    with pytest.raises(DgmjaxError, match="`network`"):
        module.init(KEY, jnp.zeros((1, SITES), jnp.int32), jnp.zeros(1))


def test_nothing_of_the_cosine_is_kept_at_time_one():
    module, variables = model_of("absorbing", "cosine")
    q = module.process.marginal(jnp.asarray(DATA), jnp.ones(len(DATA)))
    assert float(q.distribution.probs.min()) == 0.0
    np.testing.assert_array_equal(q.sample(seed=KEY), np.full_like(DATA, LEVELS))
    bound = applied(module, variables, jnp.asarray(DATA), KEY, method="bound", steps=2)
    assert np.isfinite(bound).all()


def test_the_rate_of_a_prediction_that_excludes_the_data_is_infinite():
    process = noising.DiscreteProcess(LEVELS)
    p0 = process.padded(jnp.array([[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]]))
    x0, x_t = jnp.zeros((3, 1), int), jnp.array([[LEVELS], [LEVELS], [0]])
    rate = process.divergence_rate(x0, x_t, p0, jnp.full(3, 0.5))
    np.testing.assert_array_equal(rate[:, 0], [np.inf, 0.0, 0.0])
