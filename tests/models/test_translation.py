"""pix2pix and CycleGAN: games of patches, toy translations, and what their terms measure."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.objectives import GAMES
from dgmjax.training import Player, adam, gradient_learner

KEY = jax.random.key(0)
ADAM = partial(adam, 1e-2, 1500, b1=0.0)


class Patches:
    """Pairs of numbers, with a critic of two linear values."""

    def pairs(self, batch, key):
        return batch["x"], batch["x"] + 1.0

    def logit(self, x):
        return jnp.stack([3.0 * x[:, 0], 4.0 * x[:, 1]], -1)


@pytest.mark.parametrize("game", ["non_saturating", "least_squares", "hinge", "relativistic"])
def test_a_critic_of_patches_plays_the_mean_of_their_games(game):
    x, row = jax.random.normal(KEY, (5, 2)), GAMES[game]
    data, samples = Patches().logit(x), Patches().logit(x + 1.0)
    options = {"game": game, "penalties": (objectives.r1(2.0),)}
    loss, metrics = objectives.critic_loss(Patches(), {"x": x}, KEY, **options)
    slope = (1.5**2 + 2.0**2) * np.ones(5)  # of the mean of both values
    np.testing.assert_allclose(metrics["gradient_penalty"], slope, rtol=1e-6)
    np.testing.assert_allclose(loss - slope, row.critic(data, samples).mean(-1), rtol=1e-4)
    for both in (False, True):
        loss, _ = objectives.generator_loss(Patches(), {"x": x}, KEY, game=game, both=both)
        wanted = row.generator(data, samples)
        if both and not row.reads_data:
            wanted = wanted + row.generator(None, 2.0 * row.boundary - data)
        np.testing.assert_allclose(loss, wanted.mean(-1), rtol=1e-5)


@pytest.mark.staggered
@pytest.mark.parametrize("halvings, side", [(1, 8), (2, 18)])
def test_a_patch_has_the_size_that_is_said(halvings, side):
    critic, x = nn.PatchCritic(2, halvings), jax.random.normal(KEY, (1, 32, 32, 1))
    variables = perturbed(compiled_start(critic, KEY, x))
    grid = 32 // 2**halvings
    assert critic.apply(variables, x).shape == (1, grid**2)
    middle = grid**2 // 2 + grid // 2
    slope = jax.grad(lambda x: critic.apply(variables, x)[0, middle])(x)[0, ..., 0]
    rows, columns = np.nonzero(np.asarray(slope))
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == side


def test_a_u_net_without_times_is_one_whose_times_change_nothing():
    network, x = nn.UNet((4, 8)), jax.random.normal(KEY, (2, 6, 6, 1))
    timed = perturbed(compiled_start(network, KEY, x, jnp.zeros(2)))["params"]
    untimed = dict(timed)
    untimed.pop("TimeEmbedding_0")
    for name, block in timed.items():
        if name.startswith("ResidualBlock"):
            kept = {key: value for key, value in block.items() if not key.startswith("Dense")}
            untimed[name] = kept | ({"Dense_0": block["Dense_1"]} if "Dense_1" in block else {})
            timed[name] = {**block, "Dense_0": jax.tree.map(jnp.zeros_like, block["Dense_0"])}
    wanted = applied(network, {"params": timed}, x, jnp.ones(2))
    found = applied(network, {"params": untimed}, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert float(jnp.abs(found).max()) > 0
    with pytest.raises(DgmjaxError, match="`context` must be None where no times are given"):
        network.init(KEY, x, None, jnp.zeros(2))


def test_a_residual_translator_starts_near_the_identity():
    x = jnp.tanh(jax.random.normal(KEY, (2, 6, 6, 1))).at[0, 0, 0, 0].set(1.0)
    network = nn.Translator(nn.UNet((4,)), residual=True)
    variables = compiled_start(network, KEY, x)
    np.testing.assert_allclose(applied(network, variables, x), 0.9 * x, atol=1e-5)
    slope = jax.grad(lambda x: network.apply(variables, x).sum())(x)
    np.testing.assert_allclose(slope, 0.9, rtol=1e-4)
    with pytest.raises(DgmjaxError, match="`network` must return images of the shape"):
        nn.Translator(nn.MLP((), (2,))).init(KEY, x)


def cycle_gan():
    mlp = lambda: nn.MLP((16,), (1,), nn.leaky_relu)
    return models.CycleGAN(mlp(), mlp(), nn.MLP((32,), (1,)), nn.MLP((32,), (1,)))


def played(learner, draw, steps):
    state = jax.jit(learner.init)(KEY, draw(KEY))
    body = lambda state, key: (learner.step(state, draw(key))[0], None)
    return learner.bind(
        jax.jit(lambda s: jax.lax.scan(body, s, jax.random.split(KEY, steps))[0])(state)
    )


@pytest.mark.slow
def test_a_cycle_gan_translates_between_two_normals():
    """N(-2, 1) and N(2, 0.5^2), drawn independently: moments after translation, and cycles."""

    def draw(key, num=128):
        e = jax.random.normal(key, (2, num, 1))
        return {"context": -2.0 + e[0], "x": 2.0 + 0.5 * e[1]}

    terms = {
        "game": (1.0, objectives.generator_loss),
        "cycles": (0.2, partial(objectives.absolute_error, of="cycles")),
    }
    penalties = (objectives.r1(0.1), objectives.r2(0.1))
    players = {
        "critic": Player(
            partial(objectives.critic_loss, penalties=penalties),
            ADAM(),
            ("critic", "inverse_critic"),
        ),
        "generator": Player(
            partial(objectives.weighted_sum, terms=terms), ADAM(), ("generator", "inverse")
        ),
    }
    model = played(gradient_learner(cycle_gan(), players), draw, 1500)
    batch = draw(jax.random.key(7), 2000)
    there, back = model.translate(batch["context"]), model.translate_back(batch["x"])
    assert abs(float(there.mean()) - 2.0) < 0.25 and abs(float(there.std()) - 0.5) < 0.2
    assert abs(float(back.mean()) + 2.0) < 0.4 and abs(float(back.std()) - 1.0) < 0.35
    loss, _ = objectives.absolute_error(model, batch, KEY, of="cycles")
    assert float(loss.mean()) < 0.3


def test_the_terms_of_a_cycle_gan():
    gan, batch = cycle_gan(), {"context": jnp.ones((3, 1)), "x": jnp.linspace(0.0, 1.0, 3)[:, None]}
    variables = perturbed(compiled_start(gan, KEY, batch, KEY, method=objectives.critic_loss))
    model = gan.bind(variables)
    there, back = model.translate(batch["context"]), model.translate_back(batch["x"])
    for of, made in {
        "cycles": (model.translate_back(there), model.translate(back)),
        "identities": (model.translate_back(batch["context"]), model.translate(batch["x"])),
    }.items():
        loss, _ = objectives.absolute_error(model, batch, KEY, of=of)
        wanted = jnp.abs(made[0] - batch["context"]) + jnp.abs(made[1] - batch["x"])
        np.testing.assert_allclose(loss, wanted[:, 0], rtol=1e-5)
    values = model.logit((batch["context"], batch["x"]))
    bound = [("inverse_critic", "context"), ("critic", "x")]
    for column, (name, of) in enumerate(bound):
        alone = applied(
            gan.critic.clone(parent=None), {"params": variables["params"][name]}, batch[of]
        )
        np.testing.assert_allclose(values[:, column], alone[:, 0], rtol=1e-5)
    # Without a context, rows of the first batch are translated.
    np.testing.assert_allclose(
        model.sample(KEY, (4, 2)), jnp.broadcast_to(there[0], (4, 2, 1)), rtol=1e-5
    )
    assert model.sample(KEY, (4,), batch["context"]).shape == (4, 3, 1)


def test_the_l1_term_alone_regresses_to_the_conditional_median():
    """x is c or, with probability 0.3, c + 5: the median is c, the mean c + 1.5."""

    def draw(key, num=256):
        c = jax.random.uniform(key, (num, 1), minval=-1.0)
        jump = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.3, (num, 1))
        return {"context": c, "x": c + 5.0 * jump}

    model = models.Pix2Pix(nn.MLP((16,), (1,)), nn.MLP((4,), (1,)))
    player = Player(objectives.absolute_error, adam(1e-2, 500), ("generator",))
    trained = played(gradient_learner(model, {"generator": player}), draw, 500)
    c = jnp.linspace(-0.9, 0.9, 7)[:, None]
    np.testing.assert_allclose(trained.translate(c), c, atol=0.15)


@pytest.mark.parametrize("of", ["translations", "pairs"])
def test_samples_translate_the_first_batch_whatever_was_trained(of):
    model = models.Pix2Pix(nn.Translator(nn.UNet((4,))), nn.PatchCritic(2, 1))
    batch = dict(zip(("context", "x"), jnp.linspace(-1.0, 1.0, 128).reshape(2, 1, 8, 8, 1)))
    variables = compiled_start(model, KEY, batch, KEY, method=of)
    wanted = applied(model, variables, batch["context"], method="translate")
    drawn = model.apply(variables, KEY, (3,), method="sample")
    np.testing.assert_allclose(drawn, jnp.repeat(wanted, 3, 0), rtol=1e-5, atol=1e-6)


def test_the_critic_of_pix2pix_sees_both_images():
    model = models.Pix2Pix(nn.Translator(nn.UNet((4,))), nn.PatchCritic(2, 1))
    keys = jax.random.split(KEY, 2)
    context, x = (jnp.tanh(jax.random.normal(key, (2, 8, 8, 1))) for key in keys)
    batch = {"context": context, "x": x}
    bound = model.bind(
        perturbed(compiled_start(model, KEY, batch, KEY, method=objectives.critic_loss))
    )
    slopes = jax.grad(lambda pair: bound.logit(pair).sum())((context, x))
    assert all(float(optax.tree.norm(slope)) > 0 for slope in slopes)
    assert bound.sample(KEY, (3,)).shape == (3, 8, 8, 1)
    assert dict(model.data_rules(batch)) == {"x": "signed", "context": "signed"}


def test_wrong_uses_are_named():
    gan, x = cycle_gan(), jnp.ones((3, 1))
    with pytest.raises(DataError, match="`batch` must hold `context`, the images to translate"):
        gan.init(KEY, {"x": x}, KEY, method=objectives.critic_loss)
    with pytest.raises(DgmjaxError, match="`model` must make `translations`; got CycleGAN"):
        gan.init(KEY, {"x": x, "context": x}, KEY, method=objectives.absolute_error)
    with pytest.raises(DgmjaxError, match="`context` must be given before training"):
        gan.init(KEY, x, method="translate")
        gan.apply(gan.init(KEY, x, method="translate"), KEY, (2,), method="sample")
