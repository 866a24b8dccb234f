"""Attacks of the table stay inside of their balls, and one that knows the defence gets through."""

from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from dgmjax.experiments.applications import pixel_defend as experiment
from dgmjax.experiments.shared.options import Epochs

from dgmjax import applications as defence
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def built():
    return catalogue.build(
        experiment.pixel_defend, {"channels": 4}, seed=0, tiny=True, data_dir=None
    )


@pytest.fixture(scope="module")
def setting(built):
    rows = [row for row in built.figures.values()]
    return rows[0].args[0]


def linear(w):
    """A classifier with two classes in use: the sign of w . (x - 1/2)."""

    def logits(x):
        score = ((x - 0.5) * w).sum((1, 2, 3))
        return jax.numpy.stack([-score, score, *[0 * score - 1e3] * 8], -1)

    return logits


@pytest.mark.parametrize("kind", experiment.ATTACKS)
def test_attacks_stay_inside_and_those_with_gradients_lower_the_margin(kind):
    draws = np.random.default_rng(0)
    w = draws.normal(size=(4, 4, 1)).astype(np.float32)
    x = draws.uniform(0.3, 0.7, (6, 4, 4, 1)).astype(np.float32)
    logits = linear(w)
    label = np.asarray(logits(x).argmax(-1))
    moved = experiment.ATTACKS[kind](logits, x, label, 0.1, KEY, 5)
    if kind not in experiment.WITHOUT_BALL:
        assert np.abs(moved - x).max() <= 0.1 + 1e-6
    if kind != "noise":
        own = lambda x: np.take_along_axis(np.asarray(logits(x)), label[:, None], 1)[:, 0]
        assert np.all(own(moved) <= own(x) + 1e-5) and np.any(own(moved) < own(x))


def test_what_has_no_ball_is_cut_to_it(setting):
    x = np.full((8, 8, 8, 1), 5, np.uint8)
    test = {"x": x, "label": np.zeros(8, int)}
    dataset = SimpleNamespace(splits={"test": test})
    calls = []

    def call(method, *arguments):
        calls.append(method)
        return arguments[0] + 9.0 if len(arguments) == 3 else np.zeros(len(arguments[0]), int)

    trained = Mock(experiment=SimpleNamespace(dataset=dataset), call=call)  # it hashes
    for radius in (1, 2):
        found = experiment.attacked(setting, trained, "plain", "deepfool", radius)
        np.testing.assert_array_equal(found.k, x + radius)
        assert np.abs(found.purified - found.k).max() <= setting.defence_radius
    attack = experiment.attack(setting, "plain", "deepfool", 0)
    assert calls.count(attack) == 1


def test_the_attack_on_the_defence_reads_purified_images(built, setting):
    """Its loss is the mean over noise of the classifier's loss on what it would purify."""
    w = np.random.default_rng(1).normal(size=(8, 8, 1)).astype(np.float32)
    x = built.dataset.splits["test"]["x"][:3].astype(np.float32) / 16
    label = np.array([0, 1, 1])
    found = experiment.on_defence(setting, linear(w), label, KEY)(x)
    losses = []
    for key in jax.random.split(KEY, setting.draws):
        noise = jax.random.uniform(key, x.shape, minval=-1.0, maxval=1.0)
        k = np.clip(np.round(16 * x + noise), 0, 16)
        purified = defence.purify(setting.density.model.density(), k, setting.defence_radius)
        losses.append(defence.cross_entropy(linear(w), label)(purified / 16))
    np.testing.assert_allclose(found, np.mean(losses, 0), rtol=1e-5)


@pytest.mark.slow
def test_the_second_classifier_sees_attacked_images(built):
    train = built.dataset.splits["train"]
    batch = built.transform({name: array[:8] for name, array in train.items()}, KEY)
    state = built.learner().init(KEY, batch)
    assert set(state.params) == {"plain", "robust"}

    def value(radius, params):
        objective = partial(experiment.both_errors, radius)
        return built.module.apply({"params": params}, batch, KEY, method=objective)[0]

    assert np.all(value(0.1, state.params) >= value(None, state.params) - 1e-6)
    slopes = jax.grad(lambda params: value(0.1, params).sum())(state.params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slopes["plain"]))


def test_without_queries_no_squares_are_searched(setting):
    names = lambda setting: {
        row.metric for row in experiment.table(setting, "plain", (2,), "digits")
    }
    with_squares = names(setting._replace(queries=2))
    assert with_squares - names(setting._replace(queries=0)) == {"accuracy_square_2"}


@pytest.mark.parametrize(
    "given, message",
    [
        ({"radii": ()}, "`radii` must name at least one"),
        ({"radii": (8, 8)}, "`radii` must differ"),
        ({"queries": -1}, "`queries` must be at least 0"),
        ({"density": None}, "`density` must be the run folder of a PixelCNN"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(DgmjaxError, match=message):
        experiment.pixel_defend(**given, shared=Epochs())
