"""Distributions on spheres and in hyperbolic space: SciPy, quadrature and float64 differences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats

from dgmjax.distributions import SphericalUniform, VonMisesFisher, WrappedNormal
from dgmjax.distributions.spherical import _slope, log_bessel_and_ratio
from dgmjax.errors import DgmjaxError

RNG = np.random.default_rng(0)
CONCENTRATIONS = np.array([1e-3, 0.5, 7.0, 80.0, 3000.0])


def directions(*shape):
    raw = RNG.normal(size=shape)
    return raw / np.linalg.norm(raw, axis=-1, keepdims=True)


def angle_density(k, dims):
    """u -> exp(k (cos u - 1)) sin(u)^(D-2), not normalised, and where its bulk lies."""
    breaks = sorted({0.0, min(np.pi, 12 * np.sqrt(dims / max(k, 0.1))), np.pi})
    return lambda u: np.exp(k * (np.cos(u) - 1)) * np.sin(u) ** (dims - 2), breaks


def integral(f, breaks):
    parts = itertools.pairwise(breaks)
    return sum(scipy.integrate.quad(f, *part, epsabs=0, limit=200)[0] for part in parts)


@pytest.mark.parametrize("dims", [2, 3, 6, 21, 60])
def test_bessel_functions_and_their_ratios_are_scipy_s(dims):
    v, x = dims / 2 - 1, CONCENTRATIONS
    with jax.enable_x64(True):
        log_bessel, ratio = log_bessel_and_ratio(v, jnp.asarray(x))
    found = np.asarray(log_bessel) + v * np.log(x)
    truth = np.log(scipy.special.ive(v, x))
    np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-6)
    ratios = scipy.special.ive(v + 1, x) / scipy.special.ive(v, x) / x
    np.testing.assert_allclose(ratio, ratios, rtol=1e-6)
    single, _ = log_bessel_and_ratio(v, jnp.float32(x))
    np.testing.assert_allclose(single, log_bessel, rtol=3e-6, atol=3e-5)


@pytest.mark.parametrize("dims", [2, 3, 10])
def test_von_mises_fisher_is_scipy_s_and_its_divergence_that_of_quadrature(dims):
    loc, z = directions(5, dims), directions(4, 5, dims)
    q, p = VonMisesFisher(jnp.float32(loc), jnp.float32(CONCENTRATIONS)), SphericalUniform(dims)
    found, divergences = q.log_prob(jnp.float32(z)), q.kl_divergence(p)
    for i, k in enumerate(CONCENTRATIONS):
        truth = scipy.stats.vonmises_fisher(loc[i], k)
        np.testing.assert_allclose(found[:, i], truth.logpdf(z[:, i]), rtol=1e-5, atol=2e-4)
        density, breaks = angle_density(k, dims)
        mass = integral(density, breaks)
        log_mass = np.log(mass) + np.log(2) + np.log(np.pi) * (dims - 1) / 2
        log_mass -= scipy.special.gammaln((dims - 1) / 2)  # the area of the sphere across
        away = integral(lambda u, g=density: (np.cos(u) - 1) * g(u), breaks) / mass
        kl = k * away - log_mass - float(p.log_prob(jnp.zeros(dims)))
        np.testing.assert_allclose(divergences[i], kl, rtol=1e-4, atol=3e-5)
        np.testing.assert_allclose(q.mean()[i] @ loc[i], 1 + away, atol=3e-5)
    with pytest.raises(NotImplementedError):
        q.kl_divergence(SphericalUniform(dims + 1))


@pytest.mark.staggered
@pytest.mark.parametrize("dims", [2, 3, 10])
def test_draws_follow_the_density_around_the_mean_direction(dims):
    """Kolmogorov-Smirnov of the angle at level 1e-4, and no preferred direction across."""
    loc, k = directions(dims), np.array([0.5, 30.0, 2000.0])
    q = VonMisesFisher(jnp.float32(loc), jnp.float32(k))
    z = np.asarray(jax.jit(lambda q: q.sample(seed=1, sample_shape=(4000,)))(q), np.float64)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1.0, atol=1e-5)
    across = z - (z @ loc)[..., None] * loc
    angles = 2 * np.arcsin(np.linalg.norm(z - loc, axis=-1) / 2)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    assert (np.abs(across.mean(0)) < 5 / np.sqrt(4000)).all()
    for i, one in enumerate(k):
        density, breaks = angle_density(one, dims)
        grid = np.concatenate([np.linspace(a, b, 20_001) for a, b in itertools.pairwise(breaks)])
        cdf = scipy.integrate.cumulative_trapezoid(density(grid), grid, initial=0.0)
        test = scipy.stats.kstest(angles[:, i], lambda u: np.interp(u, grid, cdf / cdf[-1]))  # noqa: B023
        assert test.pvalue > 1e-4
    x = SphericalUniform(dims).sample(seed=0, sample_shape=(4000,))
    np.testing.assert_allclose(x.mean(0), 0.0, atol=5 / np.sqrt(4000 * dims))


@pytest.mark.parametrize("dims, k", [(2, 1.0), (3, 0.1), (3, 40.0), (10, 300.0)])
def test_slopes_of_draws_are_those_of_the_quantile_function(dims, k):
    """dt/dk at a fixed probability, by root finding in float64 at k -+ h."""

    def probability(t, k):
        density, _ = angle_density(k, dims)
        return integral(density, [0.0, t]) / integral(density, angle_density(k, dims)[1])

    mode = np.arccos(min(1.0, (np.sqrt((dims - 2) ** 2 + 4 * k**2) - (dims - 2)) / (2 * k)))
    width, h = 1 / np.sqrt(k + dims), 1e-3 * k
    for t in (max(mode - 0.5 * width, 0.2 * width), mode + width, mode + 2 * width):
        t = min(t, 3.0)
        share = probability(t, k)
        ends = [
            scipy.optimize.brentq(lambda u, e=e: probability(u, e) - share, 1e-9, np.pi, xtol=1e-13)  # noqa: B023
            for e in (k - h, k + h)
        ]
        truth = (ends[1] - ends[0]) / (2 * h)
        found = float(_slope(jnp.float32(t), jnp.float32(k), dims))
        np.testing.assert_allclose(found, truth, rtol=1e-3)


def test_gradients_of_expectations_are_those_of_the_mean_and_finite_everywhere():
    """d/dk E[mu . z] = A'(k), five standard errors; values and slopes from k = 0 to 1e4."""
    loc = jnp.float32(directions(4))
    along = lambda k, key: VonMisesFisher(loc, k).sample(seed=key) @ loc
    keys = jax.random.split(jax.random.key(0), 4000)
    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(along), (None, 0)))(jnp.float32(5.0), keys))
    mean = lambda k: VonMisesFisher(loc, k).mean() @ loc
    truth = float(jax.grad(mean)(jnp.float32(5.0)))
    assert abs(slopes.mean() - truth) < 5 * slopes.std() / np.sqrt(len(slopes))

    def all_of(k):
        q = VonMisesFisher(loc, k)
        z = q.sample(seed=3)
        return q.log_prob(z) + q.kl_divergence(SphericalUniform(4)) + z.sum()

    both = jax.jit(jax.value_and_grad(all_of))
    for k in (0.0, 1e-6, 1.0, 1e4):
        value, slope = both(jnp.float32(k))
        assert np.isfinite(value) and np.isfinite(slope)
    none = VonMisesFisher(loc, jnp.float32(0.0)).kl_divergence(SphericalUniform(4))
    np.testing.assert_allclose(none, 0.0, atol=1e-5)
    with pytest.raises(DgmjaxError, match="`loc` must hold vectors of at least 2 dimensions"):
        VonMisesFisher(jnp.ones(1), jnp.ones(()))


@pytest.mark.parametrize("curvature", [0.5, 2.0])
def test_a_wrapped_normal_integrates_to_one_in_the_disc_and_its_draws_follow_it(curvature):
    """Quadrature in polar coordinates; the Euclidean radius of draws at level 1e-4."""
    radius = curvature**-0.5
    p = WrappedNormal(radius * jnp.array([0.3, -0.2]), jnp.array([0.5, 0.3]), curvature)
    nodes, weights = np.polynomial.legendre.leggauss(300)
    r, angle = 0.5 * radius * (nodes + 1), np.linspace(0, 2 * np.pi, 401)[:-1]
    points = r[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    densities = np.exp(np.asarray(p.log_prob(jnp.float32(points)), np.float64))
    rings = densities.mean(1) * 2 * np.pi * r * weights * 0.5 * radius
    assert rings.sum() == pytest.approx(1.0, abs=1e-4)
    z = np.asarray(p.sample(seed=0, sample_shape=(4000,)), np.float64)
    lengths = np.linalg.norm(z, axis=-1)
    assert (lengths < radius).all()
    cdf = np.cumsum(rings) - 0.5 * rings
    assert scipy.stats.kstest(lengths, lambda v: np.interp(v, r, cdf)).pvalue > 1e-4
    x_mean = (densities * points[..., 0]).mean(1) @ (2 * np.pi * r * weights * 0.5 * radius)
    assert z[:, 0].mean() == pytest.approx(x_mean, abs=5 * z[:, 0].std() / np.sqrt(4000))


def test_slopes_of_a_wrapped_normal_are_those_of_differences_and_finite_at_its_ends():
    with jax.enable_x64(True):
        z = jnp.array([0.2, 0.4, -0.1])

        def log_prob(v):
            return WrappedNormal(v[:3], jnp.exp(v[3:6]), 1.3).log_prob(z + v[6:])

        at = jnp.array([0.1, -0.3, 0.2, -0.5, 0.1, -1.0, 0.0, 0.0, 0.0])
        step = 1e-6 * jnp.eye(9)
        ends = jax.vmap(log_prob)
        truth = (ends(at + step) - ends(at - step)) / 2e-6
        np.testing.assert_allclose(jax.grad(log_prob)(at), truth, rtol=1e-6, atol=1e-7)

    def total(v):
        p = WrappedNormal(v, jnp.full(2, 0.1))
        return p.log_prob(v) + p.log_prob(p.sample(seed=0))

    both = jax.jit(jax.value_and_grad(total))
    for loc in ([0.0, 0.0], [0.0, 0.9999]):
        value, slope = both(jnp.array(loc))
        assert np.isfinite(value) and np.isfinite(slope).all()
    with pytest.raises(DgmjaxError, match="`curvature` must be positive"):
        WrappedNormal(jnp.zeros(2), jnp.ones(2), 0.0)
