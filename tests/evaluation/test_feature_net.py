"""The feature nets of the package: their files, their numbers, what they refuse."""

import json
import os
import shutil

import jax
import numpy as np
import pytest
from dgmjax.experiments.shared import feature_net
from scrambling import compiled_start

from dgmjax import data
from dgmjax.data.dataset import Dataset
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.evaluation import samples
from dgmjax.evaluation.samples.feature_net import WEIGHTS

NAMES = ("mnist", "fashion_mnist")


def images(num, seed=0):
    return np.random.default_rng(seed).uniform(size=(num, 28, 28, 1)).astype(np.float32)


def slow_lenet(params, x):
    """Features and log-probabilities in float64, window by window."""
    params = {layer: {k: np.float64(v) for k, v in p.items()} for layer, p in params.items()}
    h = 2.0 * np.float64(x) - 1.0
    for layer in ("Conv_0", "Conv_1"):
        windows = np.lib.stride_tricks.sliding_window_view(h, (5, 5), (1, 2))
        h = np.einsum("nhwcij,ijcf->nhwf", windows, params[layer]["kernel"]) + params[layer]["bias"]
        h = np.maximum(h, 0.0)
        h = np.maximum.reduce([h[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    h = h.reshape(len(h), -1)
    for layer in ("Dense_0", "Dense_1"):
        h = np.maximum(h @ params[layer]["kernel"] + params[layer]["bias"], 0.0)
    logits = h @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]
    return h, logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("name", NAMES)
def test_features_agree_with_loops(name):
    net, x = samples.load_feature_net(name), images(7)
    found = net(x, batch_size=3)
    vectors, log_probs = slow_lenet(net.params, x)
    np.testing.assert_allclose(found.vectors, vectors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.log_probs, log_probs, rtol=1e-4, atol=1e-3)
    assert found.vectors.dtype == np.float64 and found.vectors.shape == (7, 84)


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_the_recorded_one(name):
    folder = os.environ.get("DGMJAX_DATA")
    if not folder:
        pytest.skip("needs real data: set DGMJAX_DATA to a folder of data sets")
    test = data.load(name, data_dir=folder).splits["test"]
    net = samples.load_feature_net(name)
    predicted = net(test["x"].astype(np.float32) / 255.0).log_probs.argmax(1)
    # Two images whose classes are nearly equally probable may differ between machines.
    assert (predicted == test["label"]).mean() == pytest.approx(net.test_accuracy, abs=2e-4)


def test_files_are_small_and_described():
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 1_000_000
    known = samples.known_feature_nets()
    assert set(known) == set(NAMES)
    for name, facts in known.items():
        assert facts["test_images"] == 10_000 and 0.9 < facts["test_accuracy"] < 1.0
        net = samples.load_feature_net(name)
        assert net.metric("fid") == f"fid_lenet_{facts['sha256'][:8]}"


def test_an_altered_file_is_refused(tmp_path):
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    path = folder / "lenet_mnist.npz"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"`weights` must have the SHA-256 .*install dgmjax again"):
        samples.load_feature_net("mnist", folder)
    path.unlink()
    with pytest.raises(DataError, match="`weights` must have the SHA-256"):
        samples.load_feature_net("mnist", folder)
    assert "fashion_mnist" in json.loads((folder / "lenet.json").read_text())


def test_an_unknown_net_is_named():
    with pytest.raises(DgmjaxError, match=r"`name` must be one of \['fashion_mnist', 'mnist'\]"):
        samples.load_feature_net("inception")


@pytest.mark.parametrize(
    "x, words",
    [
        (np.zeros((2, 32, 32, 3)), r"`images` must be images \[N, 28, 28, 1\]"),
        (np.zeros((0, 28, 28, 1)), "at least one"),
        (255.0 * images(2), r"`images` must hold values in \[0, 1\].*Divide grey values by 255"),
        (2.0 * images(2) - 1.0, r"from \[-1, 1\] to \[0, 1\]"),
        (np.nan * images(2), r"values in \[0, 1\]; got values between nan"),
    ],
)
def test_other_images_are_refused(x, words):
    with pytest.raises(DataError, match=words):
        samples.load_feature_net("mnist")(x)


def test_what_the_tool_writes_is_what_is_loaded(tmp_path):
    params = compiled_start(samples.LeNet(), jax.random.key(0), images(1))["params"]
    feature_net.write(params, "mnist", {"test_accuracy": 0.5}, tmp_path)
    feature_net.write(params, "fashion_mnist", {"test_accuracy": 0.25}, tmp_path)
    net = samples.load_feature_net("mnist", tmp_path)
    assert net.test_accuracy == 0.5 and len(net.sha256) == 64
    jax.tree.map(np.testing.assert_array_equal, net.params, params)


@pytest.mark.slow
def test_the_tool_measures_the_test_split_of_what_it_trained(monkeypatch):
    """Classes by brightness, which one epoch learns; the numbers are those of the parameters."""

    def split(num, seed):
        label = np.random.default_rng(seed).integers(0, 10, num).astype(np.int32)
        x = np.uint8(25 * label[:, None, None, None] + images(num, seed) * 10)
        return {"x": x, "label": label}

    splits = {"train": split(2000, 0), "validation": split(200, 1), "test": split(300, 2)}
    monkeypatch.setattr(data, "load", lambda name, data_dir: Dataset(name, splits, {}))
    params, facts = feature_net.trained("mnist", None, epochs=2)
    assert facts["train_images"] == 2000 and facts["test_images"] == 300
    _, log_probs = slow_lenet(jax.tree.map(np.asarray, params), splits["test"]["x"] / 255.0)
    accuracy = (log_probs.argmax(1) == splits["test"]["label"]).mean()
    assert facts["test_accuracy"] == pytest.approx(accuracy, abs=0.01)
    assert facts["test_accuracy"] > 0.3
