"""Figures of a latent space, drawn for a small trained VAE and looked at by their pixels."""

import jax
import numpy as np
import pytest

from dgmjax.errors import DgmjaxError
from dgmjax.plotting import latent_recipes, to_png
from dgmjax.training import Trained, catalogue


@pytest.fixture(scope="module")
def trained():
    experiment = catalogue.build(catalogue.load_experiment("vae_digits"), {"tiny": True})
    learner = experiment.learner()
    x = np.float32(experiment.dataset.splits["train"]["x"][:4] > 7)
    return Trained(experiment, learner, learner.init(jax.random.key(0), {"x": x}))


@pytest.mark.parametrize("name", ["traversals", "interpolations", "posterior_scatter"])
def test_figures_are_drawn(trained, name):
    figure = getattr(latent_recipes, name)(trained)
    assert to_png(figure).startswith(b"\x89PNG")
    assert trained.experiment.model in figure.get_suptitle()


def test_interpolations_begin_and_end_at_the_codes_of_the_data(trained):
    means = latent_recipes._codes(trained, 4)
    ends = np.asarray(trained.call(latent_recipes._decoded, means))
    assert ends.shape[0] == 4 and np.abs(ends[0] - ends[1]).max() > 1e-4


def test_scatter_needs_labels(trained):
    del trained.arrays("test")["label"]
    with pytest.raises(DgmjaxError, match=r"^`dataset` must have labels"):
        latent_recipes.posterior_scatter(trained)
