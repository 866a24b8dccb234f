"""Measures of codes and imputations on a trained model whose answers are known."""

from types import SimpleNamespace

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgmjax import data, evaluation, lab, models, objectives
from dgmjax.data.dataset import Dataset
from dgmjax.distributions import Mixture, families
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.lab import Trained
from dgmjax.training import Player

RNG = np.random.default_rng(0)
CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])


def split(rows):
    """Points about three centres, of which the first number is the class."""
    label = np.arange(rows) % 3
    factors = np.stack([label, np.arange(rows) // 3 % 4], 1)
    x = CENTRES[label] + 0.3 * RNG.normal(size=(rows, 2))
    return {"x": x.astype(np.float32), "label": label, "factors": factors}


class Copying(nn.Module):
    """Codes that are the data, under a prior of three components or of none."""

    mixture: bool

    def prior(self):
        if not self.mixture:
            return distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
        loc = jnp.asarray(CENTRES)
        normals = distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), 1)
        return Mixture(jnp.zeros(3), normals)

    def posterior(self, x):
        return distrax.Independent(distrax.Normal(x, jnp.ones_like(x)), 1)

    @nn.compact
    def log_prob(self, x):
        return -jnp.sum((x - self.param("loc", nn.initializers.zeros, (2,))) ** 2, -1)


@pytest.fixture(scope="module")
def dataset():
    splits = {"train": split(120), "test": split(60)}
    return Dataset("points", splits, {"value_range": [0, 1]})


def copying(dataset, mixture):
    player = Player(objectives.negative_log_likelihood, optax.sgd(0.1))
    experiment = lab.Experiment(
        "Copying", Copying(mixture), {"model": player}, dataset, steps=1, batch_size=60
    )
    learner = experiment.learner()
    state = jax.jit(learner.init)(jax.random.key(0), dataset.splits["test"])
    return Trained(experiment, learner, state)


@pytest.mark.parametrize("mixture", [True, False], ids=["responsibilities", "k-means"])
def test_clusters_and_codes(dataset, mixture):
    trained = copying(dataset, mixture)
    arrays = trained.arrays("test")
    np.testing.assert_array_equal(lab.codes(trained, arrays, 25), arrays["x"])
    found = lab.clusters(trained, arrays, 25)
    assert evaluation.cluster_accuracy(arrays["label"], found).value == 1.0
    for metric in ("accuracy", "nmi"):
        measured = lab.clustering(metric, 25)(trained, arrays)
        assert measured.value == pytest.approx(1.0) and measured.num_examples == 60


def test_probe_and_disentanglement(dataset):
    trained = copying(dataset, False)
    arrays = trained.arrays("test")
    assert lab.probe_accuracy()(trained, arrays).value == 1.0
    codes = arrays["x"].astype(np.float64)
    gap = evaluation.mutual_information_gap(codes, arrays["factors"]).value
    assert lab.disentanglement("mig")(trained, arrays).value == pytest.approx(gap)
    score = lab.disentanglement("beta_vae_score")(trained, arrays)
    assert score.num_examples == 1000 and 0.5 <= score.value <= 1.0


def test_imputation_measures_of_a_model_and_a_baseline():
    rows = RNG.normal(size=(60, 1)) * np.ones(8) + 0.1 * RNG.normal(size=(60, 8))
    whole = Dataset("line", {"train": {"x": rows.astype(np.float32)}}, {"value_range": [0, 1]})
    vae = models.DenseVAE((8,), 1, (4,), observation=families.Normal())
    experiment = lab.Experiment(
        "MIWAE",
        vae,
        {"model": Player(objectives.miwae, optax.sgd(0.1))},
        data.remove_entries(whole, data.AtRandom(0.3)),
        steps=1,
        batch_size=60,
        transform=data.FillMissing(),
    )
    experiment.check()
    learner = experiment.learner()
    state = jax.jit(learner.init)(jax.random.key(0), experiment.dataset.splits["train"])
    trained = Trained(experiment, learner, state)
    arrays = trained.arrays("train")
    found = lab.imputed(trained, arrays, num_samples=20, chunk=10, batch_size=25)
    assert found.single.shape == (60, 8) and found.multiple.shape == (60, 0, 8)
    expected = evaluation.imputation_error(found.single, arrays["complete"], arrays["observed"])
    measured = lab.imputation_mse(20, 10, 25)(trained, arrays)
    assert measured.value == pytest.approx(expected.value)
    baseline = lab.imputation_mse_of(evaluation.iterative_imputation)(trained, arrays)
    assert 0 < baseline.value < 0.1


def test_bad_input_is_named(dataset):
    for make, word in (
        (lambda: lab.clustering("purity"), "metric"),
        (lambda: lab.disentanglement("dci"), "metric"),
    ):
        with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
            make()
    trained = SimpleNamespace()
    with pytest.raises(DataError, match="must hold `factors`"):
        lab.disentanglement()(trained, {"x": np.zeros((3, 2))})
