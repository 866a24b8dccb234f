"""Adversarial autoencoder, FactorVAE and VAE-GAN: codes of a known law, compared features."""

from functools import partial

import distrax
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from scrambling import compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.distributions.families import Normal
from dgmjax.errors import DgmjaxError
from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.models.latent.judged import shuffled
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


@pytest.mark.slow
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
        model = learner.bind(scan(jax.jit(learner.init)(KEY, points(KEY))))
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
    variables = perturbed(compiled_start(module, KEY, batch, KEY, method=make))
    loss = lambda params: module.apply({"params": params}, batch, KEY, method=objective)[0].sum()
    slopes = jax.jit(jax.grad(loss))(variables["params"])
    parts = {**slopes.pop("model"), **slopes}
    return {name for name, part in parts.items() if optax.tree.norm(part) > 0}


def test_the_losses_of_a_vae_gan_are_those_of_its_paper():
    module, batch = models.VAEGAN(vae(2), nn.MLP((), (3,))), points(KEY, 6)
    make = lambda model, *a: [objectives.critic_loss(model, *a), objectives.elbo(model, *a)]
    variables = perturbed(compiled_start(module, KEY, batch, KEY, method=make))
    weights = variables["params"]["critic"]["Dense_0"]["kernel"]

    @jax.jit
    def computed(variables):
        model = module.bind(variables)
        q = model.posterior(batch["x"])
        losses = [
            loss(model, batch, KEY)[0] for loss in (objectives.squared_error, objectives.rate)
        ]
        pairs = model.pairs(batch, KEY)
        return *losses, model.reconstruct(batch["x"], KEY), (q.mean(), q.stddev()), pairs

    # Features are linear: the distance is that of W (x' - x).
    loss, kl, reconstruction, (mean, deviation), (data, samples) = computed(variables)
    difference = (reconstruction - batch["x"]) @ weights
    np.testing.assert_allclose(loss, 0.5 * (difference**2).sum(-1), rtol=1e-4)
    closed = 0.5 * (mean**2 + deviation**2 - 1.0 - 2.0 * jnp.log(deviation)).sum(-1)
    np.testing.assert_allclose(kl, closed, rtol=1e-4)
    assert groups(module, objectives.rate, batch) == {"encoder"}
    assert groups(module, objectives.squared_error, batch) == {"encoder", "decoder", "critic"}
    assert groups(module, objectives.generator_loss, batch) == {"decoder", "critic", "head"}
    assert data.shape == samples.shape == (6, 2)
    with pytest.raises(DgmjaxError, match="`judges` must be one of"):
        models.JudgedVAE(vae(), nn.MLP((), (3,)), "both").init(KEY, batch, KEY, method=make)


class Noisy(LatentVariableModel):
    """z = x and hardly any noise."""

    def prior(self):
        return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)

    def posterior(self, x):
        return distrax.Independent(distrax.Normal(x, 1e-3), 1)

    def likelihood(self, z):
        return distrax.Independent(distrax.Normal(z, 1.0), 1)


class Squares(linen.Module):
    """What the log-ratio of two normals around 0 is linear in."""

    def __call__(self, z):
        return jnp.stack([z[..., 0] ** 2, z[..., 1] ** 2, z[..., 0] * z[..., 1]], -1)


def test_the_critic_of_a_factor_vae_estimates_the_total_correlation():
    """Of normal codes with correlation r: -log(1 - r^2) / 2 nats."""
    r = 0.8
    cholesky = jnp.array([[1.0, 0.0], [r, np.sqrt(1 - r**2)]])
    codes = lambda key, num: {"x": jax.random.normal(key, (num, 2)) @ cholesky.T}
    judge = partial(objectives.critic_loss, game="density_ratio")
    players = {"critic": Player(judge, adam(3e-2, 600), ("head",))}
    learner = gradient_learner(models.FactorVAE(Noisy(), Squares()), players)
    body = lambda state, key: (learner.step(state, codes(key, 1024))[0], None)
    scan = jax.jit(lambda state: jax.lax.scan(body, state, jax.random.split(KEY, 600))[0])
    model = learner.bind(scan(jax.jit(learner.init)(KEY, codes(KEY, 1024))))
    batch = codes(jax.random.key(1), 40_000)
    loss, _ = objectives.generator_loss(model, batch, KEY, game="density_ratio")
    truth = -0.5 * np.log(1 - r**2)
    assert float(loss.mean()) == pytest.approx(truth, abs=0.05)
    shuffled, z = model.pairs(batch, KEY)
    np.testing.assert_allclose(np.sort(shuffled, 0), np.sort(batch["x"], 0), atol=0.03)
    assert abs(np.corrcoef(shuffled.T)[0, 1]) < 5 / np.sqrt(40_000)  # five standard errors
    assert np.corrcoef(z.T)[0, 1] == pytest.approx(r, abs=0.01)


def test_the_total_correlation_moves_the_encoder_alone_and_needs_one_array_of_latents():
    module, batch = models.FactorVAE(vae(2), nn.MLP((), (3,))), points(KEY, 6)
    generator = partial(objectives.generator_loss, game="density_ratio")
    assert groups(module, generator, batch) == {"encoder", "critic", "head"}
    with pytest.raises(DgmjaxError, match="`model` must have one array of latents; got dict"):
        shuffled({"a": jnp.ones((2, 1))}, KEY)
