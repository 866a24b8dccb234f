"""The scalar solver, and the inverses that stand on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import bijectors as bj
from dgmjax.errors import NotConverged


def cube_root(a):
    return bj.solve_increasing(lambda x: x**3 - a, jnp.minimum(a, -1), jnp.maximum(a, 1))


def test_values_and_derivatives_of_a_known_root():
    a = jnp.array([-27.0, 1.0, 8.0, 1000.0, 2.0])
    np.testing.assert_allclose(jax.jit(cube_root)(a), np.cbrt(np.asarray(a)), rtol=1e-6)
    first = jax.vmap(jax.grad(cube_root))(a)
    np.testing.assert_allclose(first, np.abs(np.asarray(a)) ** (-2 / 3) / 3, rtol=1e-5)
    second = jax.vmap(jax.grad(jax.grad(cube_root)))(a[1:])
    np.testing.assert_allclose(second, -2 / 9 * np.asarray(a[1:]) ** (-5 / 3), rtol=1e-5)


def test_steep_flat_and_kinked_functions_converge():
    def steep(x):
        return jnp.sinh(20 * (x - 0.3))

    def flat(x):
        return (x - 0.3) ** 3

    def kinked(x):
        return jnp.where(x > 0.3, 1e4, 1e-4) * (x - 0.3)

    for function, tolerance in ((steep, 1e-6), (flat, 2e-2), (kinked, 1e-6)):
        root = bj.solve_increasing(function, jnp.array(-2.0), jnp.array(2.0))
        np.testing.assert_allclose(root, 0.3, atol=tolerance)


def test_too_few_steps_are_reported_and_never_returned():
    def run(num_steps):
        def solve(a):
            return bj.solve_increasing(
                lambda x: jnp.sinh(x) - a, jnp.array(-80.0), jnp.array(80.0), num_steps
            )

        return solve

    with pytest.raises(NotConverged, match="1 of 1 entries"):
        run(3)(jnp.array(1.0))
    assert jnp.isnan(jax.jit(run(3))(jnp.array(1.0)))
    np.testing.assert_allclose(run(60)(jnp.array(1.0)), np.arcsinh(1.0), rtol=1e-6)


@pytest.mark.parametrize(
    "bijector",
    [
        bj.PlanarFamily(3)(jnp.ones(7)),
        bj.SylvesterFamily(3, "householder", 2)(jnp.ones(3 * 8 + 8)),
    ],
    ids=["planar", "sylvester"],
)
def test_finite_data_whose_root_is_not_found_are_reported(bijector, monkeypatch):
    from dgmjax.bijectors import planar, sylvester

    nowhere = lambda *arguments: jnp.full(arguments[-1].shape, jnp.nan)
    monkeypatch.setattr(planar, "solve_planar", lambda target, slope: nowhere(target))
    monkeypatch.setattr(sylvester, "_back_substitute", nowhere)
    with pytest.raises(NotConverged, match="did not converge"):
        bijector.inverse(jnp.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]))


def test_mixture_of_logistics_gives_its_mixture():
    """If z is logistic, F(x) is uniform: compare with scipy's distribution function."""
    from scipy import stats

    params = jax.random.normal(jax.random.key(0), (9,))
    weights = np.asarray(jax.nn.softmax(params[:3]))
    means = 10 * np.tanh(np.asarray(params[3:6]) / 10)
    scales = np.exp(1.5 * np.tanh(np.asarray(params[6:]) / 1.5))
    x = np.linspace(-8, 8, 41)
    cdf = sum(w * stats.logistic.cdf(x, m, s) for w, m, s in zip(weights, means, scales))
    bijector = bj.MixtureOfLogisticsCDF(3)(params)
    z = jax.jit(bijector.inverse)(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(jax.nn.sigmoid(z), cdf, atol=1e-6)


def test_planar_and_radial_formulas_against_the_paper():
    """x = z + u' tanh(w.z + b) with w.u' >= -1; x = z + beta' (z - c) / (alpha' + r)."""
    z = jax.random.normal(jax.random.key(0), (5, 3))
    u, w = jnp.array([0.5, -2.0, 1.0]), jnp.array([1.0, 1.5, -0.5])
    planar = bj.Planar(u, w, jnp.array(0.2))
    step = (planar.forward(z) - z) / jnp.tanh(z @ w + 0.2)[:, None]
    np.testing.assert_allclose(step, jnp.broadcast_to(step[0], step.shape), rtol=2e-5)
    assert step[0] @ w > -1
    difference = step[0] - u
    np.testing.assert_allclose(jnp.cross(difference, w), 0, atol=1e-5)
    centre = jnp.array([0.1, 0.2, 0.3])
    radial = bj.Radial(centre, jnp.array(0.7), jnp.array(-1.0))
    factor = (radial.forward(z) - z) / (z - centre)
    radius = jnp.linalg.norm(z - centre, axis=-1)
    alpha = 0.01 + np.log1p(np.exp(0.7))
    beta = factor[:, 0] * (alpha + radius)
    np.testing.assert_allclose(beta, beta[0], rtol=1e-4)
    assert beta[0] > -alpha
