"""Data that a model cannot take are refused before anything is compiled, with the remedy."""

import jax
import numpy as np
import optax
import pytest

from dgmjax import data, models, objectives
from dgmjax.distributions import families
from dgmjax.errors import DataError
from dgmjax.training import Player, fit, gradient_learner

GREY = np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1)
VAE = models.dense_vae((4, 4, 1), latent=2, hidden=(4,))


def train(x, transform=None, module=VAE):
    objective = objectives.elbo if module is VAE else objectives.negative_log_likelihood
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(0.1))})
    fit(
        learner,
        {"x": x},
        key=jax.random.key(0),
        steps=1,
        batch_size=2,
        transform=transform,
    )


@pytest.mark.parametrize(
    "x, transform",
    [
        (GREY, None),
        (GREY / np.float32(63), data.Identity()),
        (GREY, data.Binarise("static")),
        (GREY, data.Scale(levels=64)),
    ],
)
def test_grey_values_for_a_bernoulli_likelihood_need_a_binarisation(x, transform):
    with pytest.raises(DataError, match="binarisation"):
        train(x, transform)


def test_named_binarisation_is_taken():
    train(GREY, data.Binarise("dynamic", levels=64))
    train((GREY > 30).astype(np.uint8), data.Binarise("static"))


def test_nan_is_refused():
    x = np.zeros((4, 2), np.float32)
    x[3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        train(x, module=models.MAF(2, 1, (4,)))


def test_levels_outside_the_family_are_refused():
    made = models.MADE((2,), (4,), family=families.Categorical(4))
    with pytest.raises(DataError, match=r"0 \.\. 3"):
        train(np.full((4, 2), 4.0, np.float32), module=made)
    with pytest.raises(DataError, match=r"0 \.\. 3"):
        train(np.full((4, 2), 0.5, np.float32), module=made)
