"""Every prior, posterior, likelihood and objective together: the four points of intervention.

CI goes through every prior with every posterior, likelihoods and objectives taking turns. Slow
tests go through every prior with every posterior and every objective, likelihoods taking turns:
616 models, each likelihood with each pair. (The whole product, some 5,000, would take two hours.)
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from scrambling import compiled_start

from dgmjax import models, objectives
from dgmjax.distributions import families
from dgmjax.models.latent.vae import VAE
from dgmjax.nn import MLP
from dgmjax.nn.image_coders import SharedParameters

KEY = jax.random.key(2)
EVENT, LATENT, WIDTH, ROWS = (2, 2, 1), 2, 6, 6
BASE = models.DiagonalNormal((LATENT,))

PRIORS = {
    "standard": None,
    "diagonal": models.DiagonalNormal((LATENT,)),
    "full": models.FullCovarianceNormal(LATENT),
    "mixture": models.NormalMixture(LATENT, 3),
    "full_mixture": models.NormalMixture(LATENT, 3, covariance="full"),
    "vamp": models.VampPrior(EVENT, 3),
    "flow": models.RealNVP(LATENT, layers=2, hidden=(4,)),
    "autoregressive": models.RNADE((LATENT,), 4),
}
POSTERIORS = {
    "diagonal": None,
    "full": models.FullCovarianceNormal(LATENT),
    "mixture": models.NormalMixture(LATENT, 2),
    "planar": models.PlanarFlow(LATENT, 2, amortised=True, base=BASE),
    "sylvester": models.SylvesterFlow(LATENT, 1, "householder", amortised=True, base=BASE),
    "iaf": models.IAF(LATENT, 1, (4,), context_features=WIDTH, base=BASE),
}
LIKELIHOODS = {
    "bernoulli": families.Bernoulli(),
    "normal": families.Normal(),
    "fixed_scale": families.Normal(scale=0.5),
    "shared_scale": families.Normal(),
    "student_t": families.StudentT(),
    "categorical": families.Categorical(3),
    "logistics": families.DiscretisedLogisticMixture(2, levels=3),
    "poisson": families.Poisson(),
    "pixelcnn": families.Bernoulli(),
}
WARM_UP = optax.linear_schedule(0.0, 1.0, 10)
OBJECTIVES = {
    "elbo": objectives.elbo,
    "beta_warm_up": partial(objectives.elbo, beta=WARM_UP),
    "free_bits": partial(objectives.elbo, free_bits=0.01, free_bits_per="latent"),
    "iwae": partial(objectives.iwae, num_samples=3),
    "stl": partial(objectives.iwae, num_samples=2, gradient="stl"),
    "dreg": partial(objectives.iwae, num_samples=2, gradient="dreg"),
    "miwae": partial(objectives.iwae, num_samples=2, num_bounds=2),
    "ciwae": partial(objectives.iwae, num_samples=2, elbo_weight=0.3),
    "renyi": partial(objectives.renyi, alpha=0.5, num_samples=3),
    "vr_max": partial(objectives.renyi, alpha=-np.inf, num_samples=3),
    "chi": partial(objectives.chi_upper_bound, num_samples=3),
    "wae": objectives.wae,
    "infovae": partial(objectives.infovae, alpha=0.5, divergence="jensen_shannon"),
    "beta_tc": partial(objectives.beta_tc, num_examples=50),
}
INDEPENDENT_ONLY = {"beta_tc"}
PATHWISE_ONLY = {"stl", "dreg"}  # not for mixtures, whose samples follow one component
VALUES = {"binary": 2, "levels": 3, "count": 5}


def build(prior, posterior, likelihood):
    family = LIKELIHOODS[likelihood]
    amortised = POSTERIORS[posterior] is not None
    params = family.num_params - (likelihood == "shared_scale")
    decoder = MLP((WIDTH,), (*EVENT, params))
    options = {}
    if likelihood == "shared_scale":
        decoder = SharedParameters(decoder)
    if likelihood == "pixelcnn":
        decoder = MLP((), (WIDTH,))
        options["likelihood_model"] = models.PixelCNN(
            EVENT,
            family,
            features=2,
            blocks=1,
            first_kernel=3,
            head_features=4,
            context_features=WIDTH,
        )
    output = (WIDTH,) if amortised else (LATENT, 2)
    return VAE(
        latent=LATENT,
        encoder=MLP((), output, event_ndims=3, activate_output=amortised, activation=jnp.tanh),
        decoder=decoder,
        observation=family,
        prior_model=PRIORS[prior],
        posterior_model=POSTERIORS[posterior],
        **options,
    )


def data(likelihood):
    family, rng = LIKELIHOODS[likelihood], np.random.default_rng(0)
    if family.values == "real":
        x = rng.normal(size=(ROWS, *EVENT))
    else:
        x = rng.integers(0, VALUES[family.values], (ROWS, *EVENT))
    return {"x": jnp.asarray(x, jnp.float32), "mask": jnp.ones(ROWS)}


def combinations(everything):
    priors, likelihoods = list(PRIORS), list(LIKELIHOODS)
    for i, posterior in enumerate(POSTERIORS):
        refused = set() if posterior == "diagonal" else INDEPENDENT_ONLY
        refused = refused | PATHWISE_ONLY if posterior == "mixture" else refused
        names = [name for name in OBJECTIVES if name not in refused]
        for j, prior in enumerate(priors):
            turn = len(priors) * i + j
            for k in range(len(names)) if everything else (0,):
                likelihood = likelihoods[(turn + k) % len(likelihoods)]
                yield prior, posterior, likelihood, names[-1 - (turn + k) % len(names)]


def perturbed(variables):
    """Noise on every parameter, by NumPy: nothing is compiled for it."""
    rng = np.random.default_rng(0)
    return {
        "params": jax.tree.map(
            lambda a: a + np.float32(0.2 * rng.normal(size=a.shape)), variables["params"]
        )
    }


def check(prior, posterior, likelihood, objective):
    model, function = build(prior, posterior, likelihood), OBJECTIVES[objective]
    batch, key = data(likelihood), jax.random.key(1)
    init = jax.jit(partial(model.init, method=function))
    variables = perturbed(init(jax.random.key(0), batch, key))

    @partial(jax.jit)
    def step(params, key):
        def mean_loss(params):
            loss, metrics = model.apply(
                {"params": params}, {**batch, "step": jnp.int32(5)}, key, method=function
            )
            return loss.mean(), (loss, metrics)

        grads, (loss, metrics) = jax.grad(mean_loss, has_aux=True)(params)
        return grads, loss, metrics

    grads, loss, metrics = step(variables["params"], key)
    assert loss.shape == (ROWS,) and np.isfinite(np.asarray(loss)).all()
    for name, value in metrics.items():
        assert np.isfinite(np.asarray(value)).all(), name
    without = {
        jax.tree_util.keystr(path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
        if not (np.isfinite(np.asarray(leaf)).all() and np.abs(np.asarray(leaf)).max() > 0)
    }
    if objective == "free_bits" and np.asarray(metrics["kl"]).mean() <= 0.01:
        # All bits are free: nothing pulls at the prior; the encoder serves the likelihood alone.
        assert set(without) == {
            jax.tree_util.keystr(path)
            for path, _ in jax.tree_util.tree_leaves_with_path(grads)
            if path[0].key == "prior_model"
        }
    else:
        assert not without


@pytest.mark.staggered(of=7)  # seven priors and every posterior
@pytest.mark.parametrize("names", list(combinations(everything=False)), ids="-".join)
def test_a_step_of_every_prior_with_every_posterior(names):
    check(*names)


@pytest.mark.staggered
@pytest.mark.parametrize("turn", range(len(PRIORS)))
def test_bounds_of_every_prior_and_posterior_are_in_order(turn):
    """IWAE at K = 1 is the ELBO exactly (but of a mixture), and L_1 <= L_2 <= L_10 on average."""
    prior, posterior = list(PRIORS)[turn], list(POSTERIORS)[turn % len(POSTERIORS)]
    likelihood = list(LIKELIHOODS)[turn % len(LIKELIHOODS)]
    model, batch = build(prior, posterior, likelihood), data(likelihood)

    @jax.jit
    def bounds(variables, keys):
        bound = model.bind(variables)
        sampled = lambda key: objectives.elbo(bound, batch, key, kl="sampled")[0]
        log_w = lambda key: objectives.log_weights(bound, batch, key, num_samples=10)
        one = lambda key: objectives.iwae(bound, batch, key)[0]
        return jax.vmap(sampled)(keys[:3]), jax.vmap(one)(keys[:3]), jax.vmap(log_w)(keys)

    variables = perturbed(
        compiled_start(model, jax.random.key(0), batch, KEY, method=objectives.elbo)
    )
    elbo, one, log_w = map(np.asarray, bounds(variables, jax.random.split(KEY, 200)))
    if posterior != "mixture":
        np.testing.assert_allclose(one, elbo, rtol=1e-5, atol=1e-5)
    groups = {k: log_w.reshape(len(log_w), -1, log_w.shape[1] // k, ROWS) for k in (10, 5, 1)}
    means = [
        (scipy.special.logsumexp(rows, axis=2) - np.log(rows.shape[2])).mean((0, 1))
        for rows in groups.values()
    ]
    assert all((low <= high + 1e-6).all() for low, high in itertools.pairwise(means))
    assert (means[0] < means[-1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_a_step_of_every_prior_and_posterior_with_every_objective(prior, posterior):
    for names in combinations(everything=True):
        if names[:2] == (prior, posterior):
            check(*names)
            jax.clear_caches()  # a process may hold only so many compiled functions


def test_the_turns_bring_each_prior_to_each_posterior():
    seen = list(combinations(everything=False))
    assert {n[:2] for n in seen} == {(p, q) for p in PRIORS for q in POSTERIORS}
    assert {n[2] for n in seen} == set(LIKELIHOODS) and {n[3] for n in seen} == set(OBJECTIVES)
