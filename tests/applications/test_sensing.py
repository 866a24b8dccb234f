"""Linear inverse problems against dense matrices, ridge regression, scikit-learn and normals."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from scrambling import compiled_start
from sklearn.linear_model import Lasso

from dgmjax import models
from dgmjax.applications import (
    BASES,
    Deviation,
    Generator,
    block_average,
    covered,
    denoising,
    generator_of,
    inpainting,
    intervals,
    lasso,
    low_resolution_shape,
    measurement_matrix,
    posterior_samples,
    random_measurements,
    restore,
    synthesis,
)
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPE = (4, 6, 1)
DIMS = 24
OBSERVED = RNG.random(SHAPE) < 0.4

OPERATORS = {
    "matrix": measurement_matrix(RNG.normal(size=(5, DIMS)), SHAPE, 0.1),
    "random": random_measurements(KEY, 7, SHAPE),
    "inpainting": inpainting(OBSERVED),
    "average": block_average(SHAPE, 2),
    "denoising": denoising(SHAPE, 0.1),
    "sound": block_average((12,), 3),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_its_matrix_and_the_adjoint_its_transpose(name):
    operator = OPERATORS[name]
    dense = np.asarray(operator.matrix())
    dims = int(np.prod(operator.event_shape))
    assert dense.shape == (operator.size, dims)
    x = RNG.normal(size=(2, 3, *operator.event_shape)).astype(np.float32)
    y = RNG.normal(size=(2, 3, operator.size)).astype(np.float32)
    applied = jax.jit(lambda operator, x: operator(x))(operator, x)
    np.testing.assert_allclose(applied, x.reshape(2, 3, dims) @ dense.T, atol=1e-5)
    back = operator.adjoint(y).reshape(2, 3, dims)
    np.testing.assert_allclose(back, y @ dense, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(operator)(x), applied, atol=1e-5)
    assert operator(x[:0]).shape == (0, 3, operator.size)


def test_operators_measure_what_their_names_say():
    x = RNG.normal(size=(2, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(OPERATORS["inpainting"](x), x[:, OBSERVED])
    blocks = x.reshape(2, 2, 2, 3, 2).mean((2, 4)).reshape(2, 6)
    np.testing.assert_allclose(OPERATORS["average"](x), blocks, atol=1e-6)
    assert low_resolution_shape(OPERATORS["average"]) == (2, 3, 1)
    np.testing.assert_array_equal(OPERATORS["denoising"](x), x.reshape(2, DIMS))
    noise = OPERATORS["denoising"].observe(KEY, np.zeros((500, *SHAPE), np.float32))
    assert float(noise.std()) == pytest.approx(0.1, rel=0.03)  # 12,000 draws, 4.6 standard errors
    many = random_measurements(KEY, 200, (1000,)).matrix()
    assert float((many**2).sum(0).mean()) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_whole_and_boolean_images_and_matrices_are_real_numbers(dtype):
    x = RNG.integers(0, 2, (2, *SHAPE)).astype(dtype)
    for name in ("inpainting", "denoising"):
        found, wanted = (OPERATORS[name].observe(KEY, a) for a in (x, np.float32(x)))
        np.testing.assert_array_equal(found, wanted)
    rows = RNG.integers(0, 2, (5, DIMS)).astype(dtype)
    operator = measurement_matrix(rows, SHAPE, 0.1)
    y = np.asarray(x.reshape(2, DIMS) @ rows.T.astype(np.int64))
    np.testing.assert_array_equal(operator(x), y)
    back = (y @ rows.astype(np.int64)).reshape(x.shape)
    np.testing.assert_array_equal(operator.adjoint(y), back)


def test_measurements_may_be_narrower_than_the_matrix():
    y = jnp.ones((2, 5), jnp.bfloat16)
    assert OPERATORS["matrix"].adjoint(y).shape == (2, *SHAPE)


def test_equal_kinds_of_operators_compile_once():
    traces = []

    @jax.jit
    def apply(operator, x):
        traces.append(1)
        return operator(x)

    for seed in range(2):
        apply(random_measurements(jax.random.key(seed), 3, SHAPE), np.zeros(SHAPE, np.float32))
    assert len(traces) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 12, 28])
@pytest.mark.parametrize("basis", BASES)
def test_bases_are_orthonormal(basis, size):
    matrix = BASES[basis](size)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)


def test_cosines_are_those_of_scipy_and_haar_has_its_averages_first():
    x = RNG.normal(size=(3, *SHAPE))
    matrix = BASES["dct"](6)
    np.testing.assert_allclose(
        x[..., 0] @ matrix.T, scipy.fft.dct(x[..., 0], norm="ortho"), atol=1e-12
    )
    made = synthesis("dct", SHAPE)(jnp.asarray(x, jnp.float32))
    wanted = scipy.fft.idctn(x, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(made, wanted, atol=1e-5)
    np.testing.assert_allclose(BASES["wavelet"](12)[:3], np.kron(np.eye(3), np.full(4, 0.5)))


@pytest.mark.parametrize("basis", BASES)
def test_lasso_is_that_of_scikit_learn(basis):
    operator = OPERATORS["random"]
    y = RNG.normal(size=(2, 7)).astype(np.float32)
    found = lasso(operator, y, basis, weight=0.02, num_steps=5000)
    rows = np.kron(BASES[basis](4), BASES[basis](6))
    for image, given in zip(found, y):
        fitted = Lasso(0.02, fit_intercept=False, max_iter=5000)
        fitted.fit(np.asarray(operator.matrix(), np.float64) @ rows.T, given.astype(np.float64))
        np.testing.assert_allclose(image.ravel(), rows.T @ fitted.coef_, atol=1e-4)
    assert lasso(operator, y[:0], basis).shape == (0, *SHAPE)


# A linear decoder G(z) = W z + b over z ~ N(0, I), of which everything is known.
W = RNG.normal(size=(3, DIMS)).astype(np.float32)
B = RNG.normal(size=DIMS).astype(np.float32)
NORMAL = distrax.Independent(distrax.Normal(jnp.zeros(3), jnp.ones(3)), 1)
LINEAR = Generator(NORMAL, lambda z: (z @ W + B).reshape(*z.shape[:-1], *SHAPE))
NOISY = measurement_matrix(RNG.normal(size=(5, DIMS)) / 5, SHAPE, 0.3)


def test_restoration_by_a_linear_model_is_ridge_regression():
    y = RNG.normal(size=(4, 5)).astype(np.float32)
    run = lambda operator, y, key: restore(
        LINEAR, operator, y, key, restarts=2, num_steps=800, learning_rate=0.1, prior_weight=0.5
    )
    found = jax.jit(run)(NOISY, y, KEY)
    matrix = np.asarray(NOISY.matrix(), np.float64)
    design, left = matrix @ W.T, y - B @ matrix.T
    z = np.linalg.solve(design.T @ design + 0.5 * np.eye(3), design.T @ left.T).T
    np.testing.assert_allclose(found.z, z, atol=2e-3)
    np.testing.assert_allclose(found.x, (z @ W + B).reshape(4, *SHAPE), atol=1e-2)
    assert found.objectives.shape == (2, 4) and not found.nu.any()
    misfit = ((left - z @ design.T) ** 2).sum(-1)
    energy = misfit - np.asarray(NORMAL.log_prob(jnp.asarray(z, jnp.float32)))
    np.testing.assert_allclose(found.objectives.min(0), energy, rtol=1e-4)
    none = run(NOISY, y[:0], KEY)
    assert none.x.shape == (0, *SHAPE)


@pytest.mark.parametrize("basis", BASES)
def test_around_a_constant_the_deviation_is_the_lasso_of_the_rest(basis):
    flat = Generator(NORMAL, lambda z: jnp.broadcast_to(B.reshape(SHAPE), (*z.shape[:-1], *SHAPE)))
    y = np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32)
    deviation = Deviation(basis, weight=0.2)
    found = restore(flat, NOISY, y, KEY, deviation=deviation, restarts=1, num_steps=4000)
    rest = y - NOISY(B.reshape(SHAPE))
    # |y - A c|^2 + 0.2 |c|_1 is 10 (|y - A c|^2 / 10 + 0.02 |c|_1) for m = 5.
    rows = np.kron(BASES[basis](4), BASES[basis](6))
    columns = np.asarray(NOISY.matrix(), np.float64) @ rows.T
    exact = Lasso(0.02, fit_intercept=False, max_iter=100_000, tol=1e-10)
    wanted = exact.fit(columns, np.asarray(rest, np.float64).T).coef_
    np.testing.assert_allclose(found.nu.reshape(2, DIMS), wanted, atol=2e-3)
    np.testing.assert_allclose(found.x.reshape(2, DIMS) - B, wanted @ rows, atol=2e-3)


def test_deviations_stay_in_single_precision_where_double_is_enabled():
    with jax.enable_x64(True):
        prior = distrax.Independent(distrax.Normal(*jnp.float32([[0.0, 0.0], [1.0, 1.0]])), 1)
        generator = Generator(prior, lambda z: z @ jnp.ones((2, 6), jnp.float32))
        operator = measurement_matrix(np.eye(6, dtype=np.float32)[:3], (6,), 0.1)
        options = {"num_steps": 4, "deviation": Deviation("dct")}
        found = restore(generator, operator, jnp.ones((5, 3), jnp.float32), KEY, **options)
    assert found.nu.dtype == jnp.float32 and bool(jnp.isfinite(found.x).all())


def test_the_restart_of_the_lowest_objective_is_kept():
    two = Generator(NORMAL, lambda z: jnp.tanh(z @ W)[..., :2] + 0.0 * z[..., :2] ** 2)
    operator = measurement_matrix(np.eye(2), (2,))
    y = np.array([[0.9, -0.3], [0.2, 0.1]], np.float32)
    options = {"num_steps": 3, "prior_weight": 0.1}
    found = restore(two, operator, y, KEY, restarts=6, **options)
    misfit = ((y - np.asarray(found.x)) ** 2).sum(-1)
    energy = misfit - 0.2 * np.asarray(NORMAL.log_prob(found.z))
    np.testing.assert_allclose(energy, found.objectives.min(0), rtol=1e-5)
    assert (found.objectives.max(0) > found.objectives.min(0) + 1e-3).all()


def exact_posterior(y, spread):
    """Mean `[B, D]` and covariance of x given y of the linear model, x = W z + b + e."""
    matrix = np.asarray(NOISY.matrix(), np.float64)
    prior = W.T.astype(np.float64) @ W + spread**2 * np.eye(DIMS)
    of_y = matrix @ prior @ matrix.T + 0.09 * np.eye(5)
    gain = prior @ matrix.T @ np.linalg.inv(of_y)
    return B + (y - B @ matrix.T) @ gain.T, prior - gain @ matrix @ prior


@pytest.mark.parametrize("spread", [None, 0.5])
def test_posterior_samples_of_a_linear_model_have_its_mean_and_covariance(spread):
    y = RNG.normal(size=(1, 5)).astype(np.float32)
    wide = np.repeat(y, 200, 0)  # 200 chains of one posterior
    sample = lambda y, key: posterior_samples(
        LINEAR, NOISY, y, key, unexplained=spread, num_samples=10, thin=3, num_warm_up=100
    )
    found = jax.jit(sample)(wide, KEY)
    assert found.x.shape == (10, 200, *SHAPE) and 0.5 < float(found.acceptance) < 1.0
    x = np.asarray(found.x, np.float64).reshape(2000, DIMS)
    mean, covariance = exact_posterior(y, spread or 0.0)
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(x.mean(0), mean[0], atol=5 * deviations.max() / np.sqrt(1000))
    scale = np.outer(deviations, deviations)
    np.testing.assert_allclose(np.cov(x.T) / scale, covariance / scale, atol=0.16)


@pytest.mark.slow
def test_intervals_cover_what_the_model_draws():
    """300 images of the model itself: 1,500 held-out directions, of which 90% are covered."""
    keys = jax.random.split(KEY, 4)
    z = jax.random.normal(keys[0], (300, 3))
    x = LINEAR.decode(z) + 0.5 * jax.random.normal(keys[1], (300, *SHAPE))
    y = NOISY.observe(keys[2], x)
    found = posterior_samples(
        LINEAR, NOISY, y, keys[3], unexplained=np.full(SHAPE, 0.5), num_samples=99, num_warm_up=60
    )
    other = random_measurements(jax.random.key(5), 5, SHAPE)
    inside = np.asarray(covered(other(found.x), other(x), 0.9))
    # Of 1,500 decisions, correlated within an image: 300 independent ones have an error of 0.017.
    assert inside.mean() == pytest.approx(0.9, abs=0.04)
    narrow = np.asarray(covered(other(found.x), other(x), 0.5))
    assert narrow.mean() == pytest.approx(0.5, abs=0.09)


def test_intervals_hold_a_further_draw_with_their_level():
    draws = RNG.exponential(size=(20, 40_000))
    inside = np.asarray(covered(jnp.asarray(draws[1:]), jnp.asarray(draws[0]), 0.8))
    assert inside.mean() == pytest.approx(0.8, abs=0.008)  # 4 standard errors
    low, high = intervals(jnp.asarray(draws[1:, :1]), 0.8)
    ordered = np.sort(draws[1:, 0])
    np.testing.assert_allclose([low[0], high[0]], [ordered[1], ordered[17]], rtol=1e-6)


@pytest.mark.slow
def test_vae_gan_and_flow_are_generators():
    from dgmjax.nn import MLP

    x = np.zeros((2, *SHAPE), np.float32)
    vae = models.DenseVAE(SHAPE, 2, (4,))
    variables = vae.init({"params": KEY}, x, KEY, method="reconstruct")
    gan = models.GAN(2, MLP((4,), SHAPE), MLP((4,), (1,), event_ndims=3))
    game = compiled_start(gan, KEY, x, method="logit") | {}
    game = {
        "params": {
            **game["params"],
            **compiled_start(gan, KEY, np.zeros(2), method="generate")["params"],
        }
    }
    flow = models.RealNVP(2, 2, (4,))
    flowed = compiled_start(flow, KEY, np.zeros((2, 2), np.float32), method="log_prob")
    for bound, latent, shape in (
        (vae.bind(variables), (2,), SHAPE),
        (gan.bind(game), (2,), SHAPE),
        (flow.bind(flowed), (2,), (2,)),
    ):
        made = generator_of(bound, lambda x: 2.0 * x)
        assert made.prior.event_shape == latent
        assert made.decode(jnp.zeros((3, *latent))).shape == (3, *shape)
    z = jax.random.normal(KEY, (5, 2))
    wanted = flow.bind(flowed)().bijector.forward(z)
    np.testing.assert_allclose(generator_of(flow.bind(flowed)).decode(z), wanted)


def asked(**options):
    return lambda: posterior_samples(LINEAR, NOISY, np.zeros((2, 5)), KEY, **options)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: measurement_matrix(np.zeros((3, 23)), SHAPE), r"`matrix` must be \[m, 24\]"),
        (lambda: measurement_matrix(np.zeros((0, DIMS)), SHAPE), r"`matrix` must be \[m, 24\]"),
        (lambda: random_measurements(KEY, 0, SHAPE), "`size` must be at least 1"),
        (lambda: inpainting(np.zeros(SHAPE, bool)), "`observed`"),
        (lambda: inpainting(np.ones(SHAPE)), "`observed`"),
        (lambda: block_average(SHAPE, 4), "`factor` must divide"),
        (lambda: denoising(SHAPE, -1.0), "`scale`"),
        (lambda: OPERATORS["matrix"](np.zeros((2, 24))), "`x` must end in the event shape"),
        (lambda: OPERATORS["matrix"].adjoint(np.zeros((2, 6))), "`y` must end in the 5"),
        (lambda: low_resolution_shape(OPERATORS["matrix"]), "`operator`"),
        (lambda: restore(LINEAR, NOISY, np.zeros((2, 4)), KEY), "`y` must end in the 5"),
        (lambda: restore(LINEAR, NOISY, np.zeros((2, 5)), KEY, restarts=0), "`restarts`"),
        (lambda: lasso(NOISY, np.zeros((2, 5)), "fourier"), "`basis`"),
        (lambda: lasso(NOISY, np.zeros((2, 5)), weight=0.0), "`weight`"),
        (
            lambda: posterior_samples(LINEAR, OPERATORS["random"], np.zeros((2, 7)), KEY),
            "`scale` must be positive",
        ),
        (asked(unexplained=np.ones(5)), "`unexplained` must be numbers that broadcast"),
        (asked(unexplained=-0.1), "`unexplained` must be finite deviations"),
        (asked(unexplained=np.nan), "`unexplained` must be finite deviations"),
        (asked(start=np.zeros((3, 2))), "`start` must be one latent for each row"),
        (asked(num_warm_up=0), "`num_warm_up` must be at least 20"),
        (asked(num_leapfrog=0), "`num_leapfrog` must be at least 1"),
        (asked(step_size=0.0), "`step_size` must be positive"),
        (asked(target=1.0), r"`target` must be in \(0, 1\)"),
        (lambda: intervals(np.zeros((5, 2)), 0.9), "`samples` must be at least 19"),
        (lambda: intervals(np.zeros((50, 2)), 1.0), "`level`"),
        (
            lambda: generator_of(models.MADE((4,), (8,))),
            r"`model` must have `prior\(\)` with `generate\(z\)` or `likelihood\(z\)`",
        ),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(DgmjaxError, match=f"^{message}"):
        act()
