"""Progressive GAN: what fades in, what is computed, and what goes on at a boundary."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.nn.progressive import averaged
from dgmjax.nn.rescale import enlarged
from dgmjax.training import Player, gradient_learner
from dgmjax.training.gradients import computing_in

KEY, SHAPE = jax.random.key(0), (16, 16, 1)
GENERATOR = nn.ProgressiveGenerator(SHAPE, 2, 4)
FEATURES = nn.ProgressiveFeatures(SHAPE, 2, 4)
Z = jax.random.normal(KEY, (3, 2, 5))
X = jnp.tanh(jax.random.normal(jax.random.key(1), (6, *SHAPE)))


@pytest.fixture(scope="module")
def networks():
    """Functions of (input, growth), compiled."""
    found = []
    for network, x in ((GENERATOR, Z), (FEATURES, X)):
        variables = perturbed(compiled_start(network, KEY, x))
        found.append(jax.jit(lambda x, g, n=network, v=variables: n.apply(v, x, g)))
    return found


def test_a_generator_fades_from_larger_pixels_to_smaller(networks):
    images = [networks[0](Z, float(level)) for level in range(3)]
    for level, image in enumerate(images):
        assert image.shape == (3, 2, *SHAPE)
        factor = 2 ** (2 - level)
        np.testing.assert_allclose(image, enlarged(averaged(image, factor), factor), atol=1e-5)
        assert factor == 4 or float(jnp.abs(image - images[level - 1]).max()) > 0.01
    for level, share in ((0, 0.25), (1, 0.75)):
        mixed = (1.0 - share) * images[level] + share * images[level + 1]
        np.testing.assert_allclose(networks[0](Z, level + share), mixed, atol=1e-5)


def test_a_critic_sees_the_pixels_of_its_level(networks):
    values = [networks[1](X, float(level)) for level in range(3)]
    for level, value in enumerate(values):
        seen = nn.coarsened(X, float(level), 3)
        np.testing.assert_allclose(networks[1](seen, float(level)), value, rtol=1e-4, atol=1e-4)
        assert value.shape == (6, 4)
    np.testing.assert_allclose(networks[1](X, 1e-6), values[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(networks[1](X, 1.0 + 1e-6), values[1], rtol=1e-3, atol=1e-3)
    assert float(jnp.abs(values[1] - values[0]).max()) > 0.01


@pytest.mark.parametrize("growth", [0.0, 0.25, 1.0, 1.5, 2.0])
def test_a_level_that_is_known_is_the_one_that_is_chosen(networks, growth):
    for index, (network, x) in enumerate(((GENERATOR, Z), (FEATURES, X))):
        variables = perturbed(compiled_start(network, KEY, x))
        with nn.at_level(int(np.ceil(growth))):
            program = jax.make_jaxpr(lambda x, n=network, v=variables: n.apply(v, x, growth))(x)
            known = network.apply(variables, x, growth)
        assert "cond" not in {equation.primitive.name for equation in program.eqns}
        np.testing.assert_allclose(known, networks[index](x, growth), rtol=1e-4, atol=1e-4)


def gan(boundaries=(4, 8), fade=2, shape=SHAPE):
    generator, features = (
        network(shape, 2, 4) for network in (nn.ProgressiveGenerator, nn.ProgressiveFeatures)
    )
    return models.ProgressiveGAN(5, generator, features, boundaries, fade)


SMALL = X[:, :8, :8]
"""Images that grow once: they compile fast."""


def test_growth_is_a_function_of_the_step():
    growth = jax.vmap(lambda step: gan().init_with_output(KEY, step, method="growth_at")[0])
    np.testing.assert_allclose(
        growth(jnp.arange(12)), [0, 0, 0, 0, 0.5, 1, 1, 1, 1.5, 2, 2, 2], atol=1e-6
    )
    whole, _ = gan((0, 0), 1).init_with_output(KEY, 0, method="growth_at")
    assert float(whole) == 2.0


def penalised(model, batch, key):
    return objectives.critic_loss(model, batch, key, penalties=(objectives.r1(1.0),))


@pytest.mark.slow
def test_slopes_through_the_stages_are_those_of_finite_differences():
    """Of the penalty of the critic; levels that are not in use have none."""
    with jax.enable_x64(True):
        module, x = gan((4,), shape=(8, 8, 1)), jnp.asarray(SMALL, jnp.float64)
        variables = compiled_start(module, KEY, {"x": x}, KEY, method=penalised)
        params = perturbed({"params": variables["params"]})["params"]
        params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
        # Samples are constants to the critic, so that the generator stays where it is.
        flat, back = jax.flatten_util.ravel_pytree(params["features"])

        @jax.jit
        @jax.value_and_grad
        def loss(flat, step):
            moved = {"params": {**params, "features": back(flat)}, "growth": variables["growth"]}
            batch = {"x": x, "step": step}
            found, _ = module.apply(moved, batch, KEY, method=penalised, mutable=["growth"])
            return found[0].sum()

        for step in (2, 4):  # at the coarser level, and half-way to the finer
            direction = jax.random.normal(jax.random.key(step), flat.shape)
            (up, _), (down, _) = (loss(flat + sign * 1e-6 * direction, step) for sign in (1, -1))
            _, slope = loss(flat, step)
            np.testing.assert_allclose(slope @ direction, (up - down) / 2e-6, rtol=1e-4)
        of = lambda step, name: float(optax.tree.norm(back(loss(flat, step)[1])[name]))
        assert of(2, "from_image_0") > 0.0 == of(2, "from_image_1")
        assert of(4, "from_image_0") > 0.0 < of(4, "from_image_1")


def test_parameters_and_moments_go_on_at_a_boundary():
    adam = optax.adam(1e-2, b1=0.5)
    players = {
        "critic": Player(objectives.critic_loss, adam, ("features", "head")),
        "generator": Player(objectives.generator_loss, adam, ("generator",)),
    }
    learner = gradient_learner(gan((2,), 1, (8, 8, 1)), players)
    state, step = jax.jit(learner.init)(KEY, {"x": SMALL}), jax.jit(learner.step)
    seen = []
    for _ in range(4):
        before = state
        state, _ = step(state, {"x": SMALL})
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, state.params)
        seen.append([any(jax.tree.leaves(moved["generator"][f"to_image_{i}"])) for i in range(2)])
    assert int(state.skipped) == 0
    # The convolution to images of a level that has faded out goes on by its momentum alone.
    assert seen == [[True, False], [True, False], [True, True], [True, True]]
    assert float(state.collections["growth"]["value"]) == 1.0
    assert learner.bind(state).sample(KEY, (2,)).shape == (2, 8, 8, 1)


def test_wrong_sizes_are_named():
    with pytest.raises(DgmjaxError, match="`boundaries` must have a step for each of 2 levels"):
        gan((3,)).init(KEY, {"x": X}, KEY, method=penalised)
    with pytest.raises(DgmjaxError, match="`boundaries` must be increasing"):
        gan((8, 4)).init(KEY, {"x": X}, KEY, method=penalised)
    with pytest.raises(DgmjaxError, match="`fade` must be at least 1"):
        gan(fade=0).init(KEY, {"x": X}, KEY, method=penalised)
    with pytest.raises(DgmjaxError, match="`x` must be images"):
        FEATURES.init(KEY, X[:, :8, :8])


@pytest.mark.parametrize("network, x", [(GENERATOR, Z), (FEATURES, X)])
def test_levels_compute_in_bfloat16(network, x):
    """The share of a level is float32 and the coarsest reads none: levels differed in type."""
    variables = jax.eval_shape(network.init, KEY, x)

    def look(variables, x, growth):
        with computing_in(jnp.dtype("bfloat16")):
            return network.apply(variables, x, growth)

    assert jax.eval_shape(look, variables, x, 0.5).dtype == jnp.float32
