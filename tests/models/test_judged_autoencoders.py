"""Adversarial autoencoder and VAE-GAN: codes that follow the prior, features that are compared."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from scrambling import perturbed

from dgmjax import models, nn, objectives
from dgmjax.distributions.families import Normal
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, adam, gradient_learner

KEY = jax.random.key(0)
STEPS = 1500
ADAM = partial(adam, 3e-3, STEPS, b1=0.5)


def points(key, num=256):
    """Skewed numbers x = e^n on a line of the plane, (x, -x)."""
    x = jnp.exp(0.7 * jax.random.normal(key, (num, 1)))
    return {"x": jnp.concatenate([x, -x], -1)}


def vae(latent=1):
    return models.VAE(
        latent,
        encoder=nn.MLP((32,), (latent, 2), nn.leaky_relu),
        decoder=nn.MLP((32,), (2, 1), nn.leaky_relu),
        observation=Normal(scale=0.1),
        event_ndims=1,
    )


def features(units=32):
    return nn.MLP((units,), (units,), nn.leaky_relu, activate_output=True)


def test_codes_of_an_adversarial_autoencoder_follow_the_prior():
    """Of skewed data; by the reconstruction alone they do not, and both reconstruct."""
    reconstruction = partial(objectives.elbo, beta=0.0)
    game = {"game": (1.0, objectives.generator_loss), "x": (0.02, reconstruction)}
    penalties = (objectives.r1(0.1), objectives.r2(0.1))
    critic = partial(objectives.critic_loss, penalties=penalties)
    alone = {"model": Player(reconstruction, ADAM(), ("model",))}
    both = {
        "critic": Player(critic, ADAM(), ("critic", "head")),
        "model": Player(partial(objectives.weighted_sum, terms=game), ADAM(), ("model",)),
    }
    distances = []
    for players in (alone, both):
        learner = gradient_learner(models.AdversarialAutoencoder(vae(), features()), players)
        body = lambda state, key, learner=learner: (learner.step(state, points(key))[0], None)
        scan = jax.jit(lambda s, b=body: jax.lax.scan(b, s, jax.random.split(KEY, STEPS))[0])
        model = learner.bind(scan(learner.init(KEY, points(KEY))))
        x = points(jax.random.key(9), 2000)["x"]
        z = np.asarray(model.posterior(x).sample(seed=KEY))[:, 0]
        distances.append(scipy.stats.kstest(z, scipy.stats.norm.cdf).statistic)
        assert float(jnp.median(jnp.abs(model.reconstruct(x, KEY) - x))) < 0.2
    assert distances[1] < 0.08 < 0.2 < distances[0], distances


def groups(module, objective, batch):
    """The groups of parameters that a loss moves."""
    make = lambda model, *a: [
        one(model, *a) for one in (objectives.critic_loss, objectives.elbo, objective)
    ]
    variables = perturbed(module.init(KEY, batch, KEY, method=make))
    loss = lambda params: module.apply({"params": params}, batch, KEY, method=objective)[0].sum()
    slopes = jax.jit(jax.grad(loss))(variables["params"])
    parts = {**slopes.pop("model"), **slopes}
    return {name for name, part in parts.items() if optax.tree.norm(part) > 0}


def test_the_losses_of_a_vae_gan_are_those_of_its_paper():
    module, batch = models.VAEGAN(vae(2), nn.MLP((), (3,))), points(KEY, 6)
    make = lambda model, *a: [objectives.critic_loss(model, *a), objectives.elbo(model, *a)]
    variables = perturbed(module.init(KEY, batch, KEY, method=make))
    model, weights = module.bind(variables), variables["params"]["critic"]["Dense_0"]["kernel"]
    # Features are linear: the distance is that of W (x' - x).
    loss, _ = objectives.squared_error(model, batch, KEY)
    difference = (model.reconstruct(batch["x"], KEY) - batch["x"]) @ weights
    np.testing.assert_allclose(loss, 0.5 * (difference**2).sum(-1), rtol=1e-4)
    kl, _ = objectives.rate(model, batch, KEY)
    q = model.posterior(batch["x"])
    mean, deviation = q.mean(), q.stddev()
    closed = 0.5 * (mean**2 + deviation**2 - 1.0 - 2.0 * jnp.log(deviation)).sum(-1)
    np.testing.assert_allclose(kl, closed, rtol=1e-4)
    assert groups(module, objectives.rate, batch) == {"encoder"}
    assert groups(module, objectives.squared_error, batch) == {"encoder", "decoder", "critic"}
    assert groups(module, objectives.generator_loss, batch) == {"decoder", "critic", "head"}
    data, samples = model.pairs(batch, KEY)
    assert data.shape == samples.shape == (6, 2)
    with pytest.raises(DgmjaxError, match="`judges` must be 'codes' or 'images'"):
        models.JudgedVAE(vae(), nn.MLP((), (3,)), "both").init(KEY, batch, KEY, method=make)
