"""Very deep VAE: quadrature over its latents, closed forms of its blocks, and temperatures."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import scrambled_start

from dgmjax import models, nn, objectives
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError
from dgmjax.objectives import elbo, iwae

KEY = jax.random.key(0)
VAE = models.VeryDeepVAE((4, 4, 1), (1, 2, 4), (1, 2, 1), latent=2, width=4, hidden=3)
X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (6, 4, 4, 1)), jnp.float32)


def whole(model, x, shapes):
    """Every parameter, without the samples and densities of an objective."""
    z = {name: jnp.zeros((*x.shape[:1], *shape)) for name, shape in shapes.items()}
    return model.posterior(x).batch_shape, model.likelihood(z).log_prob(x)


SHAPES = {"z4": (1, 1, 2), "z3": (2, 2, 2), "z2": (2, 2, 2), "z1": (4, 4, 2)}


@pytest.fixture(scope="module")
def variables():
    return scrambled_start(VAE, KEY, X, shapes=SHAPES, method=whole, scale=0.4)


@pytest.fixture(scope="module")
def trained(variables):
    """The loss, its metrics, and the gradient of its mean."""

    @jax.jit
    def run(variables):
        def loss(variables):
            value, metrics = VAE.apply(variables, {"x": X}, KEY, method=elbo)
            return value.mean(), (value, metrics)

        return jax.value_and_grad(loss, has_aux=True)(variables)

    (_, (loss, metrics)), gradient = run(variables)
    return loss, metrics, gradient


def test_gradients_reach_every_parameter(trained):
    loss, _, gradient = trained
    assert loss.shape == (6,) and np.isfinite(loss).all()
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_the_kl_divergence_of_every_block_is_that_of_its_normals(variables, trained):
    """The path of the loss again, block by block with the networks themselves."""
    _, metrics, _ = trained
    sizes = {"z4": 2, "z3": 1, "z2": 1, "z1": 0}  # position among the maps of features

    def blocks(model, x):
        z = jax.tree.map(lambda leaf: leaf[0], samples(model, x))
        features = model.bottom_up(x)
        state, found = jnp.zeros((1, 1, 4)), {}
        for block, (name, level) in zip(model.top_down, sizes.items(), strict=True):
            q, p = block.posterior(state, features[level]), block.prior(state)
            state = block.absorb(state, z[name])
            normal = lambda a: distrax.Normal(a[..., 0], jnp.exp(families.bounded(a[..., 1], 10.0)))
            kl = normal(q).kl_divergence(normal(p))
            found[f"kl_{name}"] = kl.sum((-3, -2, -1))
        return found, model.likelihood(z).log_prob(x)

    def samples(model, x):
        return objectives.variational.posterior_samples.posterior_samples(
            model.posterior(x), KEY, 1
        ).z

    found, log_likelihood = jax.jit(lambda v: VAE.apply(v, X, method=blocks))(variables)
    for name, kl in found.items():
        assert (kl > 0).all()
        np.testing.assert_allclose(metrics[name], kl, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["kl"], sum(found.values()), rtol=1e-5)
    np.testing.assert_allclose(metrics["log_likelihood"], log_likelihood, rtol=1e-5)


def test_bounds_lie_below_log_p_by_quadrature():
    """2x2 images under two numbers z: p(x) sums to 1, E[weights] is p(x), and IWAE tightens."""
    vae = models.VeryDeepVAE((2, 2, 1), (2,), (2,), latent=1, width=3, hidden=2)
    every = np.array(np.meshgrid(*[[0.0, 1.0]] * 4)).reshape(4, -1).T.reshape(16, 2, 2, 1)
    x = jnp.asarray(every, jnp.float32)
    shapes = {"z2": (1, 1, 1), "z1": (1, 1, 1)}
    variables = scrambled_start(vae, KEY, x, shapes=shapes, method=whole, scale=0.5, seed=2)
    grid = np.linspace(-12.0, 12.0, 161)

    def log_p(model):
        a, b = jnp.meshgrid(jnp.asarray(grid), jnp.asarray(grid), indexing="ij")
        z = {"z2": a.reshape(-1, 1, 1, 1), "z1": b.reshape(-1, 1, 1, 1)}
        each = lambda x: jax.nn.logsumexp(model.log_joint(x, z))
        return jax.lax.map(each, x) + 2 * math.log(grid[1] - grid[0])

    exact = np.asarray(jax.jit(lambda v: vae.apply(v, method=log_p))(variables))
    assert np.exp(exact).sum() == pytest.approx(1.0, abs=1e-3)
    bounds = []
    for num in (1, 20):
        one = lambda v, key, n=num: vae.apply(v, {"x": x}, key, num_samples=n, method=iwae)[0]
        run = jax.jit(jax.vmap(one, (None, 0)))
        found = -np.asarray(run(variables, jax.random.split(jax.random.key(num), 100)))
        bounds.append(np.mean(found, 0))
        error = np.std(found, 0) / 10
        assert (bounds[-1] < exact + 4 * error).all()
    assert (exact - bounds[1]).mean() < 0.5 * (exact - bounds[0]).mean()
    weights = np.exp(found)  # of 20 samples, which are unbiased
    assert (np.abs(weights.mean(0) - np.exp(exact)) < 5 * weights.std(0) / 10 + 1e-4).all()


@pytest.mark.slow
def test_the_posterior_reads_x_and_the_prior_is_a_chain(variables):
    """z of every size, sample axes before the batch's; log p of samples is that of their blocks."""

    @jax.jit
    def run(variables):
        q, p = VAE.apply(variables, X, method="posterior"), VAE.apply(variables, method="prior")
        z, log_q = q.sample_and_log_prob(seed=KEY, sample_shape=(3,))
        last = q.conditional("z1", z).log_prob(z["z1"])
        likelihood = VAE.apply(variables, z, method="likelihood")
        return q, p, likelihood, z, (log_q, q.log_prob(z)), (last, q.log_probs(z)["z1"])

    q, p, likelihood, z, log_q, last = run(variables)
    assert q.event_shape == p.event_shape == SHAPES and q.names == p.names
    assert q.batch_shape == (6,) and p.batch_shape == ()
    assert {name: leaf.shape for name, leaf in z.items()} == {
        name: (3, 6, *shape) for name, shape in SHAPES.items()
    }
    for found, expected in (log_q, last):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert likelihood.batch_shape == (3, 6) and likelihood.event_shape == (4, 4, 1)


@pytest.mark.slow
def test_temperatures_of_all_latents_or_of_some(variables):
    prior = lambda t: VAE.apply(variables, t, method="prior")
    draw = lambda t: prior(t).sample(seed=KEY, sample_shape=(5,))
    plain, cold = draw(1.0), draw(1e-6)
    means = prior(1.0).mean()
    for name, mean in means.items():
        np.testing.assert_allclose(cold[name], np.broadcast_to(mean, cold[name].shape), atol=1e-3)
    some = draw({"z2": 0.5})
    for name in ("z4", "z3"):  # above it nothing changes
        np.testing.assert_array_equal(some[name], plain[name])
    conditional = prior(1.0).conditional("z2", plain).distribution
    centred = lambda z: z["z2"] - conditional.loc
    np.testing.assert_allclose(centred(some), 0.5 * centred(plain), rtol=1e-3, atol=1e-5)
    sample = jax.jit(lambda key: VAE.apply(variables, key, (5,), 0.7, method="sample"))
    assert sample(KEY).shape == (5, 4, 4, 1)
    assert VAE.apply(variables, KEY, (2,), {"z1": 0.0 + 1e-3}, method="mean").shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    "family", [families.Categorical(4), families.DiscretisedLogisticMixture(2, 4, channels=3)]
)
def test_types_of_other_observations_and_of_computation_in_bfloat16(family):
    """Parameters and densities are float32, states bfloat16; nothing is computed."""
    x = jnp.zeros((2, 4, 4, 3), jnp.int32)
    vae = VAE.clone(event_shape=(4, 4, 3), factors=(2, 4), blocks=(1, 1))
    vae = vae.clone(observation=family, dtype=jnp.bfloat16)

    def run():
        (loss, _), variables = vae.init_with_output(KEY, {"x": x}, KEY, method=elbo)
        z = jnp.zeros((2, 1, 1, 2))
        absorb = lambda model: model.top_down[0].absorb(jnp.zeros((1, 1, 4), vae.dtype), z)
        return loss, variables, vae.apply(variables, method=absorb)

    loss, variables, state = jax.eval_shape(run)
    assert loss.shape == (2,) and loss.dtype == jnp.float32 and state.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_blocks_start_small():
    """The output is scaled by 1 / sqrt(N), and that of a prior is N(0, I)."""
    x = jax.random.normal(KEY, (3, 4, 4, 6))
    whole, small = (nn.Bottleneck(6, 4, scale).init_with_output(KEY, x)[0] for scale in (1.0, 0.25))
    np.testing.assert_allclose(small, 0.25 * whole, rtol=1e-5, atol=1e-7)
    fresh = jax.jit(lambda: VAE.init(KEY, {"x": X}, KEY, method=elbo))()
    first = VAE.apply(fresh, method="prior").conditional("z4", {}).distribution
    np.testing.assert_array_equal(first.loc, 0.0)
    np.testing.assert_allclose(first.scale, 1.0)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"event_shape": (4, 4)}, "event_shape"),
        ({"factors": ()}, "factors"),
        ({"factors": (2, 4, 4)}, "factors"),
        ({"factors": (1, 2, 3)}, "factors"),
        ({"factors": (1, 2, 8)}, "factors"),
        ({"blocks": (1, 1)}, "blocks"),
        ({"blocks": (1, 0, 1)}, "blocks"),
        ({"latent": 0}, "latent"),
    ],
)
def test_bad_arguments_are_named(options, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        VAE.clone(**options).init(KEY, X, KEY, method="reconstruct")


@pytest.mark.parametrize("temperature", [-1.0, {"z9": 0.5}, {"z1": -0.5}])
def test_bad_temperatures_are_named(variables, temperature):
    with pytest.raises(DgmjaxError, match=r"^`temperature`"):
        VAE.apply(variables, temperature, method="prior")
