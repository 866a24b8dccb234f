"""Flows inside other models: posteriors of a VAE, dequantisation, reverse KL on energies."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scrambling import applied, compiled_start, perturbed

from dgmjax import evaluation, models, nn, objectives
from dgmjax.bijectors import Affine, Sigmoid
from dgmjax.distributions import Energy, Transformed, families
from dgmjax.distributions.base import Distribution
from dgmjax.errors import DgmjaxError
from dgmjax.objectives.variational.importance import log_weights

KEY = jax.random.key(0)
NOISE = 0.5
WEIGHTS = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])  # z[2] -> mean of x[3]


def linear_gaussian():
    """A VAE whose posterior, a triangular map of a conditional normal, can be exact; and p(x)."""
    flow = models.Flow(
        (2,), (models.LinearLayer(2, "triangular"),), base=models.DiagonalNormal((2,))
    )
    vae = models.VAE(
        latent=2,
        encoder=nn.MLP((), (3,)),
        decoder=nn.MLP((), (3, 1)),
        observation=families.Normal(scale=NOISE),
        event_ndims=1,
        posterior_model=flow,
    )
    covariance = np.linalg.inv(np.eye(2) + WEIGHTS @ WEIGHTS.T / NOISE**2)
    factor = np.linalg.cholesky(covariance)
    unit = factor / np.diag(factor)
    mean = np.linalg.solve(unit, covariance @ WEIGHTS / NOISE**2)  # of the base, from x
    raw = 10.0 * np.arctanh(np.log(np.diag(factor)) / 10.0)
    base = {
        "loc": np.zeros(2),
        "loc_of_context": {"kernel": mean.T},
        "log_scale": raw,
        "log_scale_of_context": {"kernel": np.zeros((3, 2))},
    }
    dense = lambda kernel: {"Dense_0": {"kernel": kernel, "bias": np.zeros(3)}}
    params = {
        "encoder": dense(np.eye(3)),
        "decoder": dense(WEIGHTS),
        "posterior_model": {
            "base": base,
            "layers_0": {"matrix": np.tril(unit, -1)},
        },
    }
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    marginal = stats.multivariate_normal(np.zeros(3), WEIGHTS.T @ WEIGHTS + NOISE**2 * np.eye(3))
    return vae, {"params": params}, marginal


def test_flow_posterior_that_is_exact_gives_log_p_by_every_sample():
    vae, variables, marginal = linear_gaussian()
    x = jax.random.normal(KEY, (4, 3))
    structure = jax.tree.structure(compiled_start(vae, KEY, {"x": x}, KEY, method=objectives.elbo))
    assert structure == jax.tree.structure(variables)
    method = lambda model, batch: log_weights(model, batch, KEY, num_samples=7)
    log_w = applied(vae, variables, {"x": x}, method=method)
    expected = np.broadcast_to(marginal.logpdf(np.asarray(x)), (7, 4))
    np.testing.assert_allclose(log_w, expected, atol=1e-4)


def test_sampled_kl_of_a_flow_posterior_is_unbiased():
    """Against the closed form of two normals; 20,000 samples, five standard errors."""
    vae, variables, _ = linear_gaussian()
    variables = perturbed(variables, scale=0.2)
    x = jnp.array([[0.4, -1.0, 0.7]])
    model = vae.bind(variables)
    base, bijector = model.posterior(x).base, model.posterior(x).bijector
    matrix = np.asarray(bijector.forward(jnp.eye(2)), np.float64).T
    mean = matrix @ np.asarray(base.mean(), np.float64)[0]
    covariance = matrix @ np.diag(np.asarray(base.variance(), np.float64)[0]) @ matrix.T
    sign, log_det = np.linalg.slogdet(covariance)
    expected = 0.5 * (np.trace(covariance) + mean @ mean - 2 - log_det)
    assert sign == 1

    def kl(key):
        _, metrics = vae.apply(variables, {"x": x}, key, method=objectives.elbo)
        return metrics["kl"][0]

    values = np.asarray(jax.jit(jax.vmap(kl))(jax.random.split(KEY, 20_000)))
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(len(values))
    assert values.std() > 0.01  # sampled, not analytic
    with pytest.raises(DgmjaxError, match=r"^`kl`"):
        objectives.elbo(model, {"x": x}, KEY, kl="analytic")


BASE = models.DiagonalNormal((4,))
POSTERIORS = {
    "planar": models.PlanarFlow(4, 2, amortised=True, base=BASE),
    "iaf": models.IAF(4, 2, (8,), context_features=8, base=BASE),
    "sylvester_triangular": models.SylvesterFlow(4, 2, "triangular", amortised=True, base=BASE),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", POSTERIORS)
def test_flow_posteriors_of_a_vae(name):
    """log q with the samples is log q of the samples, and x moves the flow's own parameters."""
    vae = models.DenseVAE((3, 2, 1), 4, (8, 8), posterior_model=POSTERIORS[name])
    x = (jax.random.uniform(KEY, (5, 3, 2, 1)) < 0.5) * 1.0
    variables = jax.jit(lambda k: vae.init(k, {"x": x}, k, method=objectives.elbo))(KEY)
    variables = perturbed(variables)

    @jax.jit
    def look(variables, x):
        def run(model):
            q = model.posterior(x)
            z, log_q = q.sample_and_log_prob(seed=KEY, sample_shape=(6,))
            return z, log_q, q.log_prob(z), model.log_joint(x, z)

        return vae.apply(variables, method=run)

    z, with_samples, of_samples, log_joint = look(variables, x)
    assert z.shape == (6, 5, 4) and log_joint.shape == (6, 5)
    np.testing.assert_allclose(with_samples, of_samples, rtol=1e-3, atol=1e-3)
    assert np.ptp(np.asarray(z), axis=0).min() > 1e-3


def test_flow_prior_may_have_data_dependent_layers():
    prior = models.Flow((2,), (models.ActNormLayer(2), models.LinearLayer(2)))
    vae = models.DenseVAE((3,), 2, (4,), prior_model=prior)
    x = jnp.ones((5, 3))
    loss, metrics = applied(
        vae,
        compiled_start(vae, KEY, {"x": x}, KEY, method=objectives.elbo),
        {"x": x},
        KEY,
        method=objectives.elbo,
    )
    assert loss.shape == (5,) and np.all(np.isfinite(metrics["kl"]))


def dequantised(variational):
    """An integer of 0 .. 3, logistic-normal: P(k) is a difference of normal CDFs."""
    density = models.Flow((1,), (models.Fixed(Sigmoid, (), 1),))
    if not variational:
        return models.Dequantised(density, levels=4, event_ndims=1)
    affine = models.ParametricLayer(models.Elementwise((1,), Affine()), amortised=True)
    noise = models.Flow((1,), (affine, models.Fixed(Sigmoid, (), 1)))
    return models.Dequantised(density, 4, 1, noise, nn.MLP((8,), (4,)))


@pytest.mark.parametrize("variational", [False, True])
def test_dequantisation_bounds_the_probability_of_integers(variational):
    model = dequantised(variational)
    x = jnp.arange(4.0)[:, None]
    edges = np.arange(5) / 4
    with np.errstate(divide="ignore"):
        exact = np.log(np.diff(stats.norm.cdf(np.log(edges) - np.log1p(-edges))))
    assert np.exp(exact).sum() == pytest.approx(1.0)
    variables = compiled_start(model, KEY, {"x": x}, KEY, method=objectives.iwae)
    variables = perturbed(variables) if variables else {}

    def one(key):
        _, metrics = model.apply(variables, {"x": x}, key, method=objectives.iwae)
        return metrics["elbo"]

    log_w = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, 20_000)), np.float64)
    assert np.all(log_w.mean(0) < exact)  # Jensen: one sample is below
    weights = np.exp(log_w - exact)
    assert np.all(np.abs(weights.mean(0) - 1) < 5 * weights.std(0) / np.sqrt(20_000))
    counts = np.bincount(
        np.asarray(model.apply(variables, KEY, (20_000,), method="sample"), int)[:, 0]
    )
    assert np.all(np.abs(counts / 20_000 - np.exp(exact)) < 5 * np.sqrt(0.25 / 20_000))


MARGIN = 0.05
BEYOND = MARGIN / (1 - 2 * MARGIN)


def wide(support=(0.0, 1.0), variational=False, levels=8):
    """A density on (-BEYOND, 1 + BEYOND), and its closed-form mass below any x."""
    affine = models.ParametricLayer(models.Elementwise((1,), Affine()))
    density = models.Flow((1,), (affine, models.Fixed(Sigmoid, (MARGIN,), 1)))
    noise = models.Flow(
        (1,),
        (
            models.ParametricLayer(models.Elementwise((1,), Affine()), amortised=True),
            models.Fixed(Sigmoid, (), 1),
        ),
    )
    network = {"noise": noise, "encoder": nn.MLP((8,), (4,))} if variational else {}
    model = models.Dequantised(density, levels, 1, support=support, **network)
    k = jnp.arange(float(levels))[:, None]
    variables = perturbed(
        compiled_start(model, KEY, {"x": k}, KEY, method=objectives.iwae), scale=0.2
    )
    params = {"params": jnp.array([0.3, 0.6])}  # x = sigmoid(0.3 + e^0.6 z), wide: much lies beyond
    variables["params"]["density"]["layers_0"] = params

    def below(x):
        probability = np.clip(MARGIN + (1 - 2 * MARGIN) * np.asarray(x, np.float64), 0, 1)
        with np.errstate(divide="ignore"):
            z = np.log(probability) - np.log1p(-probability)
        return stats.norm.cdf((z - 0.3) / np.exp(5 * np.tanh(0.6 / 5)))

    edges = np.arange(levels + 1) / levels
    inner = np.diff(below(edges))
    whole = np.diff(below([-np.inf, *edges[1:-1], np.inf]))
    return model, variables, k, inner, whole


def test_levels_of_a_density_with_more_support_have_probabilities_that_sum_to_one():
    """By quadrature of the model's own density, and by the frequencies of its samples."""
    model, variables, _, inner, whole = wide()
    edges = np.concatenate([[-BEYOND], np.arange(1, 8) / 8, [1 + BEYOND]])
    nodes, weights = np.polynomial.legendre.leggauss(200)
    half = np.diff(edges)[:, None] / 2
    x = edges[:-1, None] + half * (1 + nodes)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), variables)
        log_p = lambda m, x: m.density.log_prob(x)
        density = np.exp(applied(model, double, jnp.asarray(x)[..., None], method=log_p))
    mass = (half * weights * density).sum(1)
    assert abs(mass.sum() - 1) < 1e-6 and inner.sum() < 0.98
    np.testing.assert_allclose(mass, whole, atol=1e-6)
    samples = model.apply(variables, KEY, (20_000,), method="sample")
    counts = np.bincount(np.asarray(samples, int)[:, 0], minlength=8)
    statistic = ((counts - 20_000 * whole) ** 2 / (20_000 * whole)).sum()
    assert statistic < stats.chi2.ppf(1 - 1e-6, 7)


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("support", [(0.0, 1.0), (-BEYOND, 1 + BEYOND)])
def test_bounds_of_the_end_levels_are_tight_where_the_noise_covers_the_support(
    support, variational
):
    """Weights average to the mass that the noise covers: that of the whole bin, or less."""
    model, variables, k, inner, whole = wide(support, variational)
    covered = inner if support == (0.0, 1.0) else whole
    np.testing.assert_allclose(inner[1:-1], whole[1:-1])
    assert (inner[[0, -1]] < 0.97 * whole[[0, -1]]).all()

    def one(key):
        return log_weights(model.bind(variables), {"x": k}, key, num_samples=1)[0]

    log_w = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, 20_000)), np.float64)
    assert np.all(log_w.mean(0) < np.log(whole))
    weights = np.exp(log_w) / covered[None]
    assert np.all(np.abs(weights.mean(0) - 1) < 5 * weights.std(0) / np.sqrt(20_000))


TEMPERED = {
    "glow": models.Glow((4, 4, 1), 1, 2, channels=4),
    "realnvp": models.RealNVP(3, 2, (8,), base=models.DiagonalNormal((3,))),
    "maf_mixture": models.MAFMixture(2, 1, (8,), num_components=2),
    "on_a_flow": models.RealNVP(2, 2, (8,), base=models.RealNVP(2, 2, (8,))),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", TEMPERED)
def test_temperature_of_one_gives_the_same_bits_and_others_other_samples(name):
    flow = TEMPERED[name]
    shape = (4, 4, 1) if name == "glow" else flow.event_shape
    x = jax.random.normal(KEY, (16, *shape))
    variables = perturbed(jax.jit(lambda x: flow.init(KEY, x, method="log_prob"))(x))
    draw = lambda **options: flow.apply(variables, KEY, (3,), method="sample", **options)
    plain = flow.apply(variables).sample(seed=KEY, sample_shape=(3,))
    np.testing.assert_array_equal(draw(temperature=1.0), plain)
    np.testing.assert_array_equal(draw(), plain)
    assert np.abs(draw(temperature=0.7) - plain).min() > 0
    traced = jax.jit(lambda t: draw(temperature=t))
    np.testing.assert_allclose(traced(1.0), plain, rtol=1e-4, atol=1e-5)
    for bad in (-0.5, float("nan"), float("inf"), np.ones(2)):
        with pytest.raises(DgmjaxError, match=r"^`temperature` must be one"):
            draw(temperature=bad)


def test_temperature_multiplies_the_scale_of_the_base():
    """x = W z + shift of a diagonal normal z: mean m, standard deviation T sigma; 0 is the mode."""
    flow = models.Flow((2,), (models.LinearLayer(2),), base=models.DiagonalNormal((2,)))
    variables = perturbed(compiled_start(flow, KEY, jnp.ones((2, 2)), method="log_prob"))
    base = flow.apply(variables).base
    forward = flow.apply(variables).bijector.forward
    matrix = np.asarray(forward(jnp.eye(2))).T
    mean, exact = forward(base.mean()), matrix @ np.diag(base.variance()) @ matrix.T
    for temperature in (0.5, 0.7, 2.0):
        x = flow.apply(variables, KEY, (20_000,), temperature=temperature, method="sample")
        error = 5 * temperature * np.sqrt(np.diag(exact) / 20_000)
        assert np.all(np.abs(x.mean(0) - mean) < error)
        wanted = temperature**2 * exact
        np.testing.assert_allclose(np.cov(x.T), wanted, atol=0.06 * wanted.max())
    mode = flow.apply(variables, KEY, (3,), temperature=0, method="sample")
    np.testing.assert_allclose(mode, np.broadcast_to(mean, (3, 2)), rtol=1e-6)
    model, variables, *_ = wide()
    cold = model.apply(variables, KEY, (100,), temperature=0.01, method="sample")
    assert np.ptp(cold) <= 1 < np.ptp(model.apply(variables, KEY, (100,), method="sample"))


def test_temperature_of_a_base_without_a_mean_is_named():
    class Unknown(Distribution):
        event_shape, batch_shape, dtype = (), (), jnp.dtype("float32")
        log_prob = None

    flow = Transformed(Unknown(), Sigmoid())
    with pytest.raises(DgmjaxError, match=r"^`temperature` must be 1 .*Unknown"):
        flow.sample(seed=0, temperature=0.5)


def test_variational_dequantisation_of_images():
    density = models.Flow((2, 2, 1), (models.Fixed(Sigmoid, (), 3),))
    model = models.VariationalDequantisation(density, (2, 2, 1), 4, layers=2, channels=4, blocks=1)
    x = jnp.arange(8.0).reshape(2, 2, 2, 1) % 4
    variables = jax.jit(lambda k: model.init(k, {"x": x}, k, method=objectives.iwae))(KEY)
    variables = perturbed(variables)

    def run(model):
        q = model.posterior(x)
        u, log_q = q.sample_and_log_prob(seed=KEY, sample_shape=(3,))
        return u, log_q, q.log_prob(u), model.log_joint(x, u)

    u, with_samples, of_samples, log_joint = jax.jit(lambda v: model.apply(v, method=run))(
        variables
    )
    assert u.shape == (3, 2, 2, 2, 1) and log_joint.shape == (3, 2)
    assert u.min() > 0 and u.max() < 1
    np.testing.assert_allclose(with_samples, of_samples, rtol=1e-3, atol=1e-3)


def paper_energy(number, first, second):
    """Table 1 of Rezende & Mohamed 2015, written out once more."""
    w1, bell = math.sin(2 * math.pi * first / 4), lambda t: math.exp(-0.5 * t * t)
    w2, w3 = 3 * bell((first - 1) / 0.6), 3 / (1 + math.exp(-(first - 1) / 0.3))
    if number == 1:
        radius = 0.5 * ((math.hypot(first, second) - 2) / 0.4) ** 2
        return radius - math.log(bell((first - 2) / 0.6) + bell((first + 2) / 0.6))
    if number == 2:
        return 0.5 * ((second - w1) / 0.4) ** 2
    if number == 3:
        return -math.log(bell((second - w1) / 0.35) + bell((second - w1 + w2) / 0.35))
    return -math.log(bell((second - w1) / 0.4) + bell((second - w1 + w3) / 0.35))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_energies_and_their_normalising_constants(number):
    points = np.random.default_rng(0).uniform(-2, 2, (20, 2))
    expected = [paper_energy(number, *point) for point in points]
    energy = Energy(number)
    np.testing.assert_allclose(energy(jnp.asarray(points)), expected, rtol=2e-4, atol=1e-4)
    if number == 1:
        # exp(-U1) is a sum of two mirrored halves; in polar coordinates it is smooth.
        def ring(radius, angle):
            first = radius * math.cos(angle)
            both = sum(math.exp(-0.5 * ((first - s) / 0.6) ** 2) for s in (2, -2))
            return radius * math.exp(-0.5 * ((radius - 2) / 0.4) ** 2) * both

        total = integrate.dblquad(ring, 0, 2 * math.pi, 0, 6, epsabs=1e-8)[0]
    else:
        widths = {2: 0.4, 3: 0.35 + 0.35, 4: 0.4 + 0.35}[number]
        root = math.sqrt(2 * math.pi)
        total = root * widths * (8 + 0.2 * root)
    # The wall begins with a kink in its second derivative only: the rule is good to 1e-6 there.
    assert energy.log_normaliser(1201) == pytest.approx(math.log(total), abs=1e-5)
    gradient = jax.grad(energy)(jnp.zeros(2))
    assert np.all(np.isfinite(gradient))


def test_reverse_kl_is_the_divergence_up_to_log_z():
    """Two normals: KL(q || p) in closed form; 20,000 samples, five standard errors."""
    q = models.DiagonalNormal((2,))
    loc, log_scale = jnp.array([0.5, -1.0]), jnp.array([0.3, -0.4])
    variables = {"params": {"loc": loc, "log_scale": log_scale}}
    log_density = lambda x: -0.5 * (x**2).sum(-1) / 4.0 + 1.7  # N(0, 4 I) times a constant
    log_z = 1.7 + math.log(2 * math.pi * 4.0)
    loss, metrics = applied(
        q,
        variables,
        {"x": jnp.zeros((20_000, 2))},
        KEY,
        method=lambda m, b, k: objectives.reverse_kl(m, b, k, log_density=log_density),
    )
    variance = np.exp(2 * np.asarray(log_scale, np.float64))
    square = np.asarray(loc, np.float64) ** 2
    expected = 0.5 * ((variance + square) / 4.0 - 1.0 + math.log(4.0)).sum() - log_scale.sum()
    values = np.asarray(loss) + log_z
    assert values.shape == (20_000,)
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(20_000)
    np.testing.assert_allclose(loss, metrics["log_model"] - metrics["log_target"])


def test_reverse_kl_trains_a_flow_towards_an_energy():
    """200 steps of six planar layers on U2: the true KL is known, falls, and stays above 0."""
    import optax

    energy, flow = Energy(2), models.PlanarFlow(2, 6, base=models.DiagonalNormal((2,)))
    batch, log_z = {"x": jnp.zeros((256, 2))}, energy.log_normaliser(601)
    optimiser = optax.adam(2e-2)

    def loss_fn(variables, key):
        call = lambda m, b, k: objectives.reverse_kl(m, b, k, log_density=energy.log_density)
        return flow.apply(variables, batch, key, method=call)[0].mean() + log_z

    def step(state, key):
        variables, moments = state
        loss, gradient = jax.value_and_grad(loss_fn)(variables, key)
        updates, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(variables, updates), moments), loss

    @jax.jit
    def train(variables):
        keys = jax.random.split(jax.random.key(1), 200)
        return jax.lax.scan(step, (variables, optimiser.init(variables)), keys)[1]

    losses = np.asarray(train(compiled_start(flow, KEY, jnp.zeros((2, 2)), method="log_prob")))
    assert losses[-20:].mean() < 0.7 * losses[:5].mean()
    assert losses[-20:].mean() > -0.05


def test_full_normal_baseline_is_scipys():
    train, test = np.random.default_rng(0).normal(size=(2, 50, 3)) @ np.diag([1.0, 2.0, 0.5])
    law = stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    np.testing.assert_allclose(evaluation.full_normal(train, test), -law.logpdf(test))
    with pytest.raises(DgmjaxError, match=r"^`train`"):
        evaluation.full_normal(np.ones((5, 2)), np.ones((1, 2)))


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: Energy(5), "number"),
        (lambda: models.DenseVAE((3,), 2, ()), "hidden"),
        (
            lambda: models.Dequantised(BASE, levels=1).init(
                KEY, jnp.zeros((2, 4)), method="posterior"
            ),
            "levels",
        ),
        (
            lambda: models.Dequantised(BASE, noise=BASE).init(
                KEY, jnp.zeros((2, 4)), method="posterior"
            ),
            "encoder",
        ),
        (
            lambda: models.Dequantised(BASE, support=(0.1, 1.0)).init(
                KEY, jnp.zeros((2, 4)), method="posterior"
            ),
            "support",
        ),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
