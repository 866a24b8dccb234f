"""Processes, conversions, preconditioning and couplings against closed forms and SciPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from dgmjax import noising
from dgmjax.errors import DgmjaxError
from dgmjax.noising.couplings import entropic_plan, squared_distances

KEY = jax.random.key(0)
TIMES = jnp.array([0.05, 0.3, 0.7, 0.95])
ROWS = {
    **{name: noising.process_of(name) for name in noising.PROCESSES},
    "cosine": noising.variance_preserving(noising.Cosine()),
    "linear_log_snr": noising.variance_preserving(noising.LinearLogSNR()),
    "of_log_snr": noising.of_log_snr(lambda t: 8.0 - 13.0 * t**2 - 0.1 * t),
}
PROCESS = pytest.mark.parametrize("process", ROWS.values(), ids=list(ROWS))


def beta(t):
    return 0.1 + 19.9 * t


def integral(t):
    return 0.1 * t + 19.9 * t**2 / 2


# name -> f and g of the stochastic equation as published, and signal and noise
PUBLISHED = {
    "variance_preserving": lambda t: (
        -beta(t) / 2,
        np.sqrt(beta(t)),
        np.exp(-integral(t) / 2),
        np.sqrt(1 - np.exp(-integral(t))),
    ),
    "sub_variance_preserving": lambda t: (
        -beta(t) / 2,
        np.sqrt(beta(t) * (1 - np.exp(-2 * integral(t)))),
        np.exp(-integral(t) / 2),
        1 - np.exp(-integral(t)),
    ),
    "variance_exploding": lambda t: (
        0 * t,
        0.01 * 5000**t * np.sqrt(2 * np.log(5000)),
        1 + 0 * t,
        0.01 * 5000**t,
    ),
    "straight": lambda t: (-1 / (1 - t), np.sqrt(2 * t / (1 - t)), 1 - t, t),
    "trigonometric": lambda t: (
        -np.pi / 2 * np.tan(np.pi / 2 * t),
        np.sqrt(np.pi * np.tan(np.pi / 2 * t)),
        np.cos(np.pi / 2 * t),
        np.sin(np.pi / 2 * t),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_drift_diffusion_and_marginal_are_the_published_ones(name):
    process = noising.process_of(name)
    f, g, signal, noise = PUBLISHED[name](np.asarray(TIMES, np.float64))
    x = jnp.full((4, 2), 3.0)
    np.testing.assert_allclose(process.drift(x, TIMES)[:, 0], 3 * f, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(process.diffusion(TIMES), g, rtol=1e-4)
    q = process.marginal(x, TIMES)
    assert q.event_shape == (2,) and q.batch_shape == (4,)
    np.testing.assert_allclose(q.mean()[:, 0], 3 * signal, rtol=1e-5)
    np.testing.assert_allclose(q.stddev()[:, 1], noise, rtol=1e-5)


@PROCESS
def test_time_runs_from_data_to_noise(process):
    log_snr, rate = process.log_snr_and_rate(TIMES)
    assert (np.diff(log_snr) < 0).all() and (np.asarray(rate) < 0).all()
    np.testing.assert_allclose(process.time_of(log_snr), TIMES, atol=1e-4)
    squared = process.squared_diffusion(TIMES)
    np.testing.assert_allclose(
        squared, -(process.at(TIMES).noise ** 2) * rate, rtol=2e-3, atol=1e-6
    )


@pytest.mark.staggered
@PROCESS
def test_every_kind_gives_every_other_and_comes_back(process):
    x0, noise = jax.random.normal(KEY, (2, 4, 3))
    at = process.at(TIMES).like(x0)
    x = process.interpolate(x0, noise, TIMES)
    truth = {
        "data": x0,
        "noise": noise,
        "score": jax.vmap(jax.grad(lambda x, t, x0: process.marginal(x0, t).log_prob(x)))(
            x, TIMES, x0
        ),
        "velocity": jax.vmap(jax.jacfwd(process.interpolate, 2))(x0, noise, TIMES),
    }
    assert set(truth) == set(noising.KINDS)
    for given, wanted in itertools.product(noising.KINDS, repeat=2):
        found = noising.convert(truth[given], x, at, given, wanted)
        scale = np.abs(truth[wanted]).max()
        np.testing.assert_allclose(found, truth[wanted], rtol=1e-3, atol=2e-3 * scale)
        back = noising.convert(found, x, at, wanted, given)
        scale = np.abs(truth[given]).max()
        np.testing.assert_allclose(back, truth[given], rtol=1e-3, atol=2e-3 * scale)


@pytest.mark.parametrize("name", noising.PRECONDITIONINGS)
def test_preconditioned_networks_read_and_return_unit_variance(name):
    deviation, s = 0.7, np.geomspace(0.01, 50.0, 9)
    row = noising.preconditioning_of(name, deviation)
    skip, out, inner = (np.asarray(f(s, deviation)) for f in (row.skip, row.out, row.inner))
    target = ((1 - skip) ** 2 * deviation**2 + skip**2 * s**2) / out**2
    if name == "edm":
        np.testing.assert_allclose(inner**2 * (s**2 + deviation**2), 1.0, rtol=1e-6)
        np.testing.assert_allclose(target, 1.0, rtol=1e-5)
    else:
        np.testing.assert_allclose(target, 1.0)  # the noise itself
    np.testing.assert_allclose(row.weight(s), 1 / out**2, rtol=1e-6)


def test_assignment_is_the_best_permutation():
    x0, x1 = jax.random.normal(KEY, (2, 40, 2, 1))
    found = jax.jit(noising.assignment)(KEY, x0, x1)
    cost = np.asarray(squared_distances(x0, x1))
    expected = cost[scipy.optimize.linear_sum_assignment(cost)].sum()
    np.testing.assert_allclose(((x0 - found) ** 2).sum(), expected, rtol=1e-5)
    np.testing.assert_array_equal(np.sort(found.ravel()), np.sort(x1.ravel()))


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_assignments_far_from_the_origin_are_the_best_too(offset):
    generator = np.random.default_rng(0)
    x0, x1 = np.float32(offset + generator.normal(size=(2, 64, 2)))
    found = np.float64(noising.assignment(KEY, x0, x1))
    cost = np.square(np.float64(x0)[:, None] - x1).sum(-1)
    expected = cost[scipy.optimize.linear_sum_assignment(cost)].sum()
    assert np.square(np.float64(x0) - found).sum() == pytest.approx(expected, rel=1e-4)


def test_times_of_whole_numbers_are_those_of_floats():
    process = noising.variance_preserving()
    assert process.time_of(jnp.array(0)) == process.time_of(jnp.array(0.0)) > 0.2


def test_bounds_of_unknown_times_are_named():
    x, predict = jnp.zeros((2, 3)), lambda x, t: x
    for times, steps in (("nonsense", 10), ("log_snr", 10), ("nonsense", None)):
        options = {"event_ndims": 1, "times": times, "num_steps": steps}
        with pytest.raises(DgmjaxError, match=r"^`times` must be 'time'"):
            noising.variational_bound(noising.variance_preserving(), predict, x, KEY, **options)


def test_times_of_steps_stay_in_the_span():
    """1.0000001 in single precision, and 1.004 where half precision draws 1."""
    process, seen = noising.process_of("sub_variance_preserving"), []

    def predict(x, t):
        seen.append(t)
        return x

    for dtype in (jnp.float32, jnp.bfloat16):
        x = jnp.zeros((4096, 1), dtype)
        terms = noising.variational_bound(process, predict, x, KEY, event_ndims=1, num_steps=1000)
        assert np.isfinite(np.asarray(terms.total, np.float32)).all()
        first, last = process.bounded_span
        assert first <= seen[-1].min() and seen[-1].max() <= last


def test_the_entropic_plan_has_both_marginals_and_tends_to_the_assignment():
    x0, x1 = jax.random.normal(KEY, (2, 12, 2))
    cost = squared_distances(x0, x1)
    plan = np.exp(entropic_plan(cost, 0.05, 3000))
    np.testing.assert_allclose(plan.sum(1), 1 / 12, rtol=1e-3)
    np.testing.assert_allclose(plan.sum(0), 1 / 12, rtol=1e-4)
    # The optimum is the only plan of the form diag(u) K diag(v): log P + cost / r has rank one.
    residual = np.log(plan) + np.asarray(cost / (0.05 * cost.mean()))
    residual = residual - residual.mean(0) - residual.mean(1, keepdims=True) + residual.mean()
    np.testing.assert_allclose(residual, 0.0, atol=1e-3)
    sharp = noising.sinkhorn(KEY, x0, x1, 0.002, 3000)
    np.testing.assert_allclose(sharp, noising.assignment(KEY, x0, x1), atol=1e-6)


@pytest.mark.parametrize("name", noising.COUPLINGS)
def test_couplings_pair_rows_of_the_same_shape(name):
    coupling = noising.coupling_of(name)
    with pytest.raises(DgmjaxError, match="`x1` must have the shape"):
        coupling(KEY, jnp.zeros((4, 2)), jnp.zeros((3, 2)))
    paired = jax.eval_shape(coupling, KEY, jnp.zeros((4, 2, 2)), jnp.zeros((4, 2, 2)))
    assert paired.shape == (4, 2, 2)


@pytest.mark.parametrize(
    "wrong, argument",
    [
        (lambda: noising.straight().marginal(jnp.zeros(2), 1.5), "t"),
        (lambda: noising.straight().interpolate(jnp.zeros(2), jnp.zeros(2), -0.5), "t"),
        (lambda: noising.straight().marginal(jnp.zeros((2, 1)), jnp.array([0.5, -0.1])), "t"),
        (lambda: noising.straight().marginal(jnp.zeros((2, 1)), jnp.array([0.5, jnp.nan])), "t"),
        (lambda: noising.GaussianProcess(lambda t: (t, 1.0 - t)), "coefficients"),
        (lambda: noising.of_log_snr(lambda t: jnp.cos(9.0 * t)), "coefficients"),
        (lambda: noising.GaussianProcess(lambda t: (1.0 - t, t), span=(0.5, 0.1)), "span"),
        (lambda: noising.LinearLogSNR(-5.0, 13.0), "last"),
        (lambda: noising.variance_exploding(5.0, 1.0), "smallest"),
        (lambda: noising.process_of("brownian"), "process"),
        (lambda: noising.coupling_of("random"), "coupling"),
        (lambda: noising.preconditioning_of("edm", 0.0), "deviation"),
        (lambda: noising.sinkhorn(KEY, jnp.ones((2, 1)), jnp.ones((2, 1)), 0.0), "regularisation"),
        (lambda: noising.from_parts("drift", None, None), "kind"),
    ],
)
def test_bad_input_is_named(wrong, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}` must "):
        wrong()


def test_equal_processes_compile_once():
    traces = []

    def log_snr(process, t):
        traces.append(1)
        return process.log_snr(t)

    compiled = jax.jit(log_snr, static_argnums=0)
    for _ in range(2):
        compiled(noising.variance_preserving(noising.Linear()), 0.5)
        compiled(noising.straight(), 0.5)
    assert len(traces) == 2


def test_float64_is_kept():
    with jax.enable_x64(True):
        for process in ROWS.values():
            x = process.interpolate(jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.array([0.2, 0.4]))
            assert x.dtype == jnp.float64


def test_the_cosine_schedule_is_exact_near_the_data():
    """cos rounds to 1 there in float32, which would leave no noise at all."""
    t = np.array([1e-6, 1e-4, 1e-3, 0.3, 0.6, 0.9])
    signal, noise = noising.variance_preserving(noising.Cosine(offset=0.0)).coefficients(
        jnp.asarray(t, jnp.float32)
    )
    np.testing.assert_allclose(noise, np.sin(np.pi / 2 * t), rtol=1e-5)
    np.testing.assert_allclose(signal, np.cos(np.pi / 2 * t), rtol=1e-5)
    rate = jax.vmap(jax.grad(noising.Cosine(offset=0.0)))(jnp.array([1e-4, 0.5, 0.9, 1.0]))
    assert np.isfinite(rate).all()
    np.testing.assert_allclose(
        rate[:3], -np.pi / 2 * np.tan(np.pi / 2 * np.array([1e-4, 0.5, 0.9])), rtol=1e-4
    )


def test_the_quarter_circle_is_exact_at_its_ends():
    """The cosine of the rounded pi / 2 is below 0, where the signal has no logarithm."""
    process, ends = noising.trigonometric(), jnp.array([0.0, 1.0])
    at = process.at(ends)
    np.testing.assert_array_equal([at.signal, at.noise], [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(at.signal_rate, [0.0, -np.pi / 2], rtol=1e-6)
    np.testing.assert_array_equal(process.log_snr(ends), [np.inf, -np.inf])
    np.testing.assert_array_equal(process.diffusion(ends), [0.0, np.inf])
    t = 1.0 - 2.0 ** -np.arange(24.0)
    signal, _ = process.coefficients(jnp.asarray(t, jnp.float32))
    np.testing.assert_allclose(signal, np.cos(np.pi / 2 * t), rtol=1e-6)


@pytest.mark.parametrize(
    "name, limit",
    [("variance_preserving", 0.1**0.5), ("sub_variance_preserving", 0.0), ("straight", 0.0)],
)
def test_the_diffusion_has_its_limit_at_the_data(name, limit):
    np.testing.assert_allclose(noising.process_of(name).diffusion(0.0), limit, rtol=1e-6)


def test_distances_of_bytes_do_not_wrap():
    x0, x1 = jax.random.randint(KEY, (2, 6, 3), 0, 256).astype(jnp.uint8)
    expected = squared_distances(x0.astype(jnp.float32), x1.astype(jnp.float32))
    np.testing.assert_array_equal(squared_distances(x0, x1), expected)


@pytest.mark.parametrize("name", noising.COUPLINGS)
def test_no_rows_are_no_pairs(name):
    nothing = jnp.zeros((0, 3))
    assert noising.COUPLINGS[name](KEY, nothing, nothing).shape == (0, 3)


@pytest.mark.parametrize("replacement", ["absorbing", "uniform"])
def test_the_rate_of_divergence_has_its_limit_at_the_end(replacement):
    """At t = 1 nothing is kept, and the rate was 0 / 0."""
    process = noising.DiscreteProcess(3, replacement)
    p0 = process.padded(jnp.array([[0.7, 0.2, 0.1]]))
    x0 = jnp.array([0])
    x_t = jnp.array([3 if process.absorbs else 2])
    at = lambda t: float(process.divergence_rate(x0, x_t, p0, jnp.array([t]))[0])
    # One jump left, from the mask: to the data, where the model expects it with 0.7.
    limit = -np.log(0.7) if process.absorbs else 0.0
    np.testing.assert_allclose(at(1.0), limit, atol=2e-6)
    np.testing.assert_allclose(at(1.0 - 1e-4), limit, atol=2e-3)


def test_rates_of_nearly_equal_jumps_are_exact():
    """r log(r / r') - r + r' near t = 1 is of second order: rounding had hidden it."""
    process = noising.DiscreteProcess(3, "uniform")
    x0, x_t, p0 = jnp.array([0]), jnp.array([2]), jnp.array([[0.7, 0.2, 0.1]])
    share = 1e-3
    own = (
        np.eye(3)[0] * share + (1 - share) / 3,
        np.array([0.7, 0.2, 0.1]) * share + (1 - share) / 3,
    )
    true, model = (q / q[2] for q in own)
    exact = ((true * np.log(true / model) - true + model)[:2]).sum() / share / 3
    found = process.divergence_rate(x0, x_t, p0, jnp.array([1.0 - share]))
    np.testing.assert_allclose(found, [exact], rtol=1e-3)


@pytest.mark.parametrize(
    "wrong, argument",
    [
        (lambda p, d: p.marginal(jnp.ones((4, 2)), jnp.full(3, 0.5)), "`t`"),
        (
            lambda p, d: p.interpolate(jnp.ones((4, 2)), jnp.ones((4, 2)), jnp.full((4, 1), 0.5)),
            "`t`",
        ),
        (lambda p, d: p.interpolate(jnp.ones((4, 2)), jnp.ones(4), jnp.full(4, 0.5)), "`noise`"),
        (lambda p, d: d.marginal(jnp.ones((4, 2), int), jnp.full(2, 0.5)), "`t`"),
        (
            lambda p, d: d.posterior(
                jnp.ones((4, 2), int), jnp.full((4, 2, 3), 1 / 3), jnp.zeros(4), jnp.ones(4)
            ),
            "`p0`",
        ),
    ],
)
def test_shapes_that_would_broadcast_are_named(wrong, argument):
    with pytest.raises(DgmjaxError, match=argument):
        wrong(noising.straight(), noising.DiscreteProcess(3))
