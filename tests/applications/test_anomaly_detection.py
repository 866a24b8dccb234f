"""The parts of the experiment on anomalies: noise, the two models, the three scores."""

import jax
import numpy as np
import pytest
from dgmjax.experiments.applications import anomaly_detection as anomalies
from dgmjax.experiments.shared.options import Epochs

from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue

KEY = jax.random.key(0)


def built(**given):
    return catalogue.build(
        anomalies.anomaly_detection, {"model": "vae", **given}, seed=0, tiny=True, data_dir=None
    )


def test_noise_replaces_its_share_by_all_levels():
    x = np.full((400, 8, 8, 1), 3, np.uint8)
    made = anomalies.Noisy(17, 0.3)({"x": x}, KEY)
    assert made["x"] is not made["noisy"] and made["noisy"].dtype == np.uint8
    changed = np.asarray(made["noisy"]) != 3
    rate, error = 0.3 * 16 / 17, np.sqrt(0.21 / x.size)
    assert changed.mean() == pytest.approx(rate, abs=5 * error)
    assert set(np.unique(made["noisy"])) == set(range(17))


def test_the_two_models_share_nothing_and_each_sees_its_images():
    experiment = built()
    train = experiment.dataset.splits["train"]
    batch = experiment.transform({"x": train["x"][:4]}, KEY)
    state = experiment.learner().init(KEY, batch)
    assert set(state.params) == {"density", "background"}
    objective = experiment.players["model"].objective
    value = lambda batch: experiment.module.apply(
        {"params": state.params}, batch, KEY, method=objective
    )[1]
    first, other = value(batch), value({**batch, "noisy": batch["x"]})
    np.testing.assert_array_equal(first["density"], other["density"])
    assert np.all(first["background"] != other["background"])


def test_scores_are_those_of_the_two_likelihoods():
    found = {
        "validation": {"density": np.array([1.0, 2.0, 3.0, 4.0])},
        "test": {"density": np.array([2.5, 9.0]), "background": np.array([1.0, 9.5])},
    }
    find = lambda trained, split: found[split]
    score = lambda kind: anomalies.of_kind(kind, find, None, "test").tolist()
    assert score("log_likelihood") == [2.5, 9.0]
    assert score("likelihood_ratio") == [1.5, -0.5]
    assert score("two_sided_rank") == [1.0, 0.4]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"outside": "fashion_mnist"}, "`outside` must be other"),
        ({"noise": 0.0}, "`noise` must be"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(DgmjaxError, match=message):
        anomalies.anomaly_detection(**given, shared=Epochs(tiny=True))
