"""Wake-sleep of sigmoid belief networks: gradients by enumeration, and training."""

from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, objectives, training
from dgmjax.distributions.families import Bernoulli
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
NET = models.SigmoidBeliefNetwork((2, 2, 1), (3, 2))
BITS = lambda count: jnp.asarray(list(product((0.0, 1.0), repeat=count)))
IMAGES = BITS(4).reshape(16, 2, 2, 1)
LATENTS = {"z1": jnp.repeat(BITS(3), 4, 0), "z2": jnp.tile(BITS(2), (8, 1))}


@cache
def start():
    made = compiled_start(NET, KEY, {"x": IMAGES}, KEY, method=objectives.elbo)
    return perturbed(made, scale=1.0)


def joint(model):
    """log p(x, z) of all images and latents, `[32, 16]`."""
    z = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], 16, 1), LATENTS)
    return model.prior().log_prob(z) + model.likelihood(z).log_prob(IMAGES), z


def log_prob(variables):
    return jax.nn.logsumexp(joint(NET.bind(variables))[0], 0)


def test_probabilities_sum_to_one():
    assert float(jnp.exp(log_prob(start())).sum()) == pytest.approx(1.0, abs=1e-5)
    model = NET.bind(start())
    _, z = joint(model)
    sums = jnp.exp(model.posterior(IMAGES).log_prob(z)).sum(0)
    np.testing.assert_allclose(sums, 1.0, atol=1e-5)


def test_dreams_have_the_gradient_of_the_inclusive_divergence():
    """E_p(x, z)[-grad log q(z | x)] by enumeration; the z-test covers every parameter."""

    def exact(variables):
        log_p, z = joint(NET.bind(jax.lax.stop_gradient(variables)))
        return -(jnp.exp(log_p) * NET.bind(variables).posterior(IMAGES).log_prob(z)).sum()

    def loss(variables, key):
        return NET.apply(variables, {"x": IMAGES}, key, method=objectives.sleep_phase)[0].mean()

    count = 2000
    slopes = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(start(), jax.random.split(KEY, count))
    found = np.concatenate([np.reshape(s, (count, -1)) for s in jax.tree.leaves(slopes)], 1)
    expected = jax.tree.leaves(jax.grad(exact)(start()))
    expected = np.concatenate([np.ravel(leaf) for leaf in expected])
    z = (found.mean(0) - expected) / (found.std(0) / count**0.5 + 1e-8)
    assert np.abs(z).max() < scipy.stats.norm.isf(1e-4 / 2 / len(expected))
    # Only the encoders move.
    moved = jax.grad(exact)(start())["params"]
    for group, leaves in moved.items():
        size = sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(leaves))
        assert (size > 0) == group.startswith("encoders")


GENERATIVE = ("decoders_0", "decoders_1", "prior_model")
RECOGNITION = ("encoders_0", "encoders_1")
TARGET = np.array([4, 1, 1, 3, 0.2, 0.2, 5, 0.2, 1, 0.2, 0.2, 6, 0.2, 2, 0.2, 4])
TARGET = TARGET / TARGET.sum()


def trained(generative, recognition, steps=1500):
    adam = training.adam(0.02, steps)
    learner = training.gradient_learner(
        NET,
        {
            "model": training.Player(generative, adam, params=GENERATIVE),
            "posterior": training.Player(recognition, adam, params=RECOGNITION),
        },
    )
    state = jax.jit(learner.init)(KEY, {"x": IMAGES})

    def body(state, key):
        rows = jax.random.choice(key, 16, (64,), p=jnp.asarray(TARGET))
        return learner.step(state, {"x": IMAGES[rows]})[0], None

    scan = jax.jit(lambda s: jax.lax.scan(body, s, jax.random.split(KEY, steps))[0])
    return {"params": scan(state).params}


@pytest.mark.slow
def test_training_approaches_the_data_and_weights_help():
    """Divergences in nats. Reweighting beats dreams, as the source of `wake_phase` reports."""
    divergence = lambda log_p: float((TARGET * (np.log(TARGET) - log_p)).sum())
    flat = np.asarray(IMAGES).reshape(16, 4)
    means = TARGET @ flat
    independent = divergence((flat * np.log(means) + (1 - flat) * np.log1p(-means)).sum(1))
    several = {"num_samples": 5}
    reweighted = partial(objectives.iwae, **several), partial(objectives.wake_phase, **several)
    asleep = divergence(np.asarray(log_prob(trained(objectives.elbo, objectives.sleep_phase))))
    awake = divergence(np.asarray(log_prob(trained(*reweighted))))
    assert awake < 0.35 * independent and awake < asleep < 0.65 * independent


def test_only_networks_of_the_generative_model_may_follow_a_bound():
    loss = lambda v: NET.apply(v, {"x": IMAGES}, KEY, method=objectives.elbo)[0].mean()
    with pytest.raises(DgmjaxError, match="discrete latents"):
        jax.grad(loss)(start())


def test_ladders_and_missing_priors_are_refused():
    start = lambda net: net.init(KEY, {"x": IMAGES}, KEY, method=objectives.elbo)
    with pytest.raises(DgmjaxError, match=r"^`latent_family` must be normal for a ladder"):
        start(NET.clone(inference="ladder"))
    with pytest.raises(DgmjaxError, match=r"^`prior_model` must be given"):
        start(NET.clone(prior_model=None, latent_family=Bernoulli()))


@pytest.mark.parametrize("conditional_prior", [False, True])
def test_a_conditional_model_dreams_of_the_contexts_of_the_batch(conditional_prior):
    net = models.DenseCVAE((4,), 2, (3,), num_classes=3, conditional_prior=conditional_prior)
    batch = {"x": jnp.zeros((3, 4)), "label": jnp.arange(3)}
    variables = compiled_start(net, KEY, batch, KEY, method=objectives.elbo)
    loss, _ = applied(net, variables, batch, KEY, method=objectives.sleep_phase)
    assert loss.shape == (3,) and np.isfinite(loss).all() and len(set(loss.tolist())) == 3
