"""`dgmjax evaluate --chosen-by`: samples of a critic that knows the ratio, records, refusals."""

import json

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgmjax import data, evaluation, lab, models, nn
from dgmjax.cli.commands import main
from dgmjax.data.dataset import Dataset
from dgmjax.errors import DgmjaxError
from dgmjax.lab.chosen import Chosen
from dgmjax.training import Player, adam, gradient_learner

P = scipy.stats.norm(0.5, 1.0)


class Known(flax.linen.Module):
    """N(0, 1.5^2), and a critic that knows 3 log p / q + 1."""

    outputs: int = 1

    def sample(self, key, sample_shape=()):
        return 1.5 * jax.random.normal(key, (*sample_shape, 1))

    def logit(self, x):
        x = x[..., 0]
        return 3.0 * (-0.5 * (x - 0.5) ** 2 + 0.5 * (x / 1.5) ** 2) + 1.0


def loss(model, batch, key):
    return model.logit(batch["x"]), {}


def known(module, splits=("train", "validation", "test")):
    draw = lambda seed: {"x": P.rvs((4000, 1), random_state=seed).astype(np.float32)}
    arrays = {split: draw(seed) for seed, split in enumerate(splits)}
    mean = lambda trained, arrays: evaluation.average(trained.sample(4000, seed=3)[:, 0])
    experiment = lab.Experiment(
        model="known",
        module=module,
        players={"model": Player(loss, adam(1e-3, 1))},
        dataset=Dataset("normal", arrays, data.dataset.describe(arrays)),
        steps=1,
        batch_size=10,
        estimators=(
            lab.Estimator("mean", "of 4000", mean),
            lab.Estimator("reference", "of data", mean, model="data"),
        ),
    )
    learner = gradient_learner(module, experiment.players)
    state = jax.jit(learner.init)(jax.random.key(0), {"x": jnp.ones((2, 1))})
    return lab.Trained(experiment, learner, state)


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("way", ["rejection", "metropolis"])
def test_what_a_knowing_critic_chooses_is_nearer_to_the_data(way):
    trained = known(Known())
    estimators = lab.chosen_samples(way).estimators(trained)
    assert [one.metric for one in estimators] == ["mean", "acceptance_rate"]
    assert all("calibrated on 4000 of the validation split" in one.estimator for one in estimators)
    measured = estimators[0].measure(trained, {})
    assert measured.value > 0.3  # 0 without a choice; 0.5 of the data, beyond it by the shift
    x = Chosen(trained, way).sample(4000, seed=3)[:, 0]
    distance = scipy.stats.kstest(x, P.cdf).statistic
    assert distance < 0.5 * scipy.stats.kstest(trained.sample(4000)[:, 0], P.cdf).statistic
    rate = estimators[1].measure(trained, {}).value
    assert 0.05 < rate < 0.95
    assert Chosen(known(Known(), ("train", "test")), way).split == "test"


class OfFeatures(Known):
    def logit(self, x):
        raise DgmjaxError("`critic` must have one output for a game of values; got 16.")


class OfPairs(Known):
    def pairs(self, batch, key):
        return batch["x"], batch["x"]


class WithoutCritic(flax.linen.Module):
    def sample(self, key, sample_shape=()):
        return jax.random.normal(key, (*sample_shape, 1))


OF_PACKS = models.GAN(1, nn.NormalisedMLP((2,), (1,)), nn.Packed(nn.MLP((2,), (1,)), 2, 1))


@pytest.mark.parametrize("module", [OfFeatures(), OfPairs(), WithoutCritic(), OF_PACKS])
def test_models_without_a_critic_of_samples_are_refused(module):
    trained = known(Known())
    learner = gradient_learner(module, trained.experiment.players)
    other = lab.Trained(trained.experiment, learner, trained.state)
    with pytest.raises(DgmjaxError, match="`run` must have a critic with one value for a sample"):
        lab.chosen_samples("rejection").estimators(other)


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    run = str(tmp_path / "run")
    assert not main(["train", "gan_grid", "--tiny", "--game", "hinge", "--run-dir", run])
    assert not main(["evaluate", run, "--chosen-by", "rejection"])
    records = json.loads((tmp_path / "run" / "results.json").read_text())
    of = lambda name: sorted(r["metric"] for r in records if r["model"] == name)
    own = ["mode_reverse_kl", "modes_covered", "samples_near_modes"]
    assert of("GAN, hinge") == own
    assert of("GAN, hinge, chosen by rejection") == sorted([*own, "acceptance_rate"])
    assert "of the test split" in json.dumps(records)
