"""Stages of training: each is its own objective, in one run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import compiled_start

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, Stages, adam, gradient_learner
from dgmjax.training.gradients import Microbatches

VAE = models.DenseVAE((6,), latent=2, hidden=(5,))
BATCH = {"x": np.random.default_rng(0).integers(0, 2, (8, 6)).astype(np.float32)}
FEW, MANY = objectives.elbo, partial(objectives.iwae, num_samples=3)


def learner_of(objective):
    return gradient_learner(VAE, {"model": Player(objective, adam(1e-2, 9))})


@pytest.mark.staggered
@pytest.mark.parametrize("gradients", [None, Microbatches(2)])
def test_each_step_is_that_of_its_stages_objective(gradients):
    learners = [learner_of(o) for o in (Stages((FEW, MANY), (2,)), FEW, MANY)]
    if gradients is not None:
        learners = [learner.with_gradients(gradients) for learner in learners]
    staged, first, second = learners
    state = compiled_start(staged, jax.random.key(1), BATCH)
    apart = state
    step = jax.jit(staged.step)
    logged = [set(learner.step(state, BATCH)[1]) for learner in (first, second)]
    common = logged[0] & logged[1]
    for index in range(4):
        state, metrics = step(state, BATCH)
        apart, expected = (first if index < 2 else second).step(apart, BATCH)
        assert set(metrics) == common
        assert float(metrics["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(apart.params)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_outside_of_training_it_is_the_last_objective():
    found = learner_of(Stages((FEW, MANY), (2,)))
    state = compiled_start(found, jax.random.key(1), BATCH)
    key = jax.random.key(2)
    loss, _ = found.call(found.variables(state), Stages((FEW, MANY), (2,)), BATCH, key)
    np.testing.assert_array_equal(loss, found.call(found.variables(state), MANY, BATCH, key)[0])


def test_a_single_stage_is_its_objective():
    state = learner_of(FEW).init(jax.random.key(1), BATCH)
    plain, _ = learner_of(FEW).step(state, BATCH)
    one, _ = learner_of(Stages((FEW,))).step(state, BATCH)
    jax.tree.map(np.testing.assert_array_equal, plain.params, one.params)


@pytest.mark.parametrize("boundaries", [(), (0,), (5, 5), (3, 2)])
def test_boundaries_must_increase(boundaries):
    objectives = (FEW,) * max(2, len(boundaries) + 1)
    with pytest.raises(DgmjaxError, match=r"^`boundaries` must be"):
        Stages(objectives, boundaries)


def test_stages_need_an_objective():
    with pytest.raises(DgmjaxError, match=r"^`objectives` must hold"):
        Stages(())


def test_flat_cosine_is_constant_and_then_falls_to_zero():
    updates = []
    params, gradient = jnp.zeros(()), jnp.ones(())
    optimiser = adam(0.1, 10, schedule="flat_cosine")
    state = optimiser.init(params)
    for _ in range(11):
        update, state = optimiser.update(gradient, state, params)
        updates.append(-float(update))
    expected = [0.1] * 8 + [0.1 * (1 + np.cos(np.pi * t / 3)) / 2 for t in (1, 2, 3)]
    np.testing.assert_allclose(updates, expected, rtol=1e-4, atol=1e-7)
    assert isinstance(optimiser, optax.GradientTransformation)


def test_losses_of_networks_in_bfloat16_are_means_in_float32():
    """They were rounded to three digits, and stages whose losses differed in type did not run."""
    values = jnp.arange(8) / 16 + 1.0  # all of them exact in bfloat16, but not their mean
    own = lambda model, batch, key: (values.astype(jnp.bfloat16), {"elbo": jnp.bfloat16(1.0)})
    learner = learner_of(Stages((own, FEW), (1,)))
    state = compiled_start(learner, jax.random.key(1), BATCH)
    _, metrics = learner.step(state, BATCH)
    assert metrics["loss"].dtype == jnp.float32 and float(metrics["loss"]) == float(values.mean())


def test_a_stage_makes_no_room_for_what_another_keeps_for_its_gradient():
    """Zeros for the activations of another stage took as long as a step of one sample."""
    many = partial(objectives.iwae, num_samples=500)
    learner = learner_of(Stages((FEW, many), (2,)))
    state = jax.eval_shape(learner.init, jax.random.key(0), BATCH)
    equations = jax.make_jaxpr(learner.step)(state, BATCH).eqns
    sizes = [v.aval.size for e in equations if e.primitive.name == "cond" for v in e.outvars]
    assert sizes and max(sizes) < 8 * 500
