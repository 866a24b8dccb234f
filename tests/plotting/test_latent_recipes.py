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


def test_each_row_shows_one_component_of_a_mixture_prior(trained):
    with pytest.raises(DgmjaxError, match="mixture"):
        latent_recipes.components(trained)
    options = {"tiny": True, "pretrain_epochs": 0}
    experiment = catalogue.build(catalogue.load_experiment("vae_clusters_mnist"), options)
    learner = experiment.learner()
    x = np.float32(experiment.dataset.splits["train"]["x"][:4] > 7)
    mixed = Trained(experiment, learner, learner.init(jax.random.key(0), {"x": x}))
    drawn = mixed.model.prior().components.sample(
        seed=jax.random.key(latent_recipes.FIGURE_SEED), sample_shape=(3,)
    )
    pictures = np.asarray(mixed.call(latent_recipes._decoded, np.asarray(drawn)[:, 4]))
    mosaic = latent_recipes.components(mixed, each=3).axes[0].images[0].get_array()
    pitch = mosaic.shape[0] // 10
    row = np.asarray(mosaic)[4 * pitch : 5 * pitch]
    means = [part.mean() for part in np.array_split(row, 3, axis=1)]
    order = np.argsort(pictures.reshape(3, -1).mean(1))
    assert np.array_equal(np.argsort(means), order)
