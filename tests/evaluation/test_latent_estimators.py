"""The numbers that every VAE's record has, on a linear Gaussian model whose values are known."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dgmjax.experiments.shared import common

from dgmjax import data, evaluation, models
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue

GAIN, SCALE = 0.8, 0.5  # q(z | x) = N(GAIN x, SCALE^2), x ~ N(0, 1)


def normal(loc, scale):
    return distrax.Independent(distrax.Normal(loc, scale * jnp.ones_like(loc)), 1)


class Model:
    def prior(self):
        return normal(jnp.zeros(1), 1.0)

    def posterior(self, x):
        return normal(GAIN * x, SCALE)

    def likelihood(self, z):
        return normal(z, 1.0)


class Known:
    """A trained model without training: what estimators use of `lab.Trained`."""

    def call(self, method, *arguments):
        return method(Model(), *arguments)

    def per_example(self, objective, arrays, batch_size):
        evaluate = lambda batch, key: objective(Model(), batch, key)
        return evaluation.per_example(evaluate, arrays, batch_size, jax.random.key(0))


X = np.random.default_rng(0).normal(size=(3000, 1)).astype(np.float32)
DATASET = data.Dataset("rows", {"test": {"x": X}}, {})


def test_distortion_is_that_of_the_channel():
    """-E[log p(x | z)] = 1/2 (log 2 pi + (1 - GAIN)^2 + SCALE^2) for x of variance 1."""
    rate, distortion = common.rate_and_distortion()
    assert (rate.metric, distortion.metric) == ("kl_nats", "distortion_nats")
    measured = distortion.measure(Known(), {"x": X})
    truth = 0.5 * (math.log(2 * math.pi) + (1 - GAIN) ** 2 + SCALE**2)
    assert abs(measured.value - truth) < 5 * measured.standard_error < 0.05
    assert measured.num_examples == 3000
    expected = 0.5 * (GAIN**2 + SCALE**2 - 1) - math.log(SCALE)
    assert rate.measure(Known(), {"x": X}).value == pytest.approx(expected, abs=0.05)


def test_information_is_that_of_the_channel_and_says_its_limit():
    """I(x; z) = 1/2 log(1 + GAIN^2 / SCALE^2), far below log 2000."""
    estimator = common.code_information(DATASET)
    assert estimator.metric == "mutual_information_nats" and estimator.unit == "nats"
    assert "at most log 2000 = 7.60" in estimator.estimator
    measured = estimator.measure(Known(), {"x": X})
    truth = 0.5 * math.log(1 + GAIN**2 / SCALE**2)
    assert measured.value == pytest.approx(truth, abs=0.05) and measured.num_examples == 2000


def test_few_images_are_all_used():
    few = data.Dataset("rows", {"test": {"x": X[:179]}}, {})
    estimator = common.code_information(few)
    assert "at most log 179 = 5.19" in estimator.estimator
    assert estimator.measure(Known(), {"x": X[:179]}).num_examples == 179


@pytest.mark.parametrize("posterior, closed", [("diagonal", True), ("planar", False)])
def test_records_say_how_and_have_what_the_posterior_supports(posterior, closed):
    load = catalogue.load_experiment("vae_posteriors_mnist")
    experiment = catalogue.build(load, {"tiny": True, "posterior": posterior})
    texts = {row.metric: row.estimator for row in experiment.estimators}
    always = {"nll_bound_k50", "nll_bound_k1", "kl_nats", "distortion_nats", "active_units"}
    assert set(texts) == (always | {"mutual_information_nats"} if closed else always)
    average = f"averages of {evaluation.MEAN_SAMPLES} samples"
    assert (average in texts["active_units"]) != closed
    assert ("at samples" in texts["kl_nats"]) != closed


def test_a_model_that_reads_more_than_x_is_named():
    module = models.DenseCVAE((2, 2, 1), 3, (4,), num_classes=2)
    images = data.Dataset("images", {"train": {"x": np.zeros((4, 2, 2, 1))}}, {})
    with pytest.raises(DgmjaxError, match=r"^`module` must have a prior and a posterior"):
        common.latent_estimators(module, images)
