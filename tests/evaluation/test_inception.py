"""Inception-v3 of a file that the user brings: its layers written out, its contract, refusals."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import data, lab
from dgmjax.errors import DataError
from dgmjax.evaluation import samples
from dgmjax.evaluation.samples import inception

WIDTH = 2
"""Channels of every convolution of the tiny file."""
BEFORE = {"Mixed_6b": 6, "Mixed_7b": 6, "Mixed_7c": 6}
"""Convolutions whose outputs a block reads, where those are not four: after a reduction those of
the block before it, which it pools, and its own two."""


def taps(name):
    """Rows and columns of a kernel, by the table of the paper."""
    block, _, branch = name.rpartition(".")
    if not block:
        return (1, 1) if name.endswith("1x1") else (3, 3)
    if branch in ("branch1x1", "branch_pool") or branch.endswith("_1"):
        return 1, 1
    if branch.startswith("branch7x7"):
        if branch == "branch7x7x3_4":
            return 3, 3
        wide = branch in ("branch7x7_2", "branch7x7x3_2", "branch7x7dbl_3", "branch7x7dbl_5")
        return (1, 7) if wide else (7, 1)
    if branch.startswith("branch5x5"):
        return 5, 5
    if branch[-2:] in ("2a", "3a", "2b", "3b"):
        return (1, 3) if branch.endswith("a") else (3, 1)
    return 3, 3


def inputs(name):
    """Channels that a convolution reads."""
    if name == "Conv2d_1a_3x3":
        return 3
    block, _, branch = name.partition(".")
    first = branch.endswith(("_1", "branch1x1", "branch_pool")) or name == "Mixed_6a.branch3x3"
    return WIDTH * (BEFORE.get(block, 4) if first and block != "Mixed_5b" else 1)


def weights(seed=0):
    draw = np.random.default_rng(seed)
    found = {}
    for name in inception.layers():
        shape = (WIDTH, inputs(name), *taps(name))
        found[f"{name}.conv.weight"] = draw.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        found[f"{name}.bn.weight"] = draw.uniform(0.8, 1.2, WIDTH)
        found[f"{name}.bn.bias"] = 0.1 * draw.normal(size=WIDTH)
        found[f"{name}.bn.running_mean"] = 0.1 * draw.normal(size=WIDTH)
        found[f"{name}.bn.running_var"] = draw.uniform(0.8, 1.2, WIDTH)
    return {name: array.astype(np.float32) for name, array in found.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "tiny.npz"
    np.savez(path, **weights(), **{"fc.weight": np.zeros((3, 4), np.float32)})
    return path


class Slow:
    """The network written out, in float64, window by window."""

    def __init__(self, arrays):
        self.arrays = {name: np.float64(array) for name, array in arrays.items()}

    def conv(self, h, name, stride=1, same=True):
        kernel = self.arrays[f"{name}.conv.weight"]
        rows, columns = kernel.shape[2:]
        if same:
            h = np.pad(h, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(h, (rows, columns), (1, 2))
        h = np.einsum("nhwcij,fcij->nhwf", windows[:, ::stride, ::stride], kernel, optimize=True)
        of = lambda part: self.arrays[f"{name}.bn.{part}"]
        h = (h - of("running_mean")) / np.sqrt(of("running_var") + 1e-3)
        return np.maximum(h * of("weight") + of("bias"), 0.0)

    def pool(self, h, how, stride=1):
        if stride == 1:
            h = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(h, (3, 3), (1, 2))
        return how(windows[:, ::stride, ::stride], axis=(-2, -1))

    def chain(self, h, block, *names):
        for name in names:
            h = self.conv(h, f"{block}.{name}")
        return h

    def __call__(self, x):
        h = self.conv(2.0 * x - 1.0, "Conv2d_1a_3x3", 2, same=False)
        h = self.conv(self.conv(h, "Conv2d_2a_3x3", same=False), "Conv2d_2b_3x3")
        h = self.conv(self.pool(h, np.max, 2), "Conv2d_3b_1x1")
        h = self.pool(self.conv(h, "Conv2d_4a_3x3", same=False), np.max, 2)
        join = lambda *branches: np.concatenate(branches, -1)
        mean = lambda h, b: self.chain(self.pool(h, np.nanmean), b, "branch_pool")
        for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            h = join(
                self.chain(h, b, "branch1x1"),
                self.chain(h, b, "branch5x5_1", "branch5x5_2"),
                self.chain(h, b, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                mean(h, b),
            )
        inner = self.chain(h, "Mixed_6a", "branch3x3dbl_1", "branch3x3dbl_2")
        h = join(
            self.conv(h, "Mixed_6a.branch3x3", 2, same=False),
            self.conv(inner, "Mixed_6a.branch3x3dbl_3", 2, same=False),
            self.pool(h, np.max, 2),
        )
        for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            h = join(
                self.chain(h, b, "branch1x1"),
                self.chain(h, b, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
                self.chain(h, b, *[f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)]),
                mean(h, b),
            )
        inner = self.chain(h, "Mixed_7a", "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3")
        h = join(
            self.conv(self.chain(h, "Mixed_7a", "branch3x3_1"), "Mixed_7a.branch3x3_2", 2, False),
            self.conv(inner, "Mixed_7a.branch7x7x3_4", 2, same=False),
            self.pool(h, np.max, 2),
        )
        for b, how in (("Mixed_7b", np.nanmean), ("Mixed_7c", np.nanmax)):
            middle = self.chain(h, b, "branch3x3_1")
            double = self.chain(h, b, "branch3x3dbl_1", "branch3x3dbl_2")
            h = join(
                self.chain(h, b, "branch1x1"),
                self.chain(middle, b, "branch3x3_2a"),
                self.chain(middle, b, "branch3x3_2b"),
                self.chain(double, b, "branch3x3dbl_3a"),
                self.chain(double, b, "branch3x3dbl_3b"),
                self.chain(self.pool(h, how), b, "branch_pool"),
            )
        return h.mean((1, 2))


def test_features_agree_with_the_network_written_out(file):
    net = samples.load_inception(file)
    x = np.random.default_rng(1).uniform(size=(3, 299, 299, 3)).astype(np.float32)
    found = net(x, batch_size=2)
    wanted = Slow(weights())(np.float64(x))
    assert found.vectors.shape == wanted.shape == (3, 6 * WIDTH)
    np.testing.assert_allclose(found.vectors, wanted, rtol=1e-3, atol=1e-4)
    assert np.ptp(wanted, 0).max() > 1e-4  # images differ


def test_grey_images_of_any_size_are_read_as_colours(file):
    net = samples.load_inception(file)
    x = np.random.default_rng(2).uniform(size=(2, 28, 28, 1)).astype(np.float32)
    grey, colour = net(x, 2).vectors, net(np.repeat(x, 3, -1), 2).vectors
    np.testing.assert_array_equal(grey, colour)
    larger = np.asarray(jax.image.resize(x, (2, 299, 299, 1), "bilinear"))
    np.testing.assert_allclose(net(jnp.asarray(larger), 2).vectors, grey, rtol=1e-3, atol=1e-4)
    assert net.metric("fid") == f"fid_inception_{net.sha256[:8]}"


def test_what_is_not_inception_is_refused(file, tmp_path):
    with pytest.raises(DataError, match=r"`inception_weights` must be an \.npz file"):
        samples.load_inception(tmp_path / "absent.npz")
    arrays = weights()
    del arrays["Mixed_6c.branch7x7_2.bn.bias"]
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(DataError, match=r"must hold the 470 arrays .* 1 missing, Mixed_6c"):
        samples.load_inception(tmp_path / "part.npz")
    arrays = weights()
    arrays["Mixed_5b.branch1x1.conv.weight"] = np.zeros((2, 7, 1, 1), np.float32)
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match="must hold arrays whose shapes follow each other"):
        samples.load_inception(tmp_path / "wrong.npz")
    net = samples.load_inception(file)
    for x, words in (
        (np.zeros((2, 8, 8, 2)), r"`images` must be images \[N, H, W, C\] with 1 or 3 channels"),
        (np.full((2, 8, 8, 1), 2.0), r"`images` must hold values in \[0, 1\]"),
    ):
        with pytest.raises(DataError, match=words):
            net(x)


class Known(SimpleNamespace):
    """A trained model by its parts, and like one equal to itself only."""

    __hash__ = object.__hash__


@pytest.mark.slow
def test_records_of_samples_are_named_by_the_file(file):
    """Images of 8x8 pixels, which our own nets do not read."""
    draw = lambda seed: np.random.default_rng(seed).integers(0, 17, (110, 8, 8, 1)).astype(np.uint8)
    splits = {name: {"x": draw(seed)} for seed, name in enumerate(("train", "test"))}
    dataset = SimpleNamespace(name="digits", splits=splits, info={"value_range": [0, 16]})
    experiment = SimpleNamespace(
        model="known",
        dataset=dataset,
        transform=data.Identity(),
        evaluation_transform=None,
        binarisation=None,
    )
    copies = lambda num, seed: splits["train"]["x"][:num]
    trained = Known(experiment=experiment, arrays=splits.get, sample=copies)
    estimators = lab.sample_quality(100, file).estimators(trained)
    digits = samples.load_inception(file).sha256[:8]
    fid, *others, floor, _ = estimators
    assert fid.metric == floor.metric == f"fid_inception_{digits}"
    assert "100 generated against 100 test images, Inception-v3" in fid.estimator
    assert all(one.metric.endswith(digits) for one in others)
    memorised = next(one for one in others if one.metric.startswith("memorised"))
    assert memorised.measure(trained, {}).value == 1.0
    value = fid.measure(trained, {}).value
    assert value == pytest.approx(floor.measure(trained, {}).value) and value > 0.0
    with pytest.raises(DataError, match=r"`test` must be images \[N, 28, 28, 1\]"):
        lab.sample_quality(100).estimators(trained)
