"""`dgmjax evaluate --samples`: records, figure, refusals, and models whose answers are known."""

import json
import re
from types import SimpleNamespace
from typing import Any, NamedTuple

import flax.linen
import jax
import numpy as np
import pytest
from scrambling import compiled_start

from dgmjax import data, lab, models, nn, plotting
from dgmjax.bijectors import Sigmoid
from dgmjax.cli.commands import main
from dgmjax.data.dataset import Dataset
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.lab import catalogue
from dgmjax.lab.sampling import Comparison
from dgmjax.models.flows import layers

MINE = """
import numpy as np
from dgmjax import data, lab, models, objectives, training
from dgmjax.data.dataset import Dataset


def mine(*, steps: int = 3) -> lab.Experiment:
    '''Digits of 8x8 pixels, enlarged to 28x28.'''
    x = data.load("digits").splits["train"]["x"][:700]
    x = np.pad(x.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2), (0, 0)))
    x = np.uint8(255 * (x / 16.0))
    splits = {"train": {"x": x[:300]}, "test": {"x": x[300:]}}
    info = {"value_range": [0, 255], "levels": 256, "event_shape": [28, 28, 1]}
    vae = models.DenseVAE((28, 28, 1), 2, (8,))
    return lab.Experiment(
        model="VAE",
        module=vae,
        players={"model": training.Player(objectives.elbo, training.adam(1e-3, steps))},
        dataset=Dataset("mnist", splits, info),
        transform=data.Binarise("dynamic"),
        steps=steps,
        batch_size=50,
        estimators=(lab.Estimator("nll_bound_k1", "bound", lab.averaged(objectives.elbo, 100)),),
    )
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    (folder / "mine.py").write_text(MINE)
    assert not main(["train", str(folder / "mine.py"), "--run-dir", str(folder / "run")])
    return folder / "run"


def evaluated(run, *options):
    mine = str(run.parent / "mine.py")
    code = main(["evaluate", str(run), "--experiment", mine, "--samples", *options])
    return code, json.loads((run / "results.json").read_text())


def test_records_of_samples_stand_beside_the_others(run):
    before = json.loads((run / "results.json").read_text())
    code, after = evaluated(run, "--num-samples", "150")
    assert not code and after[: len(before)] == before
    new = after[len(before) :]
    names = [record["metric"] for record in new]
    assert {name.split("_lenet_")[0] for name in names} == {
        *("fid", "kid", "precision", "recall", "density", "coverage", "neighbour_accuracy"),
        *("memorised_share", "class_score", "modes", "mode_kl", "ms_ssim"),
    }
    fid, floor = (record for record in new if record["metric"].startswith("fid_lenet_"))
    assert "150 generated against 150 test images" in fid["estimator"]
    assert all(re.search(r"\d+ (generated|samples|test)|\(\d+\)", r["estimator"]) for r in new)
    assert fid["split"] == "test" and fid["num_examples"] == 150
    assert floor["model"] == "training images" and floor["value"] < fid["value"]
    assert (run / "figures" / "nearest_training_images.png").stat().st_size > 1000
    code, again = evaluated(run, "--num-samples", "150")
    assert not code and [r["value"] for r in again] == pytest.approx([r["value"] for r in after])


def test_too_few_samples_are_named(run, capsys):
    assert evaluated(run, "--num-samples", "20")[0]
    assert "`num_samples` must be at least 100" in capsys.readouterr().err


SHAPE = (28, 28, 1)
INFO = {"value_range": [0, 255], "levels": 256, "event_shape": list(SHAPE)}


def split(num, seed):
    return {"x": np.random.default_rng(seed).integers(0, 256, (num, *SHAPE)).astype(np.uint8)}


class Grey(flax.linen.Module):
    """A generator of grey values 0 .. 255."""

    network: flax.linen.Module

    def __call__(self, z):
        return 255.0 * jax.nn.sigmoid(self.network(z))


class Known(SimpleNamespace):
    """A trained model by its parts, and like one equal to itself only."""

    __hash__ = object.__hash__


def trained(sample, name="mnist"):
    """A model of grey images that returns what it is given."""
    x = np.random.default_rng(0).integers(0, 256, size=(900, 28, 28, 1)).astype(np.uint8)
    x[:, :, :14] //= 8
    splits = {"train": {"x": x[:600]}, "test": {"x": x[600:]}}
    dataset = SimpleNamespace(name=name, splits=splits, info={"value_range": [0, 255]})
    experiment = SimpleNamespace(
        model="known",
        dataset=dataset,
        transform=data.Identity(),
        evaluation_transform=None,
        binarisation=None,
    )
    draw = lambda num, seed: sample(splits, num, seed)
    return Known(experiment=experiment, arrays=splits.get, sample=draw)


def test_a_model_that_copies_training_images_is_seen():
    copying = lambda splits, num, seed: splits["train"]["x"][:num]
    found = Comparison(trained(copying), 300)
    assert found.memorised().value == 1.0
    fid = lab.sampling._OF_FEATURES["fid"].measure(found).value
    assert fid == pytest.approx(found.floor(lab.sampling.frechet_distance).value)
    assert found.support.precision.value > 0.5
    assert len(found.nearest_training_images().axes) == 1


FAMILIES = {
    "vae": (models.DenseVAE(SHAPE, 2, (4,)), data.Binarise("dynamic")),
    "autoregressive": (models.MADE(SHAPE, (4,)), data.Binarise("dynamic")),
    "flow": (
        models.Flow(SHAPE, (layers.Fixed(Sigmoid, (0.05,), event_ndims=3),)),
        data.Dequantise(256),
    ),
    "gan": (models.GAN(2, Grey(nn.MLP((4,), SHAPE)), nn.MLP((4,), (1,))), data.Identity()),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_compared(family):
    """Parameters as they are drawn: samples in [0, 1], of the kind of the images beside them."""
    module, transform = FAMILIES[family]
    dataset = Dataset("mnist", {"train": split(300, 0), "test": split(200, 1)}, INFO)
    experiment = lab.Experiment(family, module, {}, dataset, 1, 10, transform=transform)
    variables = compiled_start(module, jax.random.key(0), jax.random.key(1), (1,), method="sample")

    class Learner(NamedTuple):
        call: Any = lambda variables, method, *given: module.apply(variables, *given, method=method)
        variables: Any = lambda state: state

    found = Comparison(lab.Trained(experiment, Learner(), variables), 120)
    assert found.samples.shape == (120, *SHAPE) and found.num_real == 120
    binary = experiment.binarisation is not None
    for x in (found.samples, found.test_images):
        assert (len(np.unique(x)) == 2) == binary
    assert np.isfinite(lab.sampling._OF_FEATURES["fid"].measure(found).value)


@pytest.mark.parametrize("transform", [data.Identity(), data.Dequantise(256)])
def test_images_are_the_raw_ones_in_the_unit_range(transform):
    dataset = Dataset("mnist", {"train": split(5, 0), "test": split(5, 1)}, INFO)
    experiment = lab.Experiment("", None, {}, dataset, 1, 10, transform=transform)
    found = Comparison(lab.Trained(experiment, None, None), 100)
    expected = dataset.splits["test"]["x"] / np.float32(255)
    np.testing.assert_allclose(found.test_images, expected, atol=1e-6)


def test_images_of_another_size_are_named():
    small = {name: {"x": np.zeros((20, 8, 8, 1), np.uint8)} for name in ("train", "test")}
    experiment = lab.Experiment("", None, {}, Dataset("digits", small, INFO), 1, 10)
    with pytest.raises(DataError, match=r"`test` must be images \[N, 28, 28, 1\].*its size only"):
        Comparison(lab.Trained(experiment, None, None), 100)


def test_samples_of_another_range_are_named():
    centred = lambda splits, num, seed: splits["train"]["x"][:num] - 127.5
    with pytest.raises(DataError, match=r"`samples` must hold values in \[0, 1\]"):
        Comparison(trained(centred), 300).samples  # noqa: B018


def test_noise_beyond_the_range_is_clipped_and_counted():
    """A density over all real numbers draws some values below 0 and above 255."""
    noisy = lambda splits, num, seed: (
        splits["train"]["x"][:num] + np.random.default_rng(0).normal(0.0, 30.0, (num, 28, 28, 1))
    )
    model = trained(noisy)
    found = Comparison(model, 300)
    raw = noisy(model.experiment.dataset.splits, 300, 0)
    np.testing.assert_allclose(found.samples, np.clip(raw, 0, 255) / 255, atol=1e-6)
    share = ((raw < 0) | (raw > 255)).mean()
    assert found.clipping == f", {share:.1%} of the values clipped to the range of the data"
    of_model, *_, floor, _, _, _ = lab.sample_quality(300).estimators(model)
    assert found.clipping in of_model.estimator and "clipped" not in floor.estimator
    inside = lambda splits, num, seed: splits["train"]["x"][:num]
    assert Comparison(trained(inside), 300).clipping == ""


def test_pixels_in_the_unit_interval_are_not_divided_again():
    function = catalogue.load_experiment("vae_continuous_mnist")
    arguments = catalogue.own_defaults(function)
    experiment = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    low, high = experiment.dataset.info["value_range"]
    pixels = experiment.dataset.splits["test"]["x"]
    assert (low, high) == (pixels.min(), pixels.max()) == (0.0, 1.0)


def test_classes_are_read_where_the_net_knows_them():
    copying = lambda splits, num, seed: splits["train"]["x"][:num]
    metrics = lambda name: {
        one.metric.split("_lenet_")[0]
        for one in lab.sample_quality(300).estimators(trained(copying, name))
    }
    assert metrics("mnist") - metrics("omniglot") == {"class_score", "modes", "mode_kl"}
    kept = {one for one in metrics("omniglot") if one.startswith("fid")}
    assert kept == {"fid"}


def test_a_supplement_is_checked_before_it_is_measured():
    with pytest.raises(DgmjaxError, match="`num_samples`"):
        lab.sample_quality(99)


def test_neighbours_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"^`neighbours` must be"):
        plotting.nearest_images(np.zeros((3, 8, 8)), np.zeros((2, 4, 8, 8)))
