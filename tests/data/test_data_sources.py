"""Sources by name: built-in, prepared by TFDS, real ones where they are, and their cache."""

import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from dgmjax.data import data_dir, load, names
from dgmjax.data.reading import cache
from dgmjax.data.sources import images, sequences
from dgmjax.errors import DataError


def test_importing_is_cheap():
    code = (
        "from dgmjax import data; data.load, data.names(), data.Batches; import sys; "
        "heavy = {'jax', 'sklearn', 'scipy', 'tensorflow_datasets', 'grain'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_digits_are_scikit_learns(own_cache):
    from sklearn.datasets import load_digits

    data = load("digits", splits={"train": 1000, "test": 797})
    assert data.info["levels"] == 17 and data.info["value_range"] == [0, 16]
    assert data.event_shape == (8, 8, 1)
    reference = load_digits()
    rows = {image.tobytes(): digit for image, digit in zip(reference.images, reference.target)}
    for part in data.splits.values():
        assert part["x"].dtype == np.uint8
        for x, label in zip(part["x"].astype(float)[..., 0], part["label"]):
            assert rows[x.tobytes()] == label
    total = sum(part["x"].sum(dtype=int) for part in data.splits.values())
    assert total == reference.images.sum()
    assert load("digits").info["split_sizes"] == {"train": 1439, "validation": 179, "test": 179}
    json.dumps(data.info)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digit", {}, "Did you mean 'digits'"),
        ("binarised_mnist", {}, "Did you mean 'binarized_mnist'"),
        ("zzzz", {}, "The table has .*moons"),
        ("../../etc", {}, "must be a data set|holds none of them"),
        ("digits", {"n_train": 3}, "not an option of 'digits'"),
        ("moons", {"n_trian": 3}, "Did you mean 'n_train'"),
        ("moons", {"splits": {"train": 1.0}}, "`splits` is not an option"),
        ("digits", {"splits": {"train": 1797, "test": 1}}, "of the 1797 rows"),
        ("mnist", {}, "looked in .*tfds/mnist.*tfds build mnist --data_dir=.*array_record"),
        ("tfds:celeb_a", {}, "tfds build celeb_a"),
        ("fashion_mnist", {}, "must hold fashion_mnist/train-images.*which does not hold it"),
        ("omniglot", {}, "must hold omniglot28"),
        ("cifar10_5k", {}, "must hold cifar10"),
        ("usps", {}, "must hold usps/usps.npz.*Put an .npz there of x_train"),
        ("uci/iris", {}, "must hold uci/uci.tar.xz"),
        ("uci/irs", {}, "Did you mean 'uci/iris'"),
        ("polymusic/JSB", {}, "must hold polymusic"),
        ("tinyshakespeare", {}, "must hold tinyshakespeare"),
        ("spoken_digits", {}, "must hold fsdd"),
    ],
)
def test_what_cannot_be_loaded(name, options, message, tmp_path, own_cache):
    with pytest.raises(DataError, match=message):
        load(name, data_dir=tmp_path, **options)
    assert list(tmp_path.iterdir()) in ([], [own_cache])


def test_a_file_of_other_arrays_is_not_usps(tmp_path):
    (tmp_path / "usps").mkdir()
    np.savez(tmp_path / "usps" / "usps.npz", x_train=np.zeros((5, 16, 16), np.uint8))
    with pytest.raises(DataError, match=r"it holds {'x_train': \(5, 16, 16\)}"):
        load("usps", data_dir=tmp_path)


def test_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"looked in {tmp_path}/absent, which does not exist"):
        load("omniglot", data_dir=tmp_path / "absent")


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("DGMJAX_DATA", str(tmp_path))
    assert data_dir() == tmp_path
    assert data_dir("/elsewhere").as_posix() == "/elsewhere"
    monkeypatch.delenv("DGMJAX_DATA")
    assert data_dir().name == "tensorflow_datasets"


@pytest.fixture(scope="module")
def tiny_tfds(tmp_path_factory):
    """A set prepared by TFDS, without TensorFlow and without a network: 20 + 5 rows."""
    import tensorflow_datasets as tfds

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.2.0")

        def _info(self):
            pixels = tfds.features.Tensor(shape=(2, 2, 1), dtype=np.uint8)
            features = {
                "pixels": pixels,
                "label": tfds.features.ClassLabel(num_classes=3),
                "words": tfds.features.Text(),
            }
            features = tfds.features.FeaturesDict(features)
            keys = ("pixels", "label")
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

        def _split_generators(self, dl_manager):
            return {"train": self._rows(0, 20), "test": self._rows(20, 25)}

        def _rows(self, start, end):
            for i in range(start, end):
                pixels = np.full((2, 2, 1), i, np.uint8)
                yield i, {"pixels": pixels, "label": i % 3, "words": str(i)}

        def _generate_examples(self):
            raise NotImplementedError("the splits are generators already")

    folder = tmp_path_factory.mktemp("prepared")
    tfds.disable_progress_bar()
    Tiny(data_dir=folder / "tfds", file_format="array_record").download_and_prepare()
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_prepared_sets_are_found_decoded_and_cached(tiny_tfds, own_cache, monkeypatch):
    for name in ("tiny", "tfds:tiny", "tfds:tiny:1.2.0"):
        data = load(name, data_dir=tiny_tfds, validation=4)
        assert data.info["split_sizes"] == {"train": 16, "validation": 4, "test": 5}
        assert data.info["version"] == "1.2.0"
        rows = np.concatenate([part["x"][:, 0, 0, 0] for part in data.splits.values()])
        assert sorted(rows.tolist()) == list(range(25))
        for part in data.splits.values():
            np.testing.assert_array_equal(part["label"], part["x"][:, 0, 0, 0] % 3)
    assert len(list(own_cache.glob("datasets/tiny-*"))) == 2
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # not needed any more
    load("tiny", data_dir=tiny_tfds / "tfds")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_prepared_sets_that_do_not_fit(tiny_tfds, own_cache, tmp_path):
    with pytest.raises(DataError, match="Did you mean 'tiny'"):
        load("tinny", data_dir=tiny_tfds)
    with pytest.raises(DataError, match="numeric feature of fixed shape; got words"):
        load("tiny", data_dir=tiny_tfds, x="words")
    with pytest.raises(DataError, match="numeric feature of fixed shape; got colour"):
        load("tiny", data_dir=tiny_tfds, label="colour")
    with pytest.raises(DataError, match="`validation` must leave some of the 20"):
        load("tiny", data_dir=tiny_tfds, validation=20)
    with pytest.raises(DataError, match=r"tiny:9.9.9"):
        load("tfds:tiny:9.9.9", data_dir=tiny_tfds)
    home = tmp_path / "tiny" / "1.2.0"
    home.mkdir(parents=True)
    original = (tiny_tfds / "tfds/tiny/1.2.0/dataset_info.json").read_text()
    (home / "dataset_info.json").write_text(original.replace("array_record", "tfrecord"))
    with pytest.raises(DataError, match=r"read at random.*got tfrecord.*tfds build tiny"):
        load("tiny", data_dir=tmp_path)
    (home / "dataset_info.json").write_text(original[:100])
    with pytest.raises(DataError, match="damaged"):
        load("tiny", data_dir=tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.fault
@pytest.mark.parametrize("kept", [0.0, 0.5, None], ids=["empty", "half", "absent"])
def test_damaged_prepared_sets(tiny_tfds, own_cache, tmp_path, kept):
    shutil.copytree(tiny_tfds / "tfds", tmp_path / "data")
    (path,) = tmp_path.glob("data/tiny/1.2.0/*-train.*")
    content = path.read_bytes()
    path.unlink()
    if kept is not None:
        path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match="damaged split 'train'"):
        load("tiny", data_dir=tmp_path / "data")


def test_the_cache_is_private_and_survives_damage(own_cache):
    built = []

    def build():
        built.append(1)
        return {"x": np.arange(1000, dtype=np.float32).reshape(100, 10), "label": np.arange(100)}

    for _ in range(2):
        arrays = cache.cached("a/b", {"version": 1}, build)
        np.testing.assert_array_equal(arrays["x"], build()["x"])
        built.pop()
    assert len(built) == 1
    (entry,) = (own_cache / "datasets").iterdir()
    assert entry.stat().st_mode & 0o777 == 0o700
    assert entry.parent.stat().st_mode & 0o777 == 0o700
    content = (entry / "x.npy").read_bytes()
    for damage in (content[:-1], content[:50], b"", content[:-9] + b"\1" + content[-8:]):
        built.clear()
        (entry / "x.npy").write_bytes(damage)
        np.testing.assert_array_equal(cache.cached("a/b", {"version": 1}, build)["x"], arrays["x"])
        assert len(built) == 1
        assert (entry / "x.npy").read_bytes() == content
    for manifest in ("", "[]", "{", '{"y": "1"}'):
        built.clear()
        (entry / "manifest.json").write_text(manifest)
        cache.cached("a/b", {"version": 1}, build)
        assert len(built) == 1
    cache.cached("a/b", {"version": 2}, build)
    assert len(list((own_cache / "datasets").iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DGMJAX_CACHE", str(tmp_path / "file"))
    found = cache.cached("a", {}, lambda: {"x": np.arange(3)})
    assert found["x"].tolist() == [0, 1, 2]
    assert "cannot cache a" in caplog.text


def test_wrong_images_under_a_known_name_are_refused():
    x = np.full((10, 28, 28, 1), 73, np.uint8)  # the mean of Fashion-MNIST
    with pytest.raises(DataError, match=r"mnist train` must have mean 0.1307; got 0.2863"):
        images.known_mean("mnist train", x, 0.1307)


def evil_member(kind):
    info = tarfile.TarInfo("jbrownlee/iris.csv")
    if kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    elif kind == "device":
        info.type = tarfile.CHRTYPE
    elif kind == "huge":
        info.size = 2**27
    return info


@pytest.mark.parametrize("kind", ["link", "device", "huge", "absent", "truncated"])
@pytest.mark.fault
def test_hostile_archives(kind, tmp_path):
    path = tmp_path / "uci" / "uci.tar.xz"
    path.parent.mkdir()
    with tarfile.open(path, "w:xz") as archive:
        if kind in ("link", "device"):
            archive.addfile(evil_member(kind))
        elif kind == "huge":
            with (tmp_path / "zeros").open("wb") as zeros:
                zeros.truncate(2**27)
            with (tmp_path / "zeros").open("rb") as zeros:
                archive.addfile(evil_member(kind), zeros)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError):
        load("uci/iris", data_dir=tmp_path)


def test_padding_of_sequences():
    found = sequences.pad([np.array([1, 2, 3]), np.array([4])], None)
    assert found["x"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert found["length"].tolist() == [3, 1]
    assert sequences.pad([np.array([1, 2, 3])], 2)["x"].tolist() == [[1, 2]]


# Real data. The numbers are those of the data sets' own papers and pages.

MNIST_CLASSES = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_mnist(data_folder):
    data = load("mnist", data_dir=data_folder)
    assert data.info["split_sizes"] == {"train": 50_000, "validation": 10_000, "test": 10_000}
    whole = load("mnist", data_dir=data_folder, validation=0)
    assert np.bincount(whole.splits["train"]["label"]).tolist() == MNIST_CLASSES
    both = [data.splits[split]["x"] for split in ("train", "validation")]
    assert sum(x.sum(dtype=int) for x in both) == whole.splits["train"]["x"].sum(dtype=int)
    again = load("mnist", data_dir=data_folder).splits["validation"]["label"]
    np.testing.assert_array_equal(again, data.splits["validation"]["label"])
    assert whole.splits["test"]["x"].dtype == np.uint8


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_decoding_is_that_of_tfds(data_folder):
    import tensorflow_datasets as tfds

    source = tfds.data_source("mnist", data_dir=data_folder / "tfds", split="test", download=False)
    test = load("mnist", data_dir=data_folder).splits["test"]
    for i in range(0, 10_000, 997):
        np.testing.assert_array_equal(test["x"][i], source[i]["image"])
        assert test["label"][i] == source[i]["label"]


def test_binarized_mnist(data_folder):
    data = load("binarized_mnist", data_dir=data_folder)
    assert data.info["split_sizes"] == {"train": 50_000, "validation": 10_000, "test": 10_000}
    assert data.info["value_range"] == [0, 1] and data.event_shape == (28, 28, 1)
    means = [round(float(part["x"].mean()), 4) for part in data.splits.values()]
    assert sorted(means) == [0.1306, 0.1311, 0.1325]


def test_fashion_mnist(data_folder):
    data = load("fashion_mnist", data_dir=data_folder, validation=0)
    assert data.info["split_sizes"] == {"train": 60_000, "test": 10_000}
    assert np.bincount(data.splits["test"]["label"]).tolist() == [1000] * 10


def test_other_images(data_folder):
    omniglot = load("omniglot", data_dir=data_folder, validation=0)
    assert omniglot.info["split_sizes"] == {"train": 19_280, "test": 13_180}
    assert len(np.unique(omniglot.splits["train"]["alphabet"])) == 30
    assert omniglot.splits["train"]["x"].mean() < 0.2  # ink is 1
    usps = load("usps", data_dir=data_folder)
    assert usps.info["split_sizes"] == {"train": 7291, "test": 2007}
    assert usps.info["value_range"] == [0, 255] and usps.event_shape == (16, 16, 1)
    assert set(usps.splits["test"]["label"]) == set(range(10))
    cifar = load("cifar10_5k", data_dir=data_folder)
    assert cifar.info["split_sizes"] == {"train": 3500, "validation": 500, "test": 1000}
    assert cifar.event_shape == (32, 32, 3)
    assert cifar.splits["test"]["label"][:5].tolist() == [3, 8, 8, 0, 6]


@pytest.mark.parametrize(
    ("table", "rows", "columns", "classes"),
    [
        ("iris", 150, 4, [50, 50, 50]),
        ("breast-cancer-wisconsin", 683, 9, [444, 239]),
        ("abalone", 4177, 8, None),
        ("power-plant", 9568, 5, None),
        ("spambase", 4601, 57, [2788, 1813]),
        ("wdbc", 569, 30, [357, 212]),
    ],
)
def test_uci_tables(data_folder, table, rows, columns, classes):
    data = load(f"uci/{table}", data_dir=data_folder, splits={"train": 1.0})
    train = data.splits["train"]
    assert train["x"].shape == (rows, columns) and train["x"].dtype == np.float32
    if classes is None:
        assert "label" not in train
    else:
        assert np.bincount(train["label"]).tolist() == classes
    json.dumps(data.info)


def test_sequences(data_folder):
    text = load("tinyshakespeare", data_dir=data_folder, length=100)
    symbols = text.info["symbols"]
    assert len(symbols) == 65
    first = "".join(symbols[i] for i in text.splits["train"]["x"][0])
    assert first.startswith("First Citizen:\nBefore we proceed")
    assert sum(text.info["split_sizes"].values()) in (11_152, 11_153)
    jsb = load("polymusic/JSB", data_dir=data_folder)
    assert {k: len(v["x"]) for k, v in jsb.splits.items()} == {
        "train": 229,
        "validation": 76,
        "test": 77,
    }
    pieces = jsb.splits["train"]
    windows = load("polymusic/JSB", data_dir=data_folder, length=16).splits["train"]
    assert windows["x"].shape[1:] == (16, 88)
    assert windows["length"].sum() == pieces["length"].sum() == 13_807
    assert windows["x"].sum() == pieces["x"].sum()
    speech = load("spoken_digits", data_dir=data_folder, validation=0)
    assert speech.info["split_sizes"] == {"train": 2700, "test": 300}
    assert np.bincount(speech.splits["test"]["label"]).tolist() == [30] * 10
    assert len(speech.info["speakers"]) == 6
    assert speech.splits["train"]["x"].dtype == np.int16


def test_every_name_is_a_string_once():
    assert len(names()) == len(set(names())) > 50
