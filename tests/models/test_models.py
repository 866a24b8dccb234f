"""Every model through one contract: shapes, normalisation, compilation; one row a model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start, perturbed

from dgmjax import models
from dgmjax.bijectors import RationalQuadraticSpline, compose
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError

# name -> density model over the plane, context features
DENSITIES = {
    "standard_normal": (models.StandardNormal((2,)), 0),
    "diagonal_normal": (models.DiagonalNormal((2,)), 0),
    "diagonal_normal_in_context": (models.DiagonalNormal((2,)), 3),
    "maf": (models.MAF(2, layers=3, hidden=(8, 8)), 0),
    "maf_learned_base": (models.MAF(2, 2, (8,), base=models.DiagonalNormal((2,))), 0),
    "maf_context": (models.MAF(2, layers=2, hidden=(8,), context_features=3), 3),
    "maf_spline": (models.MAF(2, 2, (8,), transformer=RationalQuadraticSpline(5)), 0),
    "iaf": (models.IAF(2, layers=2, hidden=(8,)), 0),
    "realnvp": (models.RealNVP(2, layers=4, hidden=(8,)), 0),
    "nice": (models.NICE(2, layers=4, hidden=(8,)), 0),
    "realnvp_context": (models.RealNVP(2, layers=2, hidden=(8,)), 3),
    "maf_mixture": (models.MAFMixture(2, 1, (8,), num_components=2), 0),
    "radial": (models.RadialFlow(2, 3), 0),
    "made_normal": (models.MADE((2,), (8,), family=families.Normal()), 0),
    "made_mixture": (models.MADE((2,), (8,), family=families.MixtureOfNormals(3)), 0),
}


def scrambled_model(name, scale=0.3):
    model, context_features = DENSITIES[name]
    context = jnp.linspace(-1.0, 1.0, context_features) if context_features else None
    x = jax.random.normal(jax.random.key(7), (64, 2))  # some models start from its marginals
    arguments = (x,) if context is None else (x, context)
    variables = model.init(jax.random.key(0), *arguments, method="log_prob")
    variables = perturbed(variables, scale=scale) if "params" in variables else variables
    return model, variables, context


@pytest.fixture(params=DENSITIES)
def name(request):
    return request.param


@pytest.mark.staggered
def test_density_integrates_to_one_and_samples_follow_it(name):
    """Quadrature over the plane, and the share of 20,000 samples in each quadrant (5 sigma)."""
    model, variables, context = scrambled_model(name, scale=0.15)
    line = np.linspace(-40.0, 40.0, 1601, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(line, line, indexing="ij"), -1))
    log_prob = jax.jit(lambda v, x: model.apply(v, x, context, method="log_prob"))(variables, grid)
    density = np.exp(np.asarray(log_prob, np.float64)) * (line[1] - line[0]) ** 2
    assert density.sum() == pytest.approx(1.0, abs=5e-3)
    draw = jax.jit(lambda v, k: model.apply(v, k, (20_000,), context, method="sample"))
    samples = np.asarray(draw(variables, jax.random.key(1)))
    for right in (0, 1):
        for above in (0, 1):
            inside = (line[:, None] > 0) == right, (line[None, :] > 0) == above
            mass = density[inside[0] & inside[1]].sum()
            share = (((samples[:, 0] > 0) == right) & ((samples[:, 1] > 0) == above)).mean()
            assert abs(share - mass) < 5 * np.sqrt(0.25 / 20_000) + 5e-3


@pytest.mark.staggered
def test_shapes_and_one_trace(name):
    model, variables, context = scrambled_model(name)
    traces = []

    def log_prob(model, variables, x):
        traces.append(1)
        return model.apply(variables, x, context, method="log_prob")

    jitted = jax.jit(log_prob, static_argnums=0)
    x = jnp.ones((4, 5, 2))
    assert jitted(model, variables, x).shape == (4, 5)
    jitted(model.clone(), jax.tree.map(jnp.copy, variables), x)
    assert len(traces) == 1
    draw = lambda v, k: model.apply(v, k, (3,), context, method="sample")
    assert jax.eval_shape(draw, variables, jax.random.key(0)).shape == (3, 2)


@pytest.mark.staggered
def test_a_distribution_leaves_jit_without_a_new_trace(name):
    model, variables, context = scrambled_model(name)
    make = jax.jit(lambda v: model.apply(v, context))
    traces = []

    @jax.jit
    def log_prob(distribution, x):
        traces.append(1)
        return distribution.log_prob(x)

    x = jnp.ones((3, 2))
    first = log_prob(make(variables), x)
    log_prob(make(jax.tree.map(lambda a: a + 0.1, variables)), x)
    assert len(traces) == 1
    expected = jax.jit(partial(model.apply, method="log_prob"))(variables, x, context)
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.staggered
@pytest.mark.parametrize("flow", ["maf", "realnvp", "iaf", "maf_context"])
def test_flow_density_is_the_change_of_variables(flow):
    """log p(x) = log N(z) - log|det J| with J by automatic differentiation in float64."""
    model, variables, context = scrambled_model(flow)

    @jax.jit
    def inverse_jacobian_and_density(variables, x):
        bijector = model.apply(variables, context, method="bijector")
        z = bijector.inverse(x)
        ours = model.apply(variables, x, context, method="log_prob")
        return z, jax.jacfwd(bijector.forward)(z), ours

    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
        for x in np.random.default_rng(0).normal(size=(4, 2)):
            z, jacobian, ours = map(np.asarray, inverse_jacobian_and_density(variables, x))
            expected = -0.5 * (z @ z) - np.log(2 * np.pi) - np.linalg.slogdet(jacobian)[1]
            np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_context_changes_the_density():
    model, variables, _ = scrambled_model("maf_context")
    x = jnp.ones((2, 2))
    contexts = jnp.array([[0.0, 0, 0], [1.0, 2, 3]])
    both = applied(model, variables, x, contexts, method="log_prob")
    assert both.shape == (2,) and abs(both[0] - both[1]) > 1e-3


VAES = {
    "dense": models.DenseVAE((3, 2, 1), latent=2, hidden=(8,)),
    "categorical": models.DenseVAE(
        (3, 2, 1), latent=2, hidden=(8,), observation=families.Categorical(4)
    ),
    "flow_prior": models.DenseVAE(
        (3, 2, 1), latent=2, hidden=(8,), prior_model=models.MAF(2, 2, (8,))
    ),
    "learned_prior": models.DenseVAE(
        (3, 2, 1), latent=2, hidden=(8,), prior_model=models.DiagonalNormal((2,))
    ),
}


@pytest.mark.staggered
@pytest.mark.parametrize("vae", VAES.values(), ids=VAES)
def test_vae_contract(vae):
    x = jnp.ones((5, 3, 2, 1))
    variables = perturbed(compiled_start(vae, jax.random.key(0), x, method=_everything))

    @jax.jit
    def joint_and_its_terms(variables):
        model = vae.bind(variables)
        q = model.posterior(x)
        assert q.batch_shape == (5,) and q.event_shape == (2,)
        z = q.sample(seed=0, sample_shape=(7,))
        assert model.likelihood(z).batch_shape == (7, 5)
        return model.log_joint(x, z), model.prior().log_prob(z) + model.likelihood(z).log_prob(x)

    joint, expected = joint_and_its_terms(variables)
    assert joint.shape == (7, 5)
    np.testing.assert_allclose(joint, expected, rtol=1e-5)
    drawn = lambda method: jax.eval_shape(
        lambda v, k: vae.apply(v, k, (4,), method=method), variables, jax.random.key(1)
    )
    assert drawn("sample").shape == drawn("mean").shape == (4, 3, 2, 1)
    again = lambda v, k: vae.apply(v, x, k, method="reconstruct")
    assert jax.eval_shape(again, variables, jax.random.key(1)).shape == (5, 3, 2, 1)


def _everything(model, x):
    z = model.posterior(x).sample(seed=jax.random.key(0))
    return model.log_joint(x, z)


def test_bijector_serves_other_code():
    """The three lines of the README: no Flax, no training, one bijector."""
    import distrax

    flow = compose(distrax.Block(distrax.ScalarAffine(1.0, 2.0), 1))
    assert flow.forward(jnp.zeros(3)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: models.MAF(0), "features"),
        (lambda: models.MAF(2, layers=0), "layers"),
        (lambda: models.RealNVP(1), "features"),
        (
            lambda: models.Flow((2,), ()).init(jax.random.key(0), jnp.zeros(2), method="log_prob"),
            "layers",
        ),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
