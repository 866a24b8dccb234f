"""Every family against SciPy, enumeration or quadrature; one row a family."""

import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgmjax.bijectors import ElementwiseAffine
from dgmjax.distributions import Bernoulli, StudentT, Transformed, families
from dgmjax.errors import DgmjaxError
from dgmjax.nn.embeddings import scaled

BATCH = 7

# name -> (family, support of a scalar site or None for the real line)
FAMILIES = {
    "bernoulli": (families.Bernoulli(), np.arange(2)),
    "categorical": (families.Categorical(5), np.arange(5)),
    "normal": (families.Normal(), None),
    "normal_fixed_scale": (families.Normal(scale=0.5), None),
    "poisson": (families.Poisson(), np.arange(200)),
    "student_t": (families.StudentT(), None),
    "student_t_with_variance": (families.StudentT(least_df=2.0), None),
    "mixture_of_normals": (families.MixtureOfNormals(3), None),
    "logistic_mixture": (families.DiscretisedLogisticMixture(3, levels=16), np.arange(16)),
    "logistic_mixture_256": (families.DiscretisedLogisticMixture(2), np.arange(256)),
}


def parameters(family, scale=1.0, seed=0):
    return scale * jax.random.normal(jax.random.key(seed), (BATCH, family.num_params))


@pytest.fixture(params=FAMILIES, ids=str)
def row(request):
    return FAMILIES[request.param]


def test_probabilities_sum_to_one(row):
    family, support = row
    distribution = family(parameters(family))
    if support is not None:
        log_prob = distribution.log_prob(jnp.asarray(support)[:, None])
        total = np.exp(np.asarray(log_prob, np.float64)).sum(0)
    else:
        # x = tan(u) turns the line into an interval, so that heavy tails are integrated too.
        u = np.linspace(-np.pi / 2, np.pi / 2, 400_003)[1:-1]
        x = np.tan(u)
        log_prob = np.asarray(distribution.log_prob(jnp.asarray(x, jnp.float32)[:, None]))
        total = np.trapezoid(
            np.exp(log_prob.astype(np.float64)) / np.cos(u)[:, None] ** 2, u, axis=0
        )
    np.testing.assert_allclose(total, 1.0, atol=2e-4)


@pytest.mark.staggered
def test_samples_follow_the_probabilities(row):
    """Kolmogorov-Smirnov or chi-squared test of 4000 samples at level 1e-4, fixed seed."""
    family, support = row
    params = jnp.broadcast_to(parameters(family)[:1], (4000, family.num_params))
    samples = np.asarray(family(params).sample(seed=jax.random.key(1)))
    assert samples.shape == (4000,)
    one = family(params[0])
    if support is not None:
        expected = np.exp(np.asarray(one.log_prob(jnp.asarray(support)), np.float64))
        likely = expected * 4000 >= 5
        counts = (samples[:, None] == support).sum(0)
        observed = np.append(counts[likely], counts[~likely].sum() + 1e-9)
        wanted = np.append(expected[likely], expected[~likely].sum() + 1e-9)
        wanted *= observed.sum() / wanted.sum()
        assert counts.sum() == 4000
        assert scipy.stats.chisquare(observed, wanted).pvalue > 1e-4
    else:
        grid = np.linspace(samples.min() - 3, samples.max() + 3, 40_001)
        density = np.exp(np.asarray(one.log_prob(jnp.asarray(grid, jnp.float32)), np.float64))
        cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
        cdf = cdf / cdf[-1]
        test = scipy.stats.kstest(samples, lambda x: np.interp(x, grid, cdf))
        assert test.pvalue > 1e-4


@pytest.mark.staggered
@pytest.mark.parametrize("scale", [1.0, 5.0, 1e4])
def test_values_and_gradients_are_finite(row, scale):
    family, support = row
    params = parameters(family, scale)
    x = jnp.asarray([0.0, 1.0] if support is None else [support[0], support[-1]], jnp.float32)

    def total(params):
        return family(params).log_prob(x[:, None]).sum()

    value, gradient = jax.value_and_grad(total)(params)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_equal_families_compile_once(row):
    family, support = row
    traces = []

    @jax.jit
    def log_prob(distribution, x):
        traces.append(1)
        return distribution.log_prob(x)

    for seed in range(2):
        x = jnp.zeros(BATCH) if support is None else jnp.zeros(BATCH, jnp.int32)
        log_prob(family(parameters(family, seed=seed)), x)
    assert len(traces) == 1


def _scale(raw):
    return np.exp(10 * np.tanh(raw / 10))


@pytest.mark.parametrize(
    "family, reference",
    [
        ("normal", lambda p: scipy.stats.norm(p[0], np.exp(10 * np.tanh(p[1] / 10)))),
        (
            "student_t",
            lambda p: scipy.stats.t(
                1 + np.log1p(np.exp(p[2])), p[0], np.exp(10 * np.tanh(p[1] / 10))
            ),
        ),
    ],
)
def test_scipy(family, reference):
    family = FAMILIES[family][0]
    params = parameters(family)
    x = np.linspace(-4, 4, 9)
    ours = family(params[0]).log_prob(jnp.asarray(x))
    np.testing.assert_allclose(ours, reference(np.asarray(params[0])).logpdf(x), atol=1e-4)


def test_poisson_is_scipys_and_its_marginal_is_the_mean():
    family = families.Poisson()
    counts = jnp.arange(30).reshape(15, 2)
    params = family.marginal(counts)
    np.testing.assert_allclose(family(params).mean(), [14.0 + 0.5 / 15, 15.0 + 0.5 / 15], rtol=1e-4)
    poisson = family(jnp.array([[0.3], [1.7], [-2.0]]))
    reference = scipy.stats.poisson(np.asarray(poisson.rate))
    x = np.arange(12)[:, None]
    np.testing.assert_allclose(poisson.log_prob(jnp.asarray(x)), reference.logpmf(x), rtol=1e-4)
    assert poisson.mode().tolist() == [1.0, 5.0, 0.0]
    with pytest.raises(DgmjaxError, match=r"^`temperature` must be 1"):
        family(params, 0.5)


def test_bernoulli_is_finite_at_huge_logits():
    logits = jnp.array([1e4, -1e4, 1e4, -1e4, 88.0])
    x = jnp.array([1.0, 0.0, 0.0, 1.0, 1.0])
    assert Bernoulli(logits).log_prob(x).tolist() == [0.0, 0.0, -1e4, -1e4, 0.0]
    gradient = jax.grad(lambda z: Bernoulli(z).log_prob(x).sum())(logits)
    assert gradient.tolist() == [0.0, 0.0, -1.0, 1.0, 0.0]


def test_bernoulli_entropy_and_moments():
    distribution = Bernoulli(jnp.array([0.3, -2.0]))
    reference = scipy.stats.bernoulli(np.asarray(distribution.probs))
    np.testing.assert_allclose(distribution.entropy(), reference.entropy(), rtol=1e-5)
    np.testing.assert_allclose(distribution.mean(), reference.mean(), rtol=1e-6)
    assert distribution.mode().tolist() == [1.0, 0.0]


def test_student_t_moments():
    t = StudentT(jnp.array([0.5, 1.5, 5.0]), 2.0, 3.0)
    np.testing.assert_allclose(t.variance()[2], scipy.stats.t(5, 2, 3).var(), rtol=1e-5)
    assert np.isnan(t.mean()[0]) and t.mean()[1] == 2.0
    assert np.isnan(t.variance()[0]) and np.isinf(t.variance()[1])


def test_logistic_mixture_over_channels_sums_to_one():
    """All 4^3 colours, with the channels' linear dependence."""
    family = families.DiscretisedLogisticMixture(3, levels=4, channels=3)
    distribution = family(parameters(family, 2.0))
    colours = jnp.asarray(list(itertools.product(range(4), repeat=3)), jnp.float32)
    total = np.exp(np.asarray(distribution.log_prob(colours[:, None]), np.float64)).sum(0)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    samples = distribution.sample(seed=0, sample_shape=(5,))
    assert samples.shape == (5, BATCH, 3) and set(np.unique(samples)) <= {0.0, 1.0, 2.0, 3.0}


def test_transformed_is_a_change_of_variables():
    base = distrax.Independent(distrax.Normal(jnp.zeros(3), jnp.ones(3)), 1)
    bijector = distrax.Block(
        ElementwiseAffine(jnp.arange(3.0), jnp.log(jnp.array([1.0, 2.0, 4.0]))), 1
    )
    flow = Transformed(base, bijector)
    assert flow.event_shape == (3,) and flow.batch_shape == ()
    x = jax.random.normal(jax.random.key(0), (5, 3))
    expected = scipy.stats.norm(np.arange(3), [1, 2, 4]).logpdf(x).sum(-1)
    np.testing.assert_allclose(flow.log_prob(x), expected, atol=1e-5)
    samples, log_prob = flow.sample_and_log_prob(seed=1, sample_shape=(2, 4))
    assert samples.shape == (2, 4, 3)
    np.testing.assert_allclose(log_prob, flow.log_prob(samples), atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: families.Categorical(1),
        lambda: families.MixtureOfNormals(0),
        lambda: families.DiscretisedLogisticMixture(0),
        lambda: families.Normal(scale=-1.0),
        lambda: families.Poisson(log_rate_bound=0.0),
        lambda: families.StudentT(least_df=0.5),
        lambda: Transformed(distrax.Normal(0.0, 1.0), distrax.Block(distrax.ScalarAffine(0.0), 1)),
    ],
)
def test_bad_arguments_are_named(make):
    with pytest.raises(DgmjaxError, match=r"^`\w+` must"):
        make()


def test_companded_mixtures_are_plain_ones_of_expanded_locations():
    mu, levels = 255.0, 65536
    plain = families.DiscretisedLogisticMixture(2, levels)
    companded = families.DiscretisedLogisticMixture(2, levels, companding=mu)
    params = jax.random.normal(jax.random.key(0), (7, companded.num_params))
    loc = params[:, 2:4] + jnp.array([-1.0, 1.0])
    far = np.sign(loc) * (256.0 ** np.abs(loc) - 1.0) / 255.0 - np.array([-1.0, 1.0])
    moved = jnp.concatenate([params[:, :2], far, params[:, 4:]], -1)
    x = jnp.arange(0, levels, levels // 7)[:7]
    found, wanted = companded(params).log_prob(x), plain(moved).log_prob(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    one = families.DiscretisedLogisticMixture(1, levels, companding=mu)
    slope = jax.grad(lambda loc: one(jnp.array([0.0, loc, -3.0])).log_prob(jnp.array(40_000)))
    assert abs(float(slope(0.0))) > 0.01  # at the middle, where |y| has none
    read = scaled(companded).apply({}, jnp.array([0, 32767, 32800, 65535]))[:, 0]
    np.testing.assert_allclose(read[jnp.array([0, 3])], [-1.0, 1.0], atol=1e-6)
    assert abs(float(read[1])) < 1e-3 and 0.02 < float(read[2]) < 0.05
    with pytest.raises(DgmjaxError, match="`companding` must be finite"):
        families.DiscretisedLogisticMixture(2, companding=-1.0)
