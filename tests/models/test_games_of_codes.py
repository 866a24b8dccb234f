"""InfoGAN, BiGAN and Flow-GAN: what their players move, and toy games that they win."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, adam, gradient_learner

KEY = jax.random.key(0)
CENTRES = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
ADAM = partial(adam, 2e-3, 1000, b1=0.5)


def clusters(key, num=128):
    """Three clusters of the plane."""
    which, noise = jax.random.split(key)
    rows = jax.random.randint(which, (num,), 0, 3)
    return CENTRES[rows] + 0.1 * jax.random.normal(noise, (num, 2))


def played(learner, steps=1000):
    state = jax.jit(learner.init)(KEY, {"x": clusters(KEY)})

    def body(state, key):
        return learner.step(state, {"x": clusters(key)})[0], None

    scan = jax.jit(lambda s: jax.lax.scan(body, s, jax.random.split(KEY, steps))[0])
    return learner.bind(scan(state))


def groups(module, objective, batch=None):
    """The groups of parameters that a loss moves."""
    batch = batch or {"x": clusters(KEY, 8)}
    variables = perturbed(compiled_start(module, KEY, batch, KEY, method=objective))
    loss = lambda params: module.apply({"params": params}, batch, KEY, method=objective)[0].sum()
    slopes = jax.jit(jax.grad(loss))(variables["params"])
    return {name for name, part in slopes.items() if optax.tree.norm(part) > 0}


def info_gan():
    return models.InfoGAN(
        generator=nn.MLP((64, 64), (2,)),
        features=nn.MLP((64,), (64,), activate_output=True),
        noise=2,
        categories=3,
        continuous=1,
        hidden=16,
    )


@pytest.mark.slow
def test_the_codes_of_an_info_gan_are_read_off_its_samples():
    """I(c; x) comes near H(c) = log 3, and samples stay near the data."""
    game = lambda loss: partial(
        objectives.weighted_sum, terms={"game": (1.0, loss), "info": (0.2, objectives.information)}
    )
    critic = partial(objectives.critic_loss, penalties=(objectives.r1(0.1),))
    players = {
        "critic": Player(game(critic), ADAM(), ("features", "head", "recognition")),
        "generator": Player(game(objectives.generator_loss), ADAM(), ("generator", "recognition")),
    }
    model = played(gradient_learner(info_gan(), players))
    codes = model.codes(KEY, (500,))
    x = model.generate(codes)
    terms = model.log_recognition(x, codes)
    assert float(jnp.log(3.0) + terms["category"].mean()) > 0.8 * np.log(3.0)
    assert float(terms["continuous"].mean()) > -jnp.log(2.0)  # that of a code it knew nothing of
    near = jnp.linalg.norm(x[:, None] - CENTRES, axis=-1).min(-1)
    assert float(jnp.median(near)) < 0.6


def test_codes_are_recognised_by_their_density():
    net = info_gan()
    start = compiled_start(net, KEY, {"x": clusters(KEY)}, KEY, method=objectives.information)

    @jax.jit
    def computed(variables):
        model = net.bind(variables)
        codes = model.codes(KEY, (5,))
        x = model.generate(codes)
        category, continuous = model.recognise(x)
        densities = jax.nn.log_softmax(category.logits), continuous.log_prob(codes["continuous"])
        fixed = model.sample(KEY, (4,), jnp.array([0, 2]))
        return codes, x, model.log_recognition(x, codes), densities, fixed

    codes, x, terms, (logits, continuous), fixed = computed(perturbed(start))
    np.testing.assert_allclose(
        terms["category"], logits[jnp.arange(5), codes["category"]], rtol=1e-5
    )
    np.testing.assert_allclose(terms["continuous"], continuous, rtol=1e-5)
    assert groups(net, objectives.information) == {"features", "generator", "recognition"}
    assert fixed.shape == (4, 2, 2)
    with pytest.raises(DgmjaxError, match=r"^`model` must have codes"):
        objectives.information(models.GAN(2, nn.MLP((), (2,)), nn.MLP((), (1,))), {"x": x}, KEY)
    with pytest.raises(DgmjaxError, match=r"^`categories`"):
        net.clone(categories=0, continuous=0).init(KEY, KEY, method="codes")


def bigan(**options):
    return models.BiGAN(
        latent=2,
        generator=nn.MLP((64, 64), (2,)),
        encoder=nn.MLP((64,), (64,), activate_output=True),
        critic=models.PairCritic(nn.MLP((64,), (64,), activate_output=True), 64),
        **options,
    )


@pytest.mark.slow
@pytest.mark.staggered
@pytest.mark.parametrize("stochastic", [False, True])
def test_the_encoder_of_a_bigan_inverts_its_generator(stochastic):
    """Reconstructions come near data, which an encoder of noise would leave 2 apart."""
    critic = partial(objectives.critic_loss, penalties=(objectives.r1(0.1), objectives.r2(0.1)))
    both = partial(objectives.generator_loss, both=True)
    players = {
        "critic": Player(critic, ADAM(), ("critic",)),
        "generator": Player(both, ADAM(), ("generator", "encoder", "to_code")),
    }
    model = played(gradient_learner(bigan(stochastic=stochastic), players))
    x = clusters(jax.random.key(5), 200)
    distance = jnp.linalg.norm(model.reconstruct(x, KEY) - x, axis=-1)
    assert float(jnp.median(distance)) < 0.8
    codes = np.asarray(model.encode(x, KEY))
    assert 0.5 < codes.std(0).mean() < 1.6


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("game", ["non_saturating", "least_squares", "hinge", "relativistic"])
def test_both_parts_of_a_pair_follow_the_game(game):
    both = partial(objectives.generator_loss, game=game, both=True)
    assert groups(bigan(), both) >= {"generator", "encoder", "to_code"}
    alone = groups(bigan(), partial(objectives.generator_loss, game=game))
    assert ("encoder" in alone) == (game == "relativistic")


def test_penalties_take_the_slope_of_both_parts_of_a_pair():
    """|grad|^2 over x and z, of a critic that is linear in both."""
    value = lambda pair: pair[0] @ jnp.array([3.0, 0.0]) + pair[1] @ jnp.array([0.0, 4.0])
    pair = jnp.ones((5, 2)), jnp.zeros((5, 2))
    np.testing.assert_allclose(objectives.r1(2.0)(value, pair, pair, KEY), 25.0)
    np.testing.assert_allclose(objectives.on_lines(1.0)(value, pair, pair, KEY), 16.0, rtol=1e-5)
    np.testing.assert_allclose(objectives.dragan(1.0)(value, pair, pair, KEY), 16.0, rtol=1e-5)


def test_a_flow_plays_and_keeps_its_likelihood():
    flow = models.MAF(2, 2, (8,))
    model = models.FlowGAN(flow, nn.MLP((8,), (1,)))
    hybrid = partial(
        objectives.weighted_sum,
        terms={
            "game": (1.0, objectives.generator_loss),
            "nll": (0.1, objectives.negative_log_likelihood),
        },
    )
    batch = {"x": clusters(KEY, 8)}
    variables = perturbed(compiled_start(model, KEY, batch, KEY, method=hybrid))
    alone = {"params": variables["params"]["flow"]}
    np.testing.assert_allclose(
        applied(model, variables, batch["x"], method="log_prob"),
        applied(flow, alone, batch["x"], method="log_prob"),
        rtol=1e-6,
    )
    loss, metrics = applied(model, variables, batch, KEY, method=hybrid)
    np.testing.assert_allclose(loss, metrics["game/loss"] + 0.1 * metrics["nll/loss"], rtol=1e-6)
    assert groups(model, objectives.generator_loss) >= {"flow"}


@pytest.mark.parametrize(
    "terms", [{}, {"a": (-1.0, objectives.elbo)}, {"a": (0.0, objectives.elbo)}]
)
def test_sums_without_a_positive_weight_are_named(terms):
    with pytest.raises(DgmjaxError, match=r"^`terms`"):
        objectives.weighted_sum(None, {"x": clusters(KEY)}, KEY, terms=terms)


def test_weights_of_a_sum_follow_the_step():
    constant = lambda model, batch, key: (jnp.ones(3), {})
    terms = {"a": (1.0, constant), "b": (optax.linear_schedule(0.0, 2.0, 10, 10), constant)}
    total = lambda **step: objectives.weighted_sum(None, step, KEY, terms=terms)[0][0]
    found = [float(total(step=jnp.int32(step))) for step in (0, 10, 15, 20, 99)]
    assert found == [1.0, 1.0, 2.0, 3.0, 3.0] and float(total()) == 3.0
