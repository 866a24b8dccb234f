"""Denoising models with an exact network: density, bound, samples and latents are known."""

import itertools
from dataclasses import replace
from functools import partial
from typing import get_args

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from optimal_denoiser import OptimalDenoiser
from scrambling import applied, scrambled, scrambled_start

from dgmjax import inference, models, nn, noising, objectives
from dgmjax.distributions import Mixture
from dgmjax.errors import DgmjaxError
from dgmjax.inference import Sampler, Solver
from dgmjax.noising import even_times

KEY = jax.random.key(0)
MEANS, DEVIATION = ((-1.0, -0.5), (1.0, 0.5), (0.0, 1.0)), 0.3
PROCESSES = {name: noising.process_of(name) for name in noising.PROCESSES}
VARIABLES = {"params": {"network": {"shift": jnp.zeros(())}}}


def truth():
    import distrax

    normal = distrax.Normal(jnp.array(MEANS), jnp.full((3, 2), DEVIATION))
    return Mixture(jnp.zeros(3), distrax.Independent(normal, 1))


DATA = truth().sample(seed=1, sample_shape=(256,))
EXACT = truth().log_prob(DATA)


def model(process=PROCESSES["straight"], kind="velocity", **options):
    network = OptimalDenoiser(MEANS, DEVIATION, process, kind)
    return models.Denoiser((2,), network, process, kind, **options)


def made(module, x, scale=1.0):
    return scrambled_start(module, KEY, x, scale=scale, method="log_prob")


def run(module, method, *arguments, **options):
    function = lambda *a: module.apply(VARIABLES, *a, method=method, **options)
    return jax.jit(function)(*arguments)


@pytest.mark.staggered
@pytest.mark.parametrize(
    "name, kind",
    [*((name, "velocity") for name in PROCESSES), *(("trigonometric", k) for k in noising.KINDS)],
)
def test_log_prob_along_the_ode_is_that_of_the_data(name, kind):
    found = run(model(PROCESSES[name], kind), "log_prob", DATA)
    # Processes end at a little signal, which the base does not see.
    np.testing.assert_allclose(found, EXACT, atol=0.04)
    assert abs(np.mean(found - EXACT)) < 2e-3


@pytest.mark.staggered
@pytest.mark.parametrize(
    "process, kind, reach",
    [
        ("straight", "velocity", 9.0),
        ("trigonometric", "velocity", 9.0),
        ("variance_exploding", "noise", 16.0),
    ],
)
def test_densities_of_any_network_sum_to_one_over_the_plane(process, kind, reach):
    options = {"variance_exploding": {"smallest": 0.6, "largest": 2.0}}.get(process, {})
    process = noising.process_of(process, **options)
    module = models.Denoiser((2,), nn.TimeMLP((8, 8)), process, kind, solver=Solver("rk4", 30))
    variables = made(module, DATA[:2], 0.5)
    line = jnp.linspace(-reach, reach, 141)
    grid = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    log_prob = jax.jit(lambda x: module.apply(variables, x, method="log_prob"))(grid)
    log_total = jax.nn.logsumexp(log_prob) + 2 * jnp.log(line[1] - line[0])
    assert abs(float(log_total)) < 0.02
    assert float(log_prob.max()) > -4.0  # the grid holds the density, and sees its peak


@pytest.mark.parametrize("name", PROCESSES)
def test_the_bound_of_continuous_time_is_tight_where_the_network_is_exact(name):
    x = jnp.repeat(DATA, 40, 0)
    for times in ("time", "log_snr"):
        terms = run(model(PROCESSES[name], "noise"), "bound_terms", x, KEY, times=times)
        gap = np.asarray(terms.total + jnp.repeat(EXACT, 40), np.float64)
        error = gap.std() / np.sqrt(gap.size)
        assert abs(gap.mean()) < 4 * error + 5e-3, (times, gap.mean(), error)
        assert error < 0.2


def test_fewer_steps_loosen_the_bound_and_the_control_variate_only_its_noise():
    x = jnp.repeat(DATA, 40, 0)
    draw = partial(run, model(kind="noise"), "bound_terms", x, KEY)
    means = [float(draw(num_steps=n).total.mean()) for n in (8, 64)]
    assert means[0] > means[1] + 0.2 > -float(EXACT.mean()) + 0.1
    with_it, without = draw(times="log_snr"), draw(times="log_snr", control_variate=False)
    spread = lambda terms: float(terms.total.std())
    assert spread(with_it) < 0.5 * spread(without)
    error = spread(without) / np.sqrt(len(x))
    assert abs(float((with_it.total - without.total).mean())) < 4 * error


def test_times_of_a_batch_are_spread_evenly():
    u = np.sort(even_times(KEY, (2, 5)).ravel())
    np.testing.assert_allclose(np.diff(u), 0.1, atol=1e-6)
    assert even_times(KEY, (0,)).shape == (0,)


@pytest.mark.staggered
@pytest.mark.parametrize("name", sorted(set(inference.SAMPLERS) - {"consistency"}))
@pytest.mark.parametrize("process", ["straight", "variance_preserving"])
def test_every_sampler_draws_from_the_data(name, process):
    steps = 200 if inference.SAMPLERS[name].calls == 1 else 60
    module = model(PROCESSES[process], sampler=Sampler(name, steps))
    x = np.asarray(run(module, "sample", KEY, sample_shape=(4000,)))
    np.testing.assert_allclose(x.mean(0), np.mean(MEANS, 0), atol=0.07)
    expected = np.cov(np.array(MEANS).T, bias=True) + DEVIATION**2 * np.eye(2)
    np.testing.assert_allclose(np.cov(x.T), expected, atol=0.07)
    # The mean log-density is minus the entropy only where the shape is right, too.
    spread = np.asarray(EXACT).std() * (1 / 256 + 1 / 4000) ** 0.5
    assert abs(float(truth().log_prob(x).mean() - EXACT.mean())) < 4 * spread


class Half(nn.TimeMLP):
    """Half of the noise is taken for data."""

    def __call__(self, x, t, context=None):
        return 0.5 * x


@pytest.mark.staggered
@pytest.mark.parametrize("name", sorted(set(inference.SAMPLERS) - {"consistency"}))
def test_samplers_recover_from_errors_within_the_range_of_the_data(name):
    process = noising.variance_preserving(noising.SCHEDULES["cosine"]())
    wrong = models.Denoiser((2,), Half((2,)), process, "noise", sampler=Sampler(name, 30))
    draw = lambda module: jax.jit(partial(module.apply, {}, sample_shape=(50,), method="sample"))
    lost, found = draw(wrong)(KEY), draw(wrong.clone(data_range=(-1.0, 1.0)))(KEY)
    follows = name not in ("ancestral", "predictor_corrector")
    assert jnp.abs(found).max() < 1.3 and (not follows or jnp.abs(lost).max() > 5.0)
    # Expectations within the range are left as they are.
    right = model(sampler=Sampler(name, 30))
    free, clipped = (
        run(m, "sample", KEY, sample_shape=(50,))
        for m in (right, right.clone(data_range=(-9.0, 9.0)))
    )
    np.testing.assert_allclose(free, clipped, atol=1e-4)


def test_steps_of_the_edm_and_fewer_of_them():
    assert model(sampler=Sampler("heun", 18)).num_calls() == 36
    process = noising.variance_exploding(0.01, 20.0)
    x = run(
        model(process, "noise", sampler=Sampler("heun", 18, "edm")),
        "sample",
        KEY,
        sample_shape=(2000,),
    )
    np.testing.assert_allclose(x.mean(0), np.mean(MEANS, 0), atol=0.07)
    times = Sampler("heun", 5, "edm").times(process, process.span)
    scale = process.coefficients(times)[1]
    expected = (20 ** (1 / 7) + np.linspace(0, 1, 6) * (0.01 ** (1 / 7) - 20 ** (1 / 7))) ** 7
    np.testing.assert_allclose(scale, expected, rtol=1e-2)


def test_steps_equal_in_log_snr_follow_sharp_densities_on_the_linear_schedule():
    """Data near a few points, as whole numbers are: all is decided in the first hundredths."""
    process = noising.variance_preserving()
    process = replace(process, span=(1e-5, 0.999), bounded_span=(1e-5, 0.999))
    narrow = OptimalDenoiser(MEANS, 0.003, process, "noise")
    data = jnp.array(MEANS) + 0.003 * jax.random.normal(KEY, (50, 3, 2))
    expected = -0.5 * np.sum(((data - jnp.array(MEANS)) / 0.003) ** 2, -1)
    expected -= np.log(2 * np.pi * 0.003**2) + np.log(3.0)
    errors = {}
    for spacing in ("time", "auto"):
        solver = Solver("heun", 100, spacing=spacing)
        module = models.Denoiser((2,), narrow, process, "noise", solver=solver)
        errors[spacing] = abs(np.mean(run(module, "log_prob", data) - expected))
    assert errors["auto"] < 0.02 and errors["time"] > 1.0


@pytest.mark.parametrize("start, end", [(0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("spacing", get_args(noising.Spacing))
def test_steps_divide_what_they_say(spacing, start, end):
    process = noising.variance_exploding(0.01, 20.0)
    times = process.steps(start, end, 8, spacing)
    assert (times[0], times[-1]) == (start, end)
    log_snr = np.asarray(process.log_snr(times), np.float64)
    divided = {"time": times, "log_snr": log_snr, "edm": np.exp(-log_snr / 14.0)}[spacing]
    steps = np.diff(np.asarray(divided))
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.02)


def test_noise_and_data_are_carried_into_each_other():
    module = model(sampler=Sampler("rk4", 40), solver=Solver("rk4", 40))
    flowed = run(module, "to_noise", DATA, KEY)
    back = run(module, "to_data", KEY, flowed.x)
    np.testing.assert_allclose(back, DATA, atol=2e-4)
    assert flowed.standard_error is None


@pytest.mark.parametrize("sampler", ["ancestral", "heun"])
def test_noise_of_half_precision_is_carried_in_single(sampler):
    """0.999 is 1 in bfloat16, where nothing is left of the data."""
    module = model(kind="noise", sampler=Sampler(sampler, 4))
    noise = jax.random.normal(KEY, (5, *DATA.shape[1:])).astype(jnp.bfloat16)
    found = run(module, "to_data", KEY, noise)
    np.testing.assert_array_equal(found, run(module, "to_data", KEY, noise.astype(jnp.float32)))
    assert np.isfinite(found).all()


@pytest.mark.staggered
@pytest.mark.parametrize("name", inference.SAMPLERS)
def test_the_network_is_called_as_often_as_records_say(name):
    called = []

    class Counting(nn.TimeMLP):
        def __call__(self, x, t, context=None):
            jax.debug.callback(lambda: called.append(1))
            return super().__call__(x, t, context)

    module = models.Denoiser(
        (2,), Counting((2,), num_classes=2), num_classes=2, sampler=Sampler(name, 3)
    )
    variables = made(module, DATA[:2])
    for guidance in (1.0, 2.0):
        called.clear()
        guided = module.clone(guidance=guidance)
        draw = partial(guided.apply, variables, sample_shape=(2,), method="sample")
        jax.block_until_ready(jax.jit(draw)(KEY))
        jax.effects_barrier()
        assert len(called) == guided.num_calls()


def test_temperature_is_the_scale_of_all_noise():
    for name in ("ancestral", "heun"):
        module = model(sampler=Sampler(name, 20))
        cold = run(module, "sample", KEY, sample_shape=(5,), temperature=0.0)
        np.testing.assert_allclose(cold - cold[:1], 0.0, atol=1e-5)


def test_the_flow_is_that_of_scipy_and_so_is_its_log_determinant():
    def field(x, t):
        return jnp.stack([jnp.sin(x[..., 1] + t), x[..., 0] * x[..., 1] - t * x[..., 1]], -1)

    x = jnp.array([[0.3, -0.4], [1.0, 0.2]])
    times = inference.steps_between(0.0, 1.0, 60)

    def with_trace(t, state):
        value = np.asarray(field(jnp.array(state[:2]), t))
        jacobian = np.asarray(jax.jacfwd(field)(jnp.array(state[:2]), t))
        return np.append(value, np.trace(jacobian))

    exact = [
        scipy.integrate.solve_ivp(with_trace, (0, 1), np.append(row, 0.0), rtol=1e-6, atol=1e-7)
        for row in np.asarray(x)
    ]
    ends = np.stack([solved.y[:, -1] for solved in exact])
    for method, tableau in inference.TABLEAUS.items():
        flowed = jax.jit(partial(inference.flow_and_log_det, field, method=method))(x, times)
        tolerance = 3 * (1 / 60) ** tableau.order + 3e-6
        np.testing.assert_allclose(flowed.x, ends[:, :2], atol=tolerance)
        np.testing.assert_allclose(flowed.log_det, ends[:, 2], atol=tolerance)
    jacobians = jax.vmap(jax.jacfwd(lambda x: inference.integrate(field, x, times, "rk4")))(x)
    np.testing.assert_allclose(flowed.log_det, np.linalg.slogdet(jacobians)[1], atol=1e-5)


def test_a_state_of_whole_numbers_moves():
    ends = inference.integrate(lambda x, t: -x, jnp.array([1, 2]), np.linspace(0, 1, 11), "rk4")
    np.testing.assert_allclose(ends, np.array([1.0, 2.0]) * np.exp(-1.0), atol=1e-5)


def test_methods_converge_at_their_order():
    def error(method, steps):
        x = inference.integrate(
            lambda x, t: x * jnp.cos(t), jnp.ones(()), inference.steps_between(0, 2, steps), method
        )
        return abs(float(x) - np.exp(np.sin(2.0)))

    with jax.enable_x64(True):
        for method, tableau in inference.TABLEAUS.items():
            ratio = error(method, 20) / error(method, 40)
            assert 2 ** (tableau.order - 0.4) < ratio < 2 ** (tableau.order + 0.5), method


def test_random_probes_have_no_bias_and_know_their_error():
    module, solver = model(), Solver("rk4", 16, probes=64)
    found, error = run(module, "log_prob_and_error", DATA, KEY, solver=solver)
    exact, none = run(module, "log_prob_and_error", DATA, KEY, solver=Solver("rk4", 16))
    assert none is None and error.shape == (256,)
    standardised = np.asarray((found - exact) / np.maximum(error, 1e-3))
    assert abs(standardised.mean()) < 4 / 16 and 0.7 < standardised.std() < 1.3


def test_classes_guide_linearly_in_the_prediction():
    network = nn.TimeMLP((8,), num_classes=3)
    module = models.Denoiser((2,), network, num_classes=3)
    x, t, label = DATA[:4], jnp.full(4, 0.4), jnp.array([0, 2, 1, -1])
    variables = made(module, x)

    @partial(jax.jit, static_argnames="guidance")
    def predict(x, t, label=None, guidance=1.0):
        return module.apply(variables, x, t, label, guidance=guidance, method="predict")

    given, none = predict(x, t, label), predict(x, t)
    np.testing.assert_allclose(
        predict(x, t, label, guidance=3.0), none + 3 * (given - none), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(given[3], none[3], rtol=1e-5)
    assert float(jnp.abs(given - none)[:3].min()) > 1e-4
    draw = lambda *a, **o: jax.eval_shape(
        lambda: module.apply(variables, KEY, *a, **o, method="sample")
    )
    assert draw((3,), label).shape == (3, 4, 2) and draw((5,), guidance=2.0).shape == (5, 2)
    assert module.clone(guidance=2.0, sampler=Sampler("ddim", 7)).num_calls() == 14


def test_a_denoiser_is_the_prior_of_a_latent_variable_model():
    prior = models.Denoiser((2,), nn.TimeMLP((8,)), solver=Solver("rk4", 2))
    vae = models.DenseVAE((4,), 2, (8,), prior_model=prior)
    batch = {"x": jnp.ones((3, 4))}
    shapes = jax.eval_shape(lambda: vae.init(KEY, batch, KEY, method=objectives.elbo))
    variables = scrambled(jax.tree.map(lambda a: jnp.zeros(a.shape), shapes), scale=0.3)
    loss = lambda v: vae.apply(v, batch, KEY, method=objectives.elbo)[0].sum()
    grads = jax.jit(jax.grad(loss))(variables)["params"]["prior_model"]
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in jax.tree.leaves(grads))
    p = jax.jit(lambda v: vae.apply(v, method="prior"))(variables)
    z = p.sample(seed=0, sample_shape=(5,))
    inner = {"params": variables["params"]["prior_model"]}
    expected = jax.jit(partial(prior.apply, inner, method="log_prob"))(z)
    np.testing.assert_allclose(jax.jit(lambda p, z: p.log_prob(z))(p, z), expected, rtol=1e-5)
    drawn = jax.eval_shape(lambda: vae.apply(variables, KEY, (5,), method="sample"))
    assert drawn.shape == (5, 4)


LEVELS = 4


def levels_model():
    """Points of a 4x4 grid, smoothed: its density is smooth, and P(k) an integral of it."""
    process = noising.variance_preserving(noising.LinearLogSNR(3.0, -10.0))
    return models.DiffusedLevels(model(process, "noise", solver=Solver("rk4", 20)), LEVELS)


def test_levels_have_probabilities_that_both_bounds_are_below():
    module = levels_model()
    variables = {"params": {"density": VARIABLES["params"]}}
    run = lambda method, *a, **o: jax.jit(
        lambda *a: module.apply(variables, *a, **o, method=method)
    )(*a)
    k = jnp.array(list(itertools.product(range(LEVELS), repeat=2)), jnp.float32)
    line = jnp.linspace(-3.5, 3.5, 101)
    z = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    likelihood = run("log_likelihood", k[:, None], z)
    joint = run("log_joint", k[0], z) - likelihood[0] + likelihood
    log_p = jax.nn.logsumexp(joint, 1) + 2 * np.log(float(line[1] - line[0]))
    assert abs(float(jnp.exp(log_p).sum()) - 1.0) < 0.01
    many = jnp.tile(k, (300, 1))  # so that each k gets times of the whole span
    terms = run("bound_terms", many, KEY)
    bound = -np.asarray(terms.total).reshape(300, 16).T
    one = objectives.iwae
    ode = -run(lambda m, b, key: one(m, b, key, num_samples=1)[0], {"x": many}, KEY)
    ode = np.asarray(ode).reshape(300, 16).T
    tight = -run(lambda m, b, key: one(m, b, key, num_samples=500)[0], {"x": k}, KEY)
    error = lambda values: 4 * values.std(1) / np.sqrt(300)
    assert (bound.mean(1) < log_p + error(bound)).all()
    assert (ode.mean(1) < log_p + error(ode)).all()
    # Both bound log P by the same latent; denoising is exact here, and loses nothing more.
    np.testing.assert_array_less(
        np.abs(bound.mean(1) - ode.mean(1)), error(bound) + error(ode) + 0.02
    )
    np.testing.assert_allclose(tight, log_p, atol=0.15)
    drawn = run("sample", KEY, sample_shape=(500,))
    counts = [(drawn == row).all(1).mean() for row in k]
    np.testing.assert_allclose(counts, np.exp(log_p), atol=4 * 0.5 / np.sqrt(500))


def test_a_learnt_schedule_falls_and_its_bound_has_gradients():
    schedule = nn.LogSNR(6.0, -6.0, hidden=8)
    variables = jax.jit(schedule.init)(KEY, jnp.zeros(3))
    t = jnp.linspace(0.0, 1.0, 9)
    found = jax.jit(schedule.apply)(scrambled(variables), t)
    ends = scrambled(variables)["params"]["ends"]
    np.testing.assert_allclose(found[jnp.array([0, -1])], ends, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(schedule.apply)(variables, t), 6.0 - 12.0 * t, atol=0.2)
    module = models.Denoiser((2,), nn.TimeMLP((8,)), schedule, "noise")
    x = DATA[:8]
    variables = jax.jit(partial(module.init, method="log_prob"))(KEY, x)
    bound = lambda v: -module.apply(v, x, KEY, control_variate=False, method="bound").sum()
    grads = jax.jit(jax.grad(bound))(variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert set(grads["params"]) == {"network", "process"}
    assert grads["params"]["process"]["ends"].any() and grads["params"]["process"]["heights"].any()


BASE = models.StandardNormal((3,))


@pytest.mark.parametrize(
    "wrong, argument",
    [
        (lambda: run(model(), "log_prob", jnp.zeros((4, 3))), "x"),
        (lambda: run(model(base=BASE), "log_prob", DATA), "base"),
        (lambda: run(model(base=models.StandardNormal((2,))), "bound", DATA, KEY), "base"),
        (lambda: model().apply(VARIABLES, DATA, 1.5, method="predict"), "t"),
        (lambda: run(model(), "predict", DATA, 0.5, jnp.zeros(256, int)), "context"),
        (lambda: run(model(), "predict", DATA, 0.5, kind="drift"), "kind"),
        (lambda: run(model(), "predict", DATA, 0.5, guidance=2.0), "guidance"),
        (lambda: run(model(), "sample", KEY, guidance=3.0), "guidance"),
        (lambda: run(model(guidance=2.0), "log_prob", DATA), "guidance"),
        (lambda: run(model(kind="drift"), "log_prob", DATA), "kind"),
        (lambda: run(model(data_range=(1.0, -1.0)), "sample", KEY), "data_range"),
        (lambda: Sampler("heun", 0), "num_steps"),
        (lambda: Sampler("adaptive"), "name"),
        (lambda: Sampler(spacing="log"), "spacing"),
        (lambda: Solver("rk4", 0), "num_steps"),
        (lambda: Solver("rk4", 4, probes=0), "probes"),
        (lambda: Solver("dopri5"), "method"),
        (lambda: Solver(spacing="equal"), "spacing"),
        (lambda: run(model(network_time="snr"), "log_prob", DATA), "network_time"),
        (lambda: run(model(), "bound", DATA, KEY, num_steps=0), "num_steps"),
        (lambda: run(model(), "bound", DATA, KEY, times="snr"), "times"),
        (lambda: run(model(), "sample", KEY, temperature=-1.0), "temperature"),
        (lambda: inference.integrate(lambda x, t: x, jnp.ones(2), jnp.zeros(1)), "times"),
        (lambda: inference.Divergence(2).directions(DATA, 1), "key"),
        (
            lambda: run(model(preconditioning=noising.preconditioning_of("edm")), "log_prob", DATA),
            "predicts",
        ),
        (
            lambda: models.DiffusedLevels(model(), 1).apply(VARIABLES, KEY, method="sample"),
            "levels",
        ),
    ],
)
def test_bad_input_is_named(wrong, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}` must "):
        wrong()


def test_a_network_is_told_the_time_or_the_signal_that_is_lost():
    class Told(flax.linen.Module):
        def __call__(self, x, t, context=None):
            return jnp.broadcast_to(t, x.shape)

    process, t = noising.variance_preserving(), jnp.array([0.0, 1e-4, 0.01, 0.5, 0.999, 1.0])
    told = lambda way: np.asarray(
        models.Denoiser((), Told(), process, "noise", network_time=way).apply(
            {}, jnp.zeros(6), t, method="predict"
        )
    )
    np.testing.assert_array_equal(told("time"), t)
    inside = np.clip(np.asarray(t, np.float64), *process.bounded_span)
    squared = np.exp(-0.1 * inside - 9.95 * inside**2)
    log_snr = np.log(squared) - np.log1p(-squared)
    expected = (log_snr[0] - log_snr) / (log_snr[0] - log_snr[-1])
    np.testing.assert_allclose(told("log_snr"), expected, atol=1e-4)


def test_many_dimensions_have_probes_by_default():
    module = models.Denoiser((100,), nn.TimeMLP((4,)), solver=Solver("euler", 2))
    x = jnp.zeros((3, 100))
    variables = made(module, x, 0.1)
    both = lambda x: module.apply(variables, x, KEY, method="log_prob_and_error")
    value, error = jax.jit(both)(x)
    assert value.shape == error.shape == (3,) and np.isfinite(value).all()
    assert (np.asarray(error) > 0).all()


def test_preconditioning_leaves_the_prediction_that_of_the_data():
    edm = noising.preconditioning_of("edm", 0.7)
    process = noising.variance_exploding(0.01, 20.0)
    module = models.Denoiser((2,), nn.TimeMLP((8,)), process, "data", edm)
    variables = made(module, DATA)
    t = jnp.full(256, 0.6)
    scale = process.coefficients(t)[1][:, None]
    network = {"params": variables["params"]["network"]}
    raw = applied(
        nn.TimeMLP((8,)), network, DATA / jnp.sqrt(scale**2 + 0.49), jnp.log(scale[:, 0]) / 4
    )
    total = scale**2 + 0.49
    expected = 0.49 / total * DATA + scale * 0.7 / jnp.sqrt(total) * raw
    found = applied(module, variables, DATA, t, kind="data", method="predict")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


class Narrow(flax.linen.Module):
    """One number for each point, whatever its dimension."""

    @flax.linen.compact
    def __call__(self, x, t, context=None):
        return flax.linen.Dense(1)(x)


def test_a_network_of_another_shape_is_named():
    for module in (models.Denoiser((2,), Narrow()), models.Denoiser((2,), nn.TimeMLP((4,)))):
        given = () if isinstance(module.network, Narrow) else (jnp.array([0, 1]),)
        module = module.clone(num_classes=3 if given else 0)
        with pytest.raises(DgmjaxError, match="num_classes" if given else "`network` must return"):
            module.init(KEY, DATA[:2], *given, method="log_prob")


def test_predictions_at_whole_numbers_are_those_at_their_values():
    module = models.Denoiser((2,), nn.TimeMLP((4,)))
    variables = scrambled_start(module, KEY, DATA[:4], method="log_prob")
    whole = jnp.array([[0, 3], [2, 1]], jnp.uint8)
    for kind in noising.KINDS:
        of = lambda x, kind=kind: module.apply(variables, x, 0.5, kind=kind, method="predict")
        np.testing.assert_allclose(of(whole), of(whole.astype(jnp.float32)), rtol=1e-5)
    parts = lambda x: module.apply(variables, x, 0.5, method="parts")
    for found, expected in zip(parts(whole), parts(whole.astype(jnp.float32)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("label", [7, -2])
def test_samples_of_a_class_that_does_not_exist_are_refused(label):
    module = models.Denoiser((2,), nn.TimeMLP((4,), num_classes=3), num_classes=3)
    variables = scrambled_start(module, KEY, DATA[:2], jnp.array([0, 1]), method="log_prob")
    with pytest.raises(DgmjaxError, match="`context` must hold"):
        module.apply(variables, KEY, (3,), jnp.array([label]), method="sample")


def test_flows_of_half_precision_have_a_determinant():
    times = inference.steps_between(0.0, 1.0, 20)
    flowed = inference.flow_and_log_det(lambda x, t: -x, jnp.ones((3, 2), jnp.bfloat16), times)
    np.testing.assert_allclose(flowed.log_det, -2.0, atol=1e-3)


def test_single_precision_stays_where_double_is_enabled():
    """Times in float64 widened what the network read and left derivatives of another type."""
    with jax.enable_x64(True):
        x = jnp.ones((3, 2), jnp.float32)
        process = noising.variance_preserving()
        noise = models.Denoiser((2,), nn.TimeMLP((4,)), process, "noise", solver=Solver("euler", 2))
        variables = scrambled_start(noise, KEY, x, method="log_prob")
        found = noise.apply(variables, x, method="log_prob")
        assert found.dtype == jnp.float32 and bool(jnp.isfinite(found).all())
        flow = models.MeanFlow((2,), nn.TimeMLP((4,)))
        variables = scrambled(flow.init(KEY, KEY, (3,), method="sample"))
        loss, _ = flow.apply(variables, {"x": x}, KEY, method=objectives.mean_flow)
        assert loss.dtype == jnp.float32 and bool(jnp.isfinite(loss).all())


class _FirstChannels(nn.TimeMLP):
    def __call__(self, x, t, context=None):
        return super().__call__(x, t, context)[..., :-1]


def test_average_velocities_of_another_shape_are_named():
    flow = models.MeanFlow((2,), _FirstChannels((4,)))
    with pytest.raises(DgmjaxError, match="the length's channel among it"):
        flow.init(KEY, KEY, (3,), method="sample")
