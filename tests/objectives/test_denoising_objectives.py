"""Objectives of models with a time axis: minima, and values that are known in closed form."""

from functools import partial

import distrax
import flax.linen as fnn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimal_denoiser import OptimalDenoiser
from scrambling import applied, compiled_start, scrambled, scrambled_start

from dgmjax import inference, models, nn, noising, objectives, training
from dgmjax.errors import DataError, DgmjaxError

KEY = jax.random.key(0)
MEANS, DEVIATION = ((-1.0, -0.5), (1.0, 0.5), (0.0, 1.0)), 0.3
COMPONENT = jax.random.randint(jax.random.key(2), (4000,), 0, 3)
DATA = jnp.array(MEANS)[COMPONENT] + DEVIATION * jax.random.normal(jax.random.key(1), (4000, 2))


def optimal(process, kind="velocity", **options):
    return models.Denoiser(
        (2,), OptimalDenoiser(MEANS, DEVIATION, process, kind), process, kind, **options
    )


def at_shift(module, objective, shift, batch, key):
    params = {"params": {"network": {"shift": shift}}}
    return jax.jit(lambda p: module.apply(p, batch, key, method=objective)[0])(params)


ROWS = [
    *((name, "velocity", {}) for name in noising.PROCESSES),
    *(("straight", "velocity", {"coupling": c}) for c in ("sinkhorn",)),
    # Data from noise are divided by the signal: at times near 1 the error has heavy tails.
    *(("trigonometric", "noise", {"of": kind, "times": "logit_normal"}) for kind in noising.KINDS),
    ("variance_preserving", "noise", {"of": "score", "weight": "variance"}),
    *(("variance_preserving", "noise", {"weight": w}) for w in ("likelihood", "min_snr")),
    *(("straight", "velocity", {"times": times}) for times in objectives.TIMES),
]


@pytest.mark.staggered
@pytest.mark.parametrize("name, kind, options", ROWS)
def test_the_exact_network_is_the_minimum_of_every_row(name, kind, options):
    module = optimal(noising.process_of(name), kind)
    objective = partial(objectives.denoising, **options)
    if "coupling" in options:  # pairs of a small batch: the minimum of independent ones is biased
        loss = at_shift(module, objective, jnp.zeros(()), {"x": DATA[:256]}, KEY)
        apart = at_shift(module, objectives.denoising, jnp.zeros(()), {"x": DATA[:256]}, KEY)
        assert loss.mean() < 0.9 * apart.mean()
        return
    slope = jax.jit(jax.jacfwd(partial(at_shift, module, objective)))
    slopes = np.asarray(slope(jnp.zeros(()), {"x": DATA}, KEY), np.float64)
    error = slopes.std() / np.sqrt(len(slopes))
    assert abs(slopes.mean()) < 4 * error and error > 0
    away = np.asarray(slope(jnp.array(0.5), {"x": DATA}, KEY), np.float64)
    assert abs(away.mean()) > 4 * away.std() / np.sqrt(len(away))


def test_the_preconditioned_loss_is_that_of_the_network():
    edm = noising.preconditioning_of("edm", 1.0)
    process = noising.variance_exploding(0.01, 20.0)
    module = models.Denoiser((2,), nn.TimeMLP((8,), zero_output=True), process, "data", edm)
    objective = partial(objectives.denoising, weight="edm", times="edm")
    variables = compiled_start(module, KEY, {"x": DATA}, KEY, method=objective)
    loss, _ = applied(module, variables, {"x": DATA}, KEY, method=objective)
    # A network of zero misses a target of the variance of the data, about 1.
    assert abs(float(loss.mean()) - 1.0) < 0.35


def test_a_base_of_its_own_is_what_noise_is_drawn_from():
    class Far(models.DensityModel):
        @fnn.compact
        def __call__(self, context=None):
            return distrax.Independent(distrax.Normal(jnp.full(2, 50.0), jnp.ones(2)), 1)

    module = models.Denoiser((2,), nn.TimeMLP((4,), zero_output=True), base=Far())
    batch = {"x": DATA[:50]}
    variables = compiled_start(module, KEY, batch, KEY, method=objectives.flow_matching)
    loss, _ = applied(module, variables, batch, KEY, method=objectives.flow_matching)
    np.testing.assert_allclose(loss.mean(), 2500.0, rtol=0.05)
    # Without a velocity f(x_t, t) = x_t, which moves by 1/8 of the way from the data to the base.
    few = partial(objectives.consistency, num_steps=8)
    _, metrics = applied(module, variables, batch, KEY, method=few)
    np.testing.assert_allclose(metrics["difference"].mean(), 5000**0.5 / 8, rtol=0.05)
    # The teacher leaves its base where it is, and the student has the slope -x / (2 - t).
    student = models.Denoiser((2,), Straightened(2.0))
    objective = partial(objectives.reflow, teacher=module.bind(variables))
    assert 600.0 < float(at_shift(student, objective, jnp.zeros(()), batch, KEY).mean()) < 2700.0


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_paths_lead_to_where_samples_begin(scale):
    """Noise that counts `scale` times at the end led `scale` times as far as the base."""

    class Far(models.DensityModel):
        @fnn.compact
        def __call__(self, context=None):
            return distrax.Independent(distrax.Normal(jnp.full(2, 50.0), jnp.ones(2)), 1)

    process = noising.variance_exploding(0.01 * scale, scale)
    module = models.Denoiser((2,), nn.TimeMLP((4,), zero_output=True), process, base=Far())
    batch = {"x": jnp.zeros((200, 2))}
    variables = compiled_start(module, KEY, batch, KEY, method=objectives.flow_matching)
    # With data at 0, velocities are those of the noise, s' eps, with s = scale 100^(t - 1).
    loss, _ = applied(module, variables, batch, KEY, method=objectives.flow_matching)
    rate = np.log(100.0)
    expected = 50.0**2 * rate * (1.0 - 1e-4) / 2.0  # E[(s' / scale)^2] 50^2
    np.testing.assert_allclose(loss.mean(), expected, rtol=0.05)


def test_the_bound_is_the_sum_of_its_terms_in_the_units_of_the_raw_data():
    module = optimal(noising.straight())
    variables = {"params": {"network": {"shift": jnp.zeros(())}}}
    batch = {"x": DATA[:64], "log_det": jnp.full(64, 3.0)}
    apply = lambda objective, batch=batch: jax.jit(partial(module.apply, method=objective))(
        variables, batch, KEY
    )
    run = lambda **o: apply(partial(objectives.diffusion_bound, **o))
    loss, terms = run(num_samples=3)
    total = terms["prior"] + terms["diffusion"] + terms["reconstruction"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    plain, _ = apply(objectives.diffusion_bound, {"x": DATA[:64]})
    loss, terms = run()
    np.testing.assert_allclose(loss, plain - 3.0, rtol=1e-4, atol=1e-4)
    square, _ = apply(objectives.diffusion_bound_variance)
    np.testing.assert_allclose(square, terms["diffusion"] ** 2 / 4, rtol=1e-4)


class Normal(fnn.Module):
    """N(mean, variance I) with a normaliser of its own: an energy model whose truth is known."""

    mean: float
    variance: float
    log_normaliser: float = 0.0

    def energy(self, x):
        return ((x - self.mean) ** 2).sum(-1) / (2 * self.variance)

    def score(self, x):
        return -(x - self.mean) / self.variance

    def log_unnormalised(self, x):
        return -self.energy(x) - self.log_normaliser


def fisher(mean, variance, true_mean, true_variance):
    """E|s - s*|^2 of two isotropic normals in the plane."""
    slope = 1 / true_variance - 1 / variance
    offset = (true_mean - mean) / variance
    return 2 * (slope**2 * true_variance + offset**2)


NORMAL = 0.4 + 0.8 * jax.random.normal(jax.random.key(5), (100_000, 2))


@pytest.mark.parametrize(
    "objective, smoothing, factor",
    [
        (objectives.implicit_score_matching, 0.0, 0.5),
        (partial(objectives.sliced_score_matching, projections=2), 0.0, 0.5),
        (partial(objectives.denoising_score_matching, scale=0.3), 0.3, 0.09),
    ],
)
def test_score_matching_measures_the_error_of_the_score(objective, smoothing, factor):
    true = (0.4, 0.8**2 + smoothing**2)
    loss = jax.jit(lambda *p: objective(Normal(*p), {"x": NORMAL}, KEY)[0].mean())
    for model in ((0.0, 1.0), (0.5, 0.5), (0.4, 2.0)):
        found = loss(*model) - loss(*true)
        np.testing.assert_allclose(found, factor * fisher(*model, *true), rtol=0.03, atol=3e-3)


def test_noise_contrast_finds_the_density_with_its_normaliser():
    noise = lambda: distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.full(2, 1.5))
    log_z = float(np.log(2 * np.pi * 0.64))
    objective = partial(objectives.noise_contrastive_estimation, noise=noise, ratio=4)

    def loss(parameters):
        return objective(Normal(*parameters), {"x": NORMAL}, KEY)[0].mean()

    slopes = jax.jit(jax.grad(loss))
    np.testing.assert_allclose(slopes((0.4, 0.64, log_z)), 0.0, atol=0.02)
    assert abs(slopes((0.4, 0.64, log_z + 0.5))[2]) > 0.05
    _, metrics = objective(Normal(0.4, 0.64, log_z), {"x": NORMAL[:8]}, KEY)
    assert metrics["accuracy"].shape == (8,)


class Columns(Normal):
    """Keeps the axis that a log-density has summed over."""

    def log_unnormalised(self, x):
        return super().log_unnormalised(x)[..., None]


@pytest.mark.parametrize("model, noise", [(Columns, 2), (Normal, 1)])
def test_noise_contrast_of_another_shape_is_named(model, noise):
    noise = distrax.MultivariateNormalDiag(jnp.zeros(noise), jnp.ones(noise))
    with pytest.raises(DgmjaxError, match=r"log-density of each example|must have events"):
        objectives.noise_contrastive_estimation(
            model(0.4, 0.64, 0.0), {"x": NORMAL[:8]}, KEY, noise=lambda: noise
        )


def energy_model(**options):
    return models.EnergyModel((2,), nn.MLP((16,), (1,), jnp.tanh), **options)


def test_the_normaliser_of_an_energy_model_by_grid_and_by_annealing():
    model = energy_model(scale=1.5)
    variables = compiled_start(model, KEY, DATA[:4], method="log_prob")
    flat = jax.tree.map(jnp.zeros_like, variables)
    exact = np.log(2 * np.pi * 1.5**2)
    log_z = lambda v: float(model.apply(v, method="log_partition"))
    assert abs(log_z(flat) - exact) < 1e-4
    variables = scrambled(variables)
    found = applied(
        model,
        variables,
        method=lambda m: inference.log_partition(
            m.annealing(5),
            KEY,
            inference.linear_temperatures(60),
            num_chains=400,
            given=jnp.full(60, 0.4),
        ),
    )
    assert abs(float(found.log_z) - log_z(variables)) < 4 * float(found.standard_error) + 1e-3
    assert float(found.standard_error) < 0.05
    total = applied(model, variables, DATA[:4], method="log_prob") + applied(
        model, variables, DATA[:4], method="energy"
    )
    np.testing.assert_allclose(total, -log_z(variables), rtol=1e-5)


class Well(fnn.Module):
    """The energy of N(loc, deviation^2 I) less the square of the base."""

    loc: float
    deviation: float
    scale: float = 2.0

    @fnn.compact
    def __call__(self, x):
        energy = ((x - self.loc) ** 2).sum(-1, keepdims=True) / (2 * self.deviation**2)
        return energy - (x**2).sum(-1, keepdims=True) / (2 * self.scale**2)


@pytest.mark.parametrize("size", [1, 2])
def test_a_density_that_the_grid_does_not_hold_has_no_normaliser(size):
    def found(loc, deviation, **options):
        model = models.EnergyModel((size,), Well(loc, deviation), **options)
        variables = model.init(KEY, jnp.zeros((1, size)), method="log_prob")
        return float(model.apply(variables, method="log_partition"))

    exact = lambda deviation: size * np.log(deviation * np.sqrt(2 * np.pi))
    assert found(0.07, 0.15) == pytest.approx(exact(0.15), abs=1e-3)
    for deviation in (0.02, 0.05):  # the step is 0.12
        assert np.isnan(found(0.07, deviation))
    assert found(0.07, 0.05, points=801) == pytest.approx(exact(0.05), abs=1e-3)
    assert np.isnan(found(12.0, 0.15))  # half of it is beyond the edge
    with pytest.raises(DgmjaxError, match="points"):
        found(0.0, 1.0, points=200)


def test_the_score_and_the_chains_of_an_energy_model_are_those_of_its_density():
    model = energy_model(scale=1.0, sampling_steps=60, step_size=0.5, num_chains=8)
    made = compiled_start(model, KEY, DATA[:4], method="log_prob")
    variables = {**made, "params": scrambled(made["params"])}
    score = applied(model, variables, DATA[:4], method="score")
    log_prob = jax.jit(lambda x: model.apply(variables, x, method="log_prob"))
    slopes = jax.jit(jax.vmap(jax.grad(log_prob)))(DATA[:4])
    np.testing.assert_allclose(score, slopes, rtol=1e-3, atol=1e-4)
    line = jnp.linspace(-6.0, 6.0, 121)
    grid = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    p = np.exp(log_prob(grid)) * 0.01
    assert abs(p.sum() - 1) < 1e-3
    x = jax.jit(lambda key: model.apply(variables, key, (4000,), method="sample"))(KEY)
    mean = (p[:, None] * grid).sum(0)
    spread = np.sqrt((p[:, None] * (grid - mean) ** 2).sum(0))
    np.testing.assert_allclose(x.mean(0), mean, atol=4 * spread.max() / np.sqrt(4000) + 0.02)
    objective = partial(objectives.contrastive_divergence, persistent=True)
    _, moved = applied(model, variables, {"x": DATA[:4]}, KEY, method=objective, mutable=["state"])
    assert float(jnp.abs(moved["state"]["chains"] - variables["state"]["chains"]).max()) > 0


def test_chains_of_a_deterministic_run_are_those_of_one_shard():
    """The mean of eight shards' chains, each with noise of its own, would have half the spread."""
    model = energy_model(scale=1.0, step_size=0.7, num_chains=64)
    still = training.Player(
        partial(objectives.contrastive_divergence, persistent=True), optax.sgd(0.0)
    )
    learner = training.gradient_learner(model, {"model": still})
    arrays = {"x": np.zeros((64, 2), np.float32)}
    execution = training.Execution(deterministic=True, quiet=True)
    options = {"key": KEY, "steps": 40, "batch_size": 16, "execution": execution}
    start = lambda params: jax.tree.map(np.zeros_like, params)
    state = training.fit(learner, arrays, start=start, **options).state
    chains = np.asarray(learner.bind(state).chains())
    assert 0.8 < chains.std() < 1.2


class Scaled(fnn.Module):
    """Exact maps of N(0, d^2 I) on the straight process, as velocities or as average velocities."""

    deviation: float
    average: bool

    @fnn.compact
    def __call__(self, x, t, context=None):
        shift = self.param("shift", fnn.initializers.zeros, ())
        s = lambda t: jnp.sqrt(((1 - t) * self.deviation) ** 2 + t**2)
        t = jnp.broadcast_to(t, x.shape[:-1])[..., None]
        if not self.average:  # data = x - t v is where the ODE leads
            return (x - x * s(0.0) / s(t)) / jnp.maximum(t, 1e-6) + shift
        x, length = x[..., :-1], x[..., -1:]
        small = length < 1e-3
        r = t - jnp.where(small, 1.0, length)
        slope = (t - (1 - t) * self.deviation**2) / s(t) ** 2
        u = jnp.where(small, slope * x, (x - x * s(r) / s(t)) / jnp.where(small, 1.0, length))
        return jnp.concatenate([u + shift, length], -1)


def test_a_consistent_model_has_no_loss_along_the_path_of_its_teacher():
    x = {"x": 0.5 * jax.random.normal(KEY, (500, 2))}
    process = noising.straight()
    teacher = models.Denoiser((2,), OptimalDenoiser(((0.0, 0.0),), 0.5, process), process).bind(
        {"params": {"network": {"shift": jnp.zeros(())}}}
    )
    student = models.Denoiser((2,), Scaled(0.5, False))
    loss = lambda shift, **o: student.apply(
        {"params": {"network": {"shift": shift}}},
        x,
        KEY,
        method=partial(objectives.consistency, **o),
    )[1]["difference"]
    exact = loss(jnp.zeros(()), teacher=teacher)
    assert float(exact.max()) < 2e-3
    assert float(loss(jnp.array(0.5), teacher=teacher).mean()) > 0.01
    # Without a teacher neighbours lie on the line of one pair, not on the path: only near it.
    assert float(exact.mean()) < 0.1 * float(loss(jnp.zeros(())).mean()) < 0.1


def test_the_average_velocity_satisfies_its_identity_and_samples_in_one_call():
    x = {"x": 0.5 * jax.random.normal(KEY, (500, 2))}
    process = noising.straight()
    teacher = models.Denoiser((2,), OptimalDenoiser(((0.0, 0.0),), 0.5, process), process).bind(
        {"params": {"network": {"shift": jnp.zeros(())}}}
    )
    student = models.MeanFlow((2,), Scaled(0.5, True))
    variables = lambda shift: {"params": {"network": {"shift": jnp.asarray(shift)}}}
    error = lambda shift, **o: student.apply(
        variables(shift), x, KEY, method=partial(objectives.mean_flow, **o)
    )[1]["squared_error"]
    assert float(error(0.0, teacher=teacher, equal=0.3).mean()) < 1e-5
    assert float(error(0.3, teacher=teacher).mean()) > 0.01
    for steps in (1, 4):
        sample = student.clone(num_steps=steps).apply(variables(0.0), KEY, (4000,), method="sample")
        np.testing.assert_allclose(sample.std(0), 0.5, atol=0.03)


def test_the_likelihood_of_a_continuous_flow_has_random_steps_and_a_price_on_energy():
    process = noising.straight()
    network = OptimalDenoiser(((0.0, 0.0),), 0.5, process)
    module = models.Denoiser((2,), network, process)
    variables = {"params": {"network": {"shift": jnp.zeros(())}}}
    x = 0.5 * jax.random.normal(KEY, (50, 2))
    batch = {"x": x, "log_det": jnp.full(50, 2.0)}

    @partial(jax.jit, static_argnums=1)
    def run(key, energy):
        method = partial(objectives.continuous_flow, energy=energy)
        return module.apply(variables, batch, key, method=method)

    (loss, metrics), (other, _) = (run(key, 0.0) for key in jax.random.split(KEY))
    exact = (x**2).sum(1) / 0.5 + np.log(2 * np.pi * 0.25) - 2.0
    np.testing.assert_allclose(loss, exact, atol=2e-3)
    assert 0 < float(jnp.abs(loss - other).max()) < 2e-3
    # x_t = x s(t) / d with s^2 = ((1 - t) d)^2 + t^2, whose energy is |x|^2 / d^2 int s'^2 dt.
    t = np.linspace(0.0, 1.0, 2001)
    s = np.sqrt(((1 - t) * 0.5) ** 2 + t**2)
    energy = np.trapezoid(((t - (1 - t) * 0.25) / s) ** 2, t) * (x**2).sum(1) / 0.25
    np.testing.assert_allclose(metrics["energy"], energy, rtol=2e-2)
    np.testing.assert_allclose(run(KEY, 0.5)[0] - run(KEY, 0.0)[0], 0.5 * energy, rtol=2e-2)


class Straightened(fnn.Module):
    """The velocity of pairs (n, d n): their paths are lines that do not cross."""

    deviation: float

    @fnn.compact
    def __call__(self, x, t, context=None):
        shift = self.param("shift", fnn.initializers.zeros, ())
        t = jnp.broadcast_to(t, x.shape[:-1])[..., None]
        return (1 - self.deviation) * x / ((1 - t) * self.deviation + t) + shift


class StraightenedExploding(fnn.Module):
    """The same of pairs (n, r n) where n is all of x_1: x_t = r n + noise(t) (n - r n) / scale."""

    process: noising.GaussianProcess
    ratio: float
    scale: float

    @fnn.compact
    def __call__(self, x, t, context=None):
        shift = self.param("shift", fnn.initializers.zeros, ())
        at = self.process.at(jnp.broadcast_to(t, x.shape[:-1])).like(x)
        left = (1 - self.ratio) / self.scale
        return at.noise_rate * left * x / (self.ratio + at.noise * left) + shift


def test_reflow_learns_the_lines_of_the_teachers_pairs():
    process, teacher = noising.straight(), None
    teacher = models.Denoiser(
        (2,),
        OptimalDenoiser(((0.0, 0.0),), 0.5, process),
        process,
        sampler=inference.Sampler("rk4", 20),
    ).bind({"params": {"network": {"shift": jnp.zeros(())}}})
    student = models.Denoiser((2,), Straightened(0.5))
    objective = partial(objectives.reflow, teacher=teacher)
    loss = lambda shift: at_shift(student, objective, jnp.array(shift), {"x": DATA[:200]}, KEY)
    assert float(loss(0.0).max()) < 1e-6 and abs(float(loss(0.3).mean()) - 0.09) < 1e-3
    # Its lines are straight: one step of Euler leads to the end.
    params = {"params": {"network": {"shift": jnp.zeros(())}}}
    one = partial(student.apply, params, KEY, (4000,), method="sample")
    assert abs(float(one(sampler=inference.Sampler("euler", 1)).std()) - 0.5) < 0.02


def test_reflow_pairs_data_with_what_the_teacher_samples_from():
    """Of a process that keeps the signal: noise of scale 5 and the data in it."""
    process = noising.variance_exploding(0.1, 5.0)
    network = OptimalDenoiser(((0.0, 0.0),), 0.5, process)
    sampler = inference.Sampler("rk4", 20)
    teacher = models.Denoiser((2,), network, process, sampler=sampler).bind(
        {"params": {"network": {"shift": jnp.zeros(())}}}
    )
    ratio = float(np.hypot(0.5, 0.1) / np.hypot(0.5, 5.0))  # the process starts with some noise
    student = models.Denoiser((2,), StraightenedExploding(process, ratio, 5.0), process)
    objective = partial(objectives.reflow, teacher=teacher)
    loss = at_shift(student, objective, jnp.zeros(()), {"x": DATA[:100]}, KEY)
    assert float(loss.max()) < 1e-3  # of squared velocities near 100


def test_reflow_of_pairs_made_before():
    process = noising.straight()
    network = OptimalDenoiser(((0.0, 0.0),), 0.5, process)
    module = models.Denoiser((2,), network, process, sampler=inference.Sampler("rk4", 20))
    teacher = module.bind({"params": {"network": {"shift": jnp.zeros(())}}})
    x, noise = objectives.teacher_pairs(teacher, KEY, 300)
    np.testing.assert_allclose(x, 0.5 * noise, atol=1e-4)  # of N(0, 0.25 I)
    student, pairs = models.Denoiser((2,), Straightened(0.5)), {"x": x, "noise": noise}
    for times in ("uniform", "end"):
        loss = at_shift(student, partial(objectives.reflow, times=times), jnp.zeros(()), pairs, KEY)
        assert float(loss.max()) < 1e-6
    # At the end alone the data are half of the noise for any network that says so there.
    found = at_shift(module, partial(objectives.reflow, times="end"), jnp.zeros(()), pairs, KEY)
    np.testing.assert_allclose(found, ((noise - x - noise) ** 2).mean(1), atol=1e-5)
    for wrong, word in (({"x": x}, "teacher"), ({"x": x, "noise": noise[:, :1]}, "noise")):
        with pytest.raises(DgmjaxError, match=f"`{word}` must"):
            at_shift(student, objectives.reflow, jnp.zeros(()), wrong, KEY)


@pytest.fixture(scope="module")
def promoted():
    """Losses and a score of points, and what they are of float32."""
    process = noising.straight()
    network = OptimalDenoiser(((0.0, 0.0),), 0.5, process)
    flow = partial(objectives.continuous_flow, num_steps=2)
    functions = [
        lambda x, m=module, o=objective: at_shift(m, o, jnp.zeros(()), {"x": x}, KEY)
        for module, objective in (
            (models.Denoiser((2,), network, process), flow),
            (models.Denoiser((2,), Scaled(0.5, False)), objectives.consistency),
            (models.MeanFlow((2,), Scaled(0.5, True)), objectives.mean_flow),
        )
    ]
    model, x = energy_model(), jnp.array([[0.0, 3.0], [1.0, 2.0], [2.0, 0.0]])
    variables = compiled_start(model, KEY, x, method="energy")
    functions.append(jax.jit(lambda x: model.apply(variables, x, method="score")))
    return [(function, function(x)) for function in functions], x


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, jnp.bfloat16])
def test_data_are_promoted(dtype, promoted):
    pairs, x = promoted
    for function, expected in pairs:
        np.testing.assert_array_equal(function(x.astype(dtype)), expected)


def test_a_batch_without_the_classes_of_the_model_is_named():
    module = models.Denoiser((2,), nn.TimeMLP((4,)), num_classes=3)
    with pytest.raises(DataError, match="`batch` must hold `label`, or `context`"):
        module.init(KEY, {"x": DATA[:4]}, KEY, method=objectives.flow_matching)


def test_a_diffusion_prior_of_codes_has_the_elbo_of_its_density():
    process = noising.trigonometric()
    prior = models.Denoiser((2,), OptimalDenoiser(((0.0, 0.0),), 1.0, process), process)
    vae = models.DenseVAE((4,), 2, (8,), prior_model=prior)
    batch = {"x": (jax.random.uniform(KEY, (2000, 4)) < 0.5).astype(jnp.float32)}
    variables = compiled_start(vae, KEY, batch, KEY, method=objectives.latent_diffusion)
    exact = {"params": variables["params"] | {"prior_model": {"network": {"shift": jnp.zeros(())}}}}
    loss = lambda v, method: vae.apply(v, batch, KEY, method=method)[0]
    compiled = jax.jit(loss, static_argnums=1)
    bound = compiled(exact, partial(objectives.latent_diffusion, times="log_snr"))

    def standard(model, batch, key):
        normal = models.StandardNormal((2,))
        other = objectives.with_prior(model, lambda: normal.apply({}))
        return objectives.elbo(other, batch, key)

    gap = np.asarray(bound - compiled(exact, standard), np.float64)
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(2000) + 5e-3
    matched = partial(objectives.on_latents, objective=objectives.flow_matching)
    grads = jax.jit(jax.grad(lambda v: loss(v, matched).sum()))(exact)["params"]
    assert all(not leaf.any() for leaf in jax.tree.leaves([grads["encoder"], grads["decoder"]]))
    assert grads["prior_model"]["network"]["shift"] != 0


def test_parameters_are_made_by_every_objective():
    flow = models.MeanFlow((2,), nn.TimeMLP((4,)))
    made = [
        (flow, objectives.mean_flow),
        (models.Denoiser((2,), nn.TimeMLP((4,))), objectives.consistency),
        (models.Denoiser((2,), nn.TimeMLP((4,)), nn.LogSNR(), "noise"), objectives.diffusion_bound),
        (energy_model(), objectives.implicit_score_matching),
        (energy_model(), partial(objectives.contrastive_divergence, num_steps=2)),
    ]
    for module, objective in made:
        batch = {"x": DATA[:4]}
        variables = scrambled_start(module, KEY, batch, KEY, method=objective, scale=0.3)
        loss, _ = jax.jit(partial(module.apply, method=objective))(variables, batch, KEY)
        assert loss.shape == (4,) and np.isfinite(loss).all()


@pytest.mark.parametrize(
    "wrong, argument",
    [
        (lambda m, b: objectives.denoising(m, b, KEY, weight="snr"), "weight"),
        (lambda m, b: objectives.denoising(m, b, KEY, times="beta"), "times"),
        (lambda m, b: objectives.denoising(m, b, KEY, coupling="exact"), "coupling"),
        (lambda m, b: objectives.denoising(m, b, KEY, of="drift"), "kind"),
        (lambda m, b: objectives.diffusion_bound(m, b, KEY, num_samples=0), "num_samples"),
        (lambda m, b: objectives.continuous_flow(m, b, KEY, energy=-1.0), "energy"),
        (lambda m, b: objectives.continuous_flow(m, b, KEY, num_steps=0), "num_steps"),
        (lambda m, b: objectives.consistency(m, b, KEY, num_steps=0), "num_steps"),
        (lambda m, b: objectives.mean_flow(m, b, KEY, equal=1.5), "equal"),
        (lambda m, b: objectives.sliced_score_matching(m, b, KEY, projections=0), "projections"),
        (lambda m, b: objectives.denoising_score_matching(m, b, KEY, scale=0.0), "scale"),
        (lambda m, b: objectives.implicit_score_matching(m, {"x": jnp.zeros((2, 2), int)}), "x"),
        (
            lambda m, b: objectives.noise_contrastive_estimation(m, b, KEY, noise=None, ratio=0),
            "ratio",
        ),
    ],
)
def test_bad_input_is_named(wrong, argument):
    with pytest.raises((DgmjaxError, DataError), match=f"`{argument}` must "):
        optimal(noising.straight()).apply(
            {"params": {"network": {"shift": jnp.zeros(())}}}, {"x": DATA[:4]}, method=wrong
        )


def test_an_energy_model_of_many_dimensions_has_no_exact_normaliser():
    model = models.EnergyModel((3,), nn.MLP((4,), (1,)))
    variables = compiled_start(model, KEY, jnp.zeros((2, 3)), method="energy")
    with pytest.raises(DgmjaxError, match="`event_shape` must have at most 2"):
        model.apply(variables, jnp.zeros((2, 3)), method="log_prob")
