"""The strip of a deformed grid; interpolations and temperatures of an untrained flow."""

import types

import jax
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import models, plotting
from dgmjax.data import Identity
from dgmjax.errors import DataError
from dgmjax.lab import flow_figures as flows


class Shown:
    """What figures ask of a trained model."""

    def __init__(self, module, x):
        self.variables = compiled_start(module, jax.random.key(0), x, method="log_prob")
        self.module, self.x = module, x
        dataset = types.SimpleNamespace(info={"value_range": [0.0, 1.0]}, name="test")
        self.experiment = types.SimpleNamespace(
            model="Flow", dataset=dataset, transform=Identity(), evaluation_transform=None
        )

    def arrays(self, split):
        return {"x": self.x}

    def call(self, method, *arguments):
        return self.module.apply(self.variables, *arguments, method=method)


def test_grid_is_drawn_after_every_layer():
    step = models.Composed((models.ActNormLayer(2), models.Reverse(2)))
    layers = (models.Repeated(step, 2), models.Reverse(2))
    shown = Shown(models.Flow((2,), layers), np.random.default_rng(0).normal(size=(9, 2)))
    figure = flows.grid_through_layers(shown, limit=1.0, lines=3)
    assert [axes.get_title() for axes in figure.axes] == ["base", "layer 1", "layer 2", "data"]
    assert len(figure.axes[0].lines) == 6
    last = np.concatenate([line.get_xydata() for line in figure.axes[-1].lines])
    corner = shown.module.bind(shown.variables).bijector().forward(np.array([1.0, 1.0]))
    assert np.abs(last - np.asarray(corner)).sum(1).min() < 1e-5


@pytest.mark.parametrize(
    "stages, word", [(np.zeros((3, 2)), "stages"), (np.zeros((0, 2, 2, 2)), "stages")]
)
def test_bad_stages_are_named(stages, word):
    with pytest.raises(DataError, match=f"^`{word}`"):
        plotting.deformation(stages)


def test_interpolations_begin_and_end_at_the_images():
    x = np.random.default_rng(0).uniform(size=(4, 2, 2, 1)).astype(np.float32)
    layers = (models.ActNormLayer(1, 3), models.LinearLayer(1, "triangular", 3))
    shown = Shown(models.Flow((2, 2, 1), layers), x)
    weights = np.linspace(0.0, 1.0, 3, dtype=np.float32)
    between = shown.call(flows._interpolated, x[:2], x[2:], weights)
    np.testing.assert_allclose(between[:, 0], x[:2], atol=1e-5)
    np.testing.assert_allclose(between[:, -1], x[2:], atol=1e-5)
    assert len(flows.interpolations(shown, columns=3).axes) == 1
    names = [label.get_text() for label in flows.temperatures(shown).axes[0].get_yticklabels()]
    assert names == ["T = 0.5", "T = 0.7", "T = 0.9", "T = 1"]
    cold = shown.call(flows._sampler(5), jax.random.key(0), np.array([0.0, 1.0], np.float32))
    assert np.ptp(np.asarray(cold[0]), axis=0).max() < 1e-6 < np.ptp(np.asarray(cold[1]))
