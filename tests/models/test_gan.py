"""GAN: prior and generator behind a fixed observation, classes, names of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from scrambling import compiled_start

from dgmjax import data, evaluation, models, nn, objectives
from dgmjax.contracts import implicit
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.training import Player, gradient_learner
from dgmjax.training.checks import check_training_data

KEY = jax.random.key(0)
PENALTIES = (objectives.r1, objectives.r2, objectives.on_lines, objectives.dragan)


def test_a_fixed_observation_evaluates_it_as_a_latent_variable_model():
    """A linear generator is PPCA, whose density is known: annealed chains stay below, near it."""
    gan = models.GAN(2, nn.MLP((), (3,)), nn.MLP((4,), (1,)))
    variables = compiled_start(gan, KEY, KEY, (2,), method="sample")
    model = gan.bind(variables)
    layer = variables["params"]["generator"]["Dense_0"]
    w, b = np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"])
    x = jax.random.normal(KEY, (8, 3))
    exact = scipy.stats.multivariate_normal(b, w.T @ w + 0.5**2 * np.eye(3)).logpdf(x)
    observed = evaluation.FixedObservation(model, 0.5)
    how = evaluation.Annealing(chains=32, temperatures=200)
    loss, _ = jax.jit(lambda x: evaluation.annealed_bound(observed, {"x": x}, KEY, how))(x)
    np.testing.assert_allclose(-loss, exact, atol=0.15)
    z = model.prior().sample(seed=KEY, sample_shape=(5,))
    assert z.shape == (5, 2) and model.generate(z).shape == (5, 3)


def conditional():
    generator = nn.NormalisedMLP((8,), (2,))
    critic = nn.Critic(nn.NormalisedMLP((8,), None), weights="spectral")
    return models.GAN(3, generator, critic, num_classes=4)


def both(model, batch, key):
    return objectives.critic_loss(model, batch, key), objectives.generator_loss(model, batch, key)


def test_a_conditional_game_plays_with_the_classes_of_the_batch():
    gan, label = conditional(), jnp.array([0, 3, 3, 1, 2])
    batch = {"x": jax.random.normal(KEY, (5, 2)), "label": label}
    variables = compiled_start(gan, KEY, batch, KEY, method=both)

    @jax.jit
    def play(variables, label):
        model, context = gan.bind(variables), jax.nn.one_hot(label, 4)
        batch_of = {**batch, "label": label}
        of_batch = implicit(model, batch_of)
        loss, _ = objectives.generator_loss(model, batch_of, KEY)
        samples = of_batch.sample(KEY, (5,))
        return {
            "logit": (of_batch.logit(batch["x"]), model.logit(batch["x"], context)),
            "samples": (samples, model.sample(KEY, (), context)),
            "loss": (loss, jax.nn.softplus(-model.logit(samples, context))),
        }

    found, other = play(variables, label), play(variables, (label + 1) % 4)
    for name in ("logit", "samples"):
        np.testing.assert_array_equal(*found[name])
        assert bool((other[name][0] != found[name][0]).all())
    np.testing.assert_allclose(*found["loss"], rtol=1e-5)
    context = jax.nn.one_hot(label, 4)
    sample = lambda *a: jax.eval_shape(lambda v: gan.apply(v, KEY, *a, method="sample"), variables)
    assert sample((7, 2)).shape == (7, 2, 2)
    assert sample((7,), context).shape == (7, 5, 2)
    assert dict(gan.data_rules(batch))["label"] == range(4)


@pytest.mark.slow
def test_a_conditional_game_learns_the_class_means():
    """Two classes at -2 and 2: after training, samples of a class are near its own points."""
    gan = models.GAN(
        2,
        nn.NormalisedMLP((16,), (1,)),
        nn.Critic(nn.NormalisedMLP((32,), None)),
        num_classes=2,
    )
    rng = np.random.default_rng(0)
    label = np.arange(128) % 2
    x = (4.0 * label - 2.0)[:, None] + 0.3 * rng.normal(size=(128, 1))
    batch = {"x": jnp.asarray(x, jnp.float32), "label": jnp.asarray(label)}
    options = {"game": "relativistic"}
    critic = lambda *a: objectives.critic_loss(
        *a, **options, penalties=(objectives.r1(0.5), objectives.r2(0.5))
    )
    generator = lambda *a: objectives.generator_loss(*a, **options)
    players = {
        "critic": Player(critic, optax.adam(5e-3, b1=0.0), ("critic",)),
        "generator": Player(generator, optax.adam(5e-3, b1=0.0), ("generator",)),
    }
    learner = gradient_learner(gan, players)
    state, step = learner.init(KEY, batch), jax.jit(learner.step)
    for _ in range(800):
        state, _ = step(state, batch)
    model = learner.bind(state)
    for which, mean in enumerate((-2.0, 2.0)):
        samples = model.sample(KEY, (400,), jax.nn.one_hot(jnp.array(which), 2))
        assert float(samples.mean()) == pytest.approx(mean, abs=0.5)


def test_a_network_with_a_name_keeps_it():
    gan = models.GAN(2, nn.MLP((4,), (2,)), nn.MLP((4,), (1,), name="discriminator"))
    variables = compiled_start(gan, KEY, {"x": jnp.ones((3, 2))}, KEY, method=both)
    assert sorted(variables["params"]) == ["discriminator", "generator"]


def test_wrong_uses_are_named():
    gan = conditional()
    x, label = jnp.ones((5, 2)), jnp.array([0, 1, 2, 3, 3])
    with pytest.raises(DataError, match="`batch` must hold `label`"):
        gan.init(KEY, {"x": x}, KEY, method=both)
    model = gan.bind(compiled_start(gan, KEY, {"x": x, "label": label}, KEY, method=both))
    with pytest.raises(DgmjaxError, match="`context` must be given for this model; got none"):
        model.generate(jnp.ones((2, 3)))
    with pytest.raises(DgmjaxError, match=r"`label` must be whole numbers in 0 \.\. 3"):
        model.of_classes(jnp.array([4]))
    with pytest.raises(DgmjaxError, match="`sample_shape` must be that of the classes"):
        model.of_classes(label).sample(KEY, (3,))
    plain = models.GAN(2, nn.MLP((4,), (2,)), nn.MLP((4,), (1,)))
    with pytest.raises(DgmjaxError, match="`context` must not be given for this model; got one"):
        plain.init(KEY, x, jnp.ones((3, 4)), method="logit")
    with pytest.raises(DgmjaxError, match="`num_classes` must be at least 1"):
        models.GAN(2, plain.generator, plain.critic, num_classes=0).init(KEY, x, method="logit")


@pytest.mark.parametrize("generator", [nn.DCGANGenerator, nn.ResidualGenerator])
def test_images_of_another_range_than_the_generators_are_refused(generator):
    """Grey values in [0, 1] for a generator in [-1, 1] would train to images of the wrong grey."""
    gan = models.GAN(2, generator((8, 8, 1), 2), nn.Critic(nn.DCGANFeatures(2)))
    arrays = {"x": np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)}
    check_training_data(gan, arrays, data.Scale(low=-1.0))
    for transform in (data.Scale(), data.Scale(low=-2.0)):
        with pytest.raises(DataError, match=r"`x` must be floating point in \[-1, 1\]"):
            check_training_data(gan, arrays, transform)


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("make", PENALTIES)
def test_penalties_of_critics_that_keep_a_state(make):
    """The slope is taken inside of the loss, and must leave no tracers in the collections."""
    critic = nn.NormalisedMLP((8,), (1,), weights="spectral", normalisation="batch")
    gan = models.GAN(2, nn.NormalisedMLP((8,), (2,), normalisation="batch"), critic)
    loss = lambda *a: objectives.critic_loss(*a, penalties=(make(0.1),))
    players = {
        "critic": Player(loss, optax.adam(1e-3), ("critic",)),
        "generator": Player(objectives.generator_loss, optax.adam(1e-3), ("generator",)),
    }
    learner = gradient_learner(gan, players)
    batch = {"x": jax.random.normal(KEY, (16, 2))}
    state, step = jax.jit(learner.init)(KEY, batch), jax.jit(learner.step)
    for _ in range(3):
        state, metrics = step(state, batch)
    assert sorted(state.collections) == ["batch_stats", "spectral"]
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((state.params, state.collections)))
    assert float(metrics["critic/gradient_penalty"]) > 0
