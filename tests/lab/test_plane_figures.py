"""Figures of the plane draw data, samples and densities in the units of the data."""

import jax
import numpy as np
import optax
import pytest
from scipy import stats

from dgmjax import data, lab, models, objectives
from dgmjax.data.dataset import Dataset, describe
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player

MEAN, DEVIATION = np.array([10.0, -30.0]), np.array([5.0, 0.5])


@pytest.fixture(scope="module")
def trained():
    """A standard normal over standardised points: in the units of the data, known exactly."""
    return untrained(models.StandardNormal((2,)))


def untrained(module):
    points = np.random.default_rng(0).normal(MEAN, DEVIATION, size=(4000, 2)).astype(np.float32)
    splits = {"train": {"x": points}, "test": {"x": points[:3000]}}
    dataset = Dataset("points", splits, describe(splits, source="normal", splits="none"))
    experiment = lab.Experiment(
        model="normal",
        module=module,
        players={"model": Player(objectives.negative_log_likelihood, optax.sgd(0.0))},
        dataset=dataset,
        transform=data.Standardise.fit(points),
        steps=1,
        batch_size=100,
    )
    learner = experiment.learner()
    state = jax.jit(learner.init)(jax.random.key(0), {"x": points[:100]})
    return lab.Trained(experiment, learner, state)


def test_a_density_is_drawn_in_the_units_of_the_data(trained):
    axes = lab.figures.density(trained).axes[0]
    x_min, x_max, y_min, y_max = axes.images[0].get_extent()
    assert x_min < 10 < x_max and y_min < -30 < y_max
    drawn = np.asarray(axes.images[0].get_array())
    columns, rows = np.linspace(x_min, x_max, 200), np.linspace(y_min, y_max, 200)
    scale = trained.experiment.dataset.splits["train"]["x"].std(0)
    mean = trained.experiment.dataset.splits["train"]["x"].mean(0)
    exact = np.outer(
        stats.norm.pdf(rows, mean[1], scale[1]), stats.norm.pdf(columns, mean[0], scale[0])
    )
    np.testing.assert_allclose(drawn, exact, rtol=2e-3, atol=1e-6)
    points = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(points.mean(0), MEAN, atol=0.6)


def test_samples_at_a_temperature(trained):
    flow = untrained(models.Flow((2,), (models.Reverse(2), models.Reverse(2))))
    cold = flow.sample(2000, temperature=0.5)
    np.testing.assert_allclose(cold.mean(0), MEAN, atol=0.6)
    np.testing.assert_allclose(cold.std(0), 0.5 * DEVIATION, rtol=0.1)
    np.testing.assert_array_equal(flow.sample(5), trained.sample(5))
    with pytest.raises(DgmjaxError, match=r"^`temperature` must be 1 for StandardNormal"):
        trained.sample(5, temperature=0.5)


def test_samples_stand_over_data_of_the_same_scale(trained):
    axes = lab.figures.samples(trained).axes[0]
    reference, drawn = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    np.testing.assert_array_equal(reference, trained.experiment.dataset.splits["test"]["x"][:2000])
    np.testing.assert_allclose(drawn.mean(0), MEAN, atol=0.6)
    np.testing.assert_allclose(drawn.std(0), DEVIATION, rtol=0.1)
