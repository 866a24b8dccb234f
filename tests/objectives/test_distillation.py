"""Distillation: divergences against quadrature, and a student that comes to draw as its teacher."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from scrambling import applied, compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, fit, gradient_learner

KEY = jax.random.key(0)


def by_quadrature(base, forward, student, teacher, reach, num=121):
    """KL(student || teacher) = E log p_S(x) - log p_T(x), x = forward(z), by trapezia over z."""
    axis = np.linspace(-reach, reach, num)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    weights = base.pdf(z).prod(-1) * (axis[1] - axis[0]) ** 2
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    ratio = jax.jit(lambda z: (lambda x: student(x) - teacher(x))(forward(z)))
    return float((weights * np.asarray(ratio(jnp.asarray(z, jnp.float32)))).sum())


def causal(context_features=0):
    layers = (nn.Pointwise(nn.Dense(4)), nn.Pointwise(jnp.tanh))
    if context_features:
        layers = (*layers, nn.AddContext(4, context_features))
    return nn.CausalNetwork(layers, 2, context_features=context_features, event_shape=(2,))


@pytest.fixture(scope="module")
def pair():
    """A student of two steps over logistic noise, and an autoregressive teacher, both scrambled."""
    student = models.ParallelModel((2,), (causal(), causal()))
    teacher = models.AutoregressiveModel((2,), causal(), families.Normal())
    make = lambda model, seed: perturbed(model.init(KEY), seed, 0.3)
    return (student, make(student, 1)), models.Teacher(teacher, make(teacher, 2))


def log_prob(model, variables):
    return partial(model.apply, variables, method="log_prob")


def test_the_divergence_of_autoregressive_models_is_that_of_quadrature(pair):
    (student, variables), teacher = pair
    forward = lambda z: student.apply(variables)._forward(z)[0]
    exact = by_quadrature(
        scipy.stats.logistic, forward, log_prob(student, variables), log_prob(*teacher), 24.0, 241
    )
    batch = {"x": jnp.zeros((20_000, 2))}
    method = partial(objectives.distillation, teacher=teacher)
    loss, metrics = jax.jit(partial(student.apply, method=method))(variables, batch, KEY)
    np.testing.assert_array_equal(loss, metrics["kl"])
    error = float(loss.std()) / np.sqrt(20_000)
    assert float(loss.mean()) == pytest.approx(exact, abs=4 * error)
    # Values of each site in closed form or averaged: less noise than log p_S - log p_T.
    x, log_s = student.apply(variables).sample_and_log_prob(seed=KEY, sample_shape=20_000)
    plain = log_s - log_prob(*teacher)(x)
    assert float(plain.mean()) == pytest.approx(exact, abs=4 * float(plain.std()) / np.sqrt(20_000))
    assert float(loss.std()) < float(plain.std())


def test_the_student_is_a_density_that_its_samples_and_conditionals_follow(pair):
    (student, variables), _ = pair
    q = applied(student, variables)
    x, log_p = q.sample_and_log_prob(seed=KEY, sample_shape=(5, 3))
    np.testing.assert_allclose(q.log_prob(x), log_p, rtol=1e-4, atol=1e-4)
    again, conditional = q.draw_and_conditionals(KEY, (5, 3))
    np.testing.assert_allclose(again, x, atol=1e-5)
    # Given the noise, log p(x) is the sum of the conditionals at x.
    np.testing.assert_allclose(conditional.log_prob(x).sum(-1), log_p, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_maf_teacher_teaches_an_iaf_student_in_the_plane():
    teacher, student = models.MAF(2, 2, (8,)), models.IAF(2, 2, (16,))
    given = perturbed(compiled_start(teacher, KEY), 3, 0.4)
    loss = partial(objectives.distillation, teacher=models.Teacher(teacher, given))
    learner = gradient_learner(
        student, {"model": Player(loss, optax.adam(optax.cosine_decay_schedule(1e-2, 800)))}
    )
    data = {"x": np.zeros((128, 2), np.float32)}
    start = jax.jit(learner.init)(KEY, {"x": jnp.zeros((2, 2))})

    def exact(state):
        made = learner.variables(state)
        forward = lambda z: student.apply(made).bijector.forward(z)
        densities = log_prob(student, made), log_prob(teacher, given)
        return by_quadrature(scipy.stats.norm, forward, *densities, 6.0)

    before = exact(start)
    result = fit(learner, data, key=KEY, steps=800, batch_size=128)
    after = exact(result.state)
    assert before > 1.0 and after < before / 30
    values, _ = learner.call(
        learner.variables(result.state), loss, {"x": jnp.zeros((20_000, 2))}, KEY
    )
    assert float(values.mean()) == pytest.approx(after, abs=4 * float(values.std()) / 141)


def test_the_contrast_is_the_divergence_from_another_class():
    """Of two classes the other one is known."""
    density = lambda model: models.ClassConditional(model, 2)
    student = density(models.ParallelModel((2,), (causal(2),)))
    teacher = density(
        models.AutoregressiveModel((2,), causal(2), families.Normal(), context_features=2)
    )
    label = jnp.array([0, 1, 1])
    batch = {"x": jnp.zeros((3, 2)), "label": label, "length": jnp.array([2, 2, 1])}
    init = lambda model, seed: perturbed(model.init(KEY, jnp.zeros((3, 2))), seed)
    variables, expert = init(student, 1), models.Teacher(teacher, init(teacher, 2))
    run = lambda batch, **options: student.apply(
        variables, batch, KEY, method=partial(objectives.distillation, teacher=expert, **options)
    )
    loss, metrics = run(batch, contrast=0.3)
    np.testing.assert_allclose(loss, metrics["kl"] - 0.3 * metrics["contrast"], rtol=1e-5)

    class Swapped:
        module = teacher
        __call__ = lambda self, context: expert(context)
        context = lambda self, label: expert.context(1 - label)

    swapped, _ = applied(
        student, variables, batch, KEY, method=partial(objectives.distillation, teacher=Swapped())
    )
    np.testing.assert_allclose(metrics["contrast"], swapped, rtol=1e-4)
    # Sites after the end do not count: the last row has one of two.
    longer, _ = run({**batch, "length": jnp.array([2, 2, 2])})
    shorter, _ = run(batch)
    np.testing.assert_allclose(longer[:2], shorter[:2], rtol=1e-5)
    assert abs(float(longer[2] - shorter[2])) > 1e-3
    weighted, metrics = run(batch, power=2.0)
    np.testing.assert_allclose(weighted, metrics["kl"] + 2.0 * metrics["power"], rtol=1e-5)


def test_the_power_loss_ignores_the_phase_and_sees_the_loudness():
    t = np.arange(1024)
    tone = lambda phase, scale: jnp.asarray(scale * np.cos(2 * np.pi * t / 16 + phase))[None]
    loss = jax.jit(objectives.power_loss)
    assert float(loss(tone(1.0, 300.0), tone(0.0, 300.0))[0]) < 1e-3
    # By hand: windows of 256 samples, 128 apart, and a floor at 1e-4 of the mean power.
    real, louder = (np.asarray(tone(0.0, scale))[0] for scale in (300.0, 600.0))
    powers = [
        np.stack(
            [
                np.abs(np.fft.rfft(np.hanning(256) * (x - x.mean())[i : i + 256])) ** 2
                for i in range(0, 769, 128)
            ]
        )
        for x in (real, louder)
    ]
    floor = 1e-4 * powers[0].mean()
    wanted = ((np.log(powers[1] + floor) - np.log(powers[0] + floor)) ** 2).mean()
    assert float(loss(louder[None], real[None])[0]) == pytest.approx(wanted, rel=1e-3)
    slope = jax.grad(lambda x: loss(x, tone(0.0, 300.0)).sum())(jnp.zeros((1, 1024)))
    assert np.isfinite(slope).all()


def test_parallel_wavenet_in_levels():
    """Samples are levels, and a step of training has finite gradients."""
    options = {"context_features": 2, "local_features": 1, "hop": 4}
    model = models.ParallelWaveNet(
        (32,), flows=2, channels=4, layers=2, levels=65536, initial_scale=0.1, **options
    )
    context = jnp.ones((3, 10))
    variables = jax.jit(partial(model.init, method="sample"))(KEY, KEY, (), context)
    draw = jax.jit(partial(model.apply, method="sample"), static_argnums=2)
    x = np.asarray(draw(variables, KEY, (5,), context))
    assert x.shape == (5, 3, 32) and (x == np.round(x)).all() and 0 <= x.min() < x.max() <= 65535
    assert x.std() / 32768 == pytest.approx(0.1 * np.pi / np.sqrt(3), rel=0.5)


@pytest.mark.parametrize(
    "options, teacher, argument",
    [
        ({"num_samples": 0}, None, "num_samples"),
        ({"contrast": -1.0}, None, "contrast"),
        ({"power": -1.0}, None, "power"),
        ({"contrast": 0.1}, None, "batch"),
        ({}, models.MAF(3, 1, (4,)), "teacher"),
        ({"contrast": 0.1}, models.MAF(2, 1, (4,)), "contrast"),
    ],
)
def test_bad_distillation_is_named(pair, options, teacher, argument):
    (student, variables), expert = pair
    if teacher is not None:
        expert = models.Teacher(teacher, compiled_start(teacher, KEY))
    method = partial(objectives.distillation, teacher=expert, **options)
    with pytest.raises(DgmjaxError, match=f"`{argument}`"):
        student.apply(variables, {"x": jnp.zeros((2, 2))}, KEY, method=method)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: models.ParallelWaveNet((8,), layers=4), "layers"),
        (lambda: models.ParallelWaveNet((8, 1)), "event_shape"),
        (lambda: models.ParallelWaveNet((64,), flows=0), "flows"),
        (lambda: models.ParallelModel((2,), (), "logistic").init(KEY, method="__call__"), "steps"),
        (lambda: models.ParallelModel((2,), (causal(),), "other").init(KEY), "base"),
        (lambda: objectives.power_loss(jnp.zeros((1, 4)), jnp.zeros((1, 5))), "x"),
    ],
)
def test_bad_students_are_named(make, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}`"):
        make()
