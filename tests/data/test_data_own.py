"""Data of the user's own: pictures, folders, texts and sounds; downloads by checksum."""

import gzip
import hashlib
import http.server
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image
from test_data_files import idx_bytes

from dgmjax.cli import commands
from dgmjax.data import load, vocabulary, write_wav
from dgmjax.data.sources import downloads
from dgmjax.errors import DataError
from dgmjax.lab import catalogue, runner
from dgmjax.runs import RunFolder

DRAWN = np.random.default_rng(0)
IMAGES = DRAWN.integers(0, 256, (20, 6, 8, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DGMJAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    """Twenty PNGs of 8 x 6 pixels, in one folder for each of two classes."""
    folder = tmp_path / "photos"
    for index, pixels in enumerate(IMAGES):
        place = folder / ("cats", "dogs")[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:02}.png")
    return folder


def test_pictures_come_back_exactly_with_their_folders_as_labels(photos):
    for _ in range(2):  # the second time from the cache
        data = load(str(photos), splits={"train": 12, "test": 8})
        for part in data.splits.values():
            for x, label in zip(part["x"], part["label"]):
                (index,) = np.flatnonzero((x == IMAGES).all((1, 2, 3)))
                assert label == index % 2
    assert data.info["classes"] == ["cats", "dogs"] and data.info["levels"] == 256


@pytest.mark.parametrize("change", ["renamed folder", "swapped files"])
def test_pictures_that_change_places_are_read_again(tmp_path, change):
    """Files of one name, size and time, so that only their places tell them apart."""
    folder = tmp_path / "pair"
    files = {label: folder / label / "0.bmp" for label in ("cat", "dog")}
    for grey, file in zip((10, 200), files.values()):
        file.parent.mkdir(parents=True)
        Image.fromarray(np.full((4, 4), grey, np.uint8)).save(file)
        os.utime(file, ns=(10**18, 10**18))
    read = lambda: load(str(folder), splits={"train": 1.0}).splits["train"]
    assert read()["x"][:, 0, 0, 0].tolist() == [10, 200]
    if change == "renamed folder":
        (folder / "cat").rename(folder / "zebra")
    else:
        files["cat"].rename(folder / "aside")
        files["dog"].rename(files["cat"])
        (folder / "aside").rename(files["dog"])
    found = read()
    assert found["label"].tolist() == [0, 1] and found["x"][:, 0, 0, 0].tolist() == [200, 10]


def test_pictures_are_resized_on_request_and_turned_grey(photos):
    whole = np.full((9, 5, 3), 200, np.uint8)
    Image.fromarray(whole).save(photos / "cats" / "tall.png")
    with pytest.raises(DataError, match=r"pictures of one size.*tall.png of 5 x 9. Give a `size`"):
        load(str(photos))
    data = load(str(photos), size=4, splits={"train": 1.0})
    assert data.event_shape == (4, 4, 3)
    assert (data.splits["train"]["x"] == 200).all((1, 2, 3)).sum() == 1
    grey = load(str(photos), size=6, grey=True, splits={"train": 1.0}).splits["train"]["x"]
    luma = IMAGES[:, :, 1:7] @ np.array([0.299, 0.587, 0.114])  # of the centred square
    by_mean = lambda x: np.sort(x.reshape(len(x), -1).mean(1))
    np.testing.assert_allclose(by_mean(grey[grey.std((1, 2, 3)) > 0]), by_mean(luma), atol=0.6)


def write_split(folder, kind, split, label, value):
    """A picture or a sound of that value in a folder of a class of a split."""
    place = folder / split / label
    place.mkdir(parents=True, exist_ok=True)
    if kind == "pictures":
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(place / f"{value}.png")
    else:
        write_wav(place / f"{value}.wav", np.full(16, value, np.int16), 8000)


@pytest.mark.parametrize("kind", ["pictures", "sounds"])
def test_folders_of_splits_are_no_classes(tmp_path, kind):
    """The classes are what is in them, a split may lack one, and a single `train` is divided."""
    folder = tmp_path / "own"
    for value, label in enumerate(("ant", "bee", "cat") * 4):
        write_split(folder, kind, "train", label, value)
    options = {"length": 16} if kind == "sounds" else {}
    alone = load(str(folder), splits={"train": 6, "test": 6}, **options)
    assert alone.info["classes"] == ["ant", "bee", "cat"] and "random" in alone.info["splits"]
    write_split(folder, kind, "val", "cat", 50)
    write_split(folder, kind, "test", "bee", 60)
    found = load(str(folder), **options)
    assert found.info["classes"] == ["ant", "bee", "cat"]
    assert found.info["splits"] == "as in the folder"
    values = {s: part["x"].reshape(len(part["x"]), -1)[:, 0] for s, part in found.splits.items()}
    labels = {split: part["label"].tolist() for split, part in found.splits.items()}
    assert sorted(values["train"].tolist()) == list(range(12))
    assert labels["train"] == (values["train"] % 3).tolist()
    assert (values["validation"].tolist(), labels["validation"]) == ([50], [2])
    assert (values["test"].tolist(), labels["test"]) == ([60], [1])
    with pytest.raises(DataError, match="`splits` must be left out: the folder has its own"):
        load(str(folder), splits={"train": 1.0}, **options)
    write_split(folder, kind, "bus", "red", 70)
    assert load(str(folder), **options).info["classes"] == ["bus", "test", "train", "val"]


@pytest.mark.parametrize("kind, channels", [(2, 3), (4, 2)])
def test_colours_of_16_bits_are_refused(tmp_path, kind, channels):
    """Pillow reads them as 8 bits."""
    part = lambda name, body: (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    )
    header = struct.pack(">IIBBBBB", 2, 1, 16, kind, 0, 0, 0)
    pixels = zlib.compress(b"\0" + struct.pack(">H", 300) * 2 * channels)
    content = part(b"IHDR", header) + part(b"IDAT", pixels) + part(b"IEND", b"")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(DataError, match="8 bits a channel"):
        load(str(tmp_path / "deep"))


def test_what_is_no_picture_of_8_bits_is_refused(photos, tmp_path):
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(photos / "cats" / "deep.png")
    with pytest.raises(DataError, match="8 bits a channel"):
        load(str(photos))
    (photos / "cats" / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\nand nothing more")
    with pytest.raises(DataError, match=r"readable .png file"):
        load(str(photos))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds none of them"):
        load(str(tmp_path / "empty"))
    (tmp_path / "x.pdf").write_text("")
    with pytest.raises(DataError, match="or a folder of pictures"):
        load(str(tmp_path / "x.pdf"))


def idx_folder(folder, x, label):
    folder.mkdir(parents=True)
    parts = {"train": slice(0, 30), "t10k": slice(30, None)}
    for name, rows in parts.items():
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(x[rows])))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(label[rows]))
    return folder


def test_the_four_idx_files_of_mnist(tmp_path, monkeypatch):
    x = DRAWN.integers(0, 256, (40, 5, 4)).astype(np.uint8)
    label = np.arange(40, dtype=np.uint8)
    folder = idx_folder(tmp_path / "mnist", x, label)
    data = load(str(folder))
    np.testing.assert_array_equal(data.splits["test"]["x"][..., 0], x[30:])
    np.testing.assert_array_equal(data.splits["train"]["label"], label[:30])
    with pytest.raises(DataError, match=r"mnist train` must have mean 0.1307"):
        load("mnist", data_dir=tmp_path, validation=5)
    monkeypatch.setattr("dgmjax.data.sources.images.known_mean", lambda *_, **__: None)
    named = load("mnist", data_dir=tmp_path, validation=5)
    assert named.info["split_sizes"] == {"train": 25, "validation": 5, "test": 10}
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="must hold t10k-labels-idx1-ubyte"):
        load(str(folder))


def test_the_text_of_binarized_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr("dgmjax.data.sources.images.known_mean", lambda *_, **__: None)
    folder = tmp_path / "binarized_mnist"
    folder.mkdir()
    x = DRAWN.integers(0, 2, (3, 784))
    for part in ("train", "valid", "test"):
        rows = [" ".join(map(str, row)) + " \n" for row in x]
        (folder / f"binarized_mnist_{part}.amat").write_text(
            "".join(r.replace(" \n", "\n") for r in rows)
        )
    found = load("binarized_mnist", data_dir=tmp_path)
    np.testing.assert_array_equal(found.splits["validation"]["x"].reshape(3, 784), x)
    (folder / "binarized_mnist_test.amat").write_text("2" + " 0" * 783 + "\n")
    with pytest.raises(DataError, match="784 digits 0 or 1"):
        load("binarized_mnist", data_dir=tmp_path)


def test_text_and_sounds(tmp_path):
    (tmp_path / "mine.txt").write_text("Änderung, naïve. " * 20, encoding="utf-8")
    text = load(str(tmp_path / "mine.txt"), length=16, test=0.2)
    assert vocabulary(text).decode(text.splits["train"]["x"][0]) == "Änderung, naïve."
    (tmp_path / "mine.txt").write_text("with a mark. " * 40, encoding="utf-8-sig")
    assert "\ufeff" not in vocabulary(load(str(tmp_path / "mine.txt"), length=16)).symbols
    (tmp_path / "mine.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"readable .txt"):
        load(str(tmp_path / "mine.txt"))
    sound = DRAWN.integers(-9000, 9000, 100).astype(np.int16)
    for name in ("one.wav", "two.WAV"):
        write_wav(tmp_path / name, sound, 8000)
    data = load(str(tmp_path), length=40, splits={"train": 1.0})
    train = data.splits["train"]
    assert train["length"].tolist() == [40, 40, 20, 40, 40, 20]
    np.testing.assert_array_equal(train["x"][:3].ravel()[:100], sound)
    assert not train["x"][2, 20:].any() and data.info["sample_rate_hz"] == 8000
    write_wav(tmp_path / "two.wav", sound, 16000)
    with pytest.raises(DataError, match="must have 8000 Hz; got 16000 Hz"):
        load(str(tmp_path))


@pytest.mark.parametrize("sizes", [(3, 4, 5, 6, 7, 8, 9), (30, 1, 1), (1, 1, 30)])
def test_no_recording_is_in_two_splits_of_sounds(tmp_path, sizes):
    for number, size in enumerate(sizes):
        write_wav(tmp_path / f"{number}.wav", np.full(10 * size, 1 + number, np.int16), 8000)
    for seed in range(5):
        found = load(str(tmp_path), length=10, split_seed=seed)
        files = {split: set(part["x"][:, 0].tolist()) for split, part in found.splits.items()}
        assert list(files) == ["train", "validation", "test"] and all(files.values())
        assert sum(map(len, files.values())) == len(set.union(*files.values())) == len(sizes)
        assert sum(found.info["split_sizes"].values()) == sum(sizes)
        assert found.info["splits"] == f"whole files at random, seed {seed}"
        if len(sizes) == 7:  # 80% of 42 pieces, to within a file and one that the others need
            assert abs(found.info["split_sizes"]["train"] - 0.8 * 42) <= max(sizes)


@pytest.mark.parametrize("files", [1, 2])
def test_fewer_sounds_than_splits_are_divided_in_order_of_time(tmp_path, files):
    parts = np.split(np.arange(400, dtype=np.int16), files)
    for number, part in enumerate(parts):
        write_wav(tmp_path / f"{number}.wav", part, 8000)
    found = load(str(tmp_path), length=10)
    rows = {split: part["x"].ravel().tolist() for split, part in found.splits.items()}
    ends = {"train": (0, 320), "validation": (320, 360), "test": (360, 400)}
    assert rows == {split: list(range(*places)) for split, places in ends.items()}
    assert found.info["splits"] == "in order of time"


def trained(name, tmp_path, **arguments):
    """An experiment of the catalogue in miniature on data of the user's own."""
    function = catalogue.load_experiment(name)
    arguments = catalogue.own_defaults(function) | arguments
    experiment = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    run = RunFolder.create(tmp_path, name, arguments, 0, tiny=True)
    runner.train(experiment, run, steps=2, quiet=True)
    return run.read_records()


def test_experiments_train_on_data_of_their_own(photos, tmp_path):
    records = trained("vae_mnist", tmp_path, dataset=str(photos), size=4, grey=True, batch_size=4)
    assert {record.dataset for record in records} == {"photos"}
    assert {record.binarisation for record in records} == {"dynamic"}
    assert not any(record.published for record in records)
    table = tmp_path / "table.csv"
    np.savetxt(table, DRAWN.normal(size=(400, 3)), delimiter=",", header="a,b,c", comments="")
    assert trained("uci_density", tmp_path, dataset=str(table))[0].dataset == "table.csv"


@pytest.mark.parametrize(
    "name, content, rule",
    [
        ("vae_mnist", np.zeros((40, 3)), "must hold images"),
        ("vae_mnist", np.full((40, 4, 4, 1), 99.0), "floating point in .0, 1.*Store grey values"),
        ("image_flow", np.zeros((40, 4, 4, 1)) + 0.25, "must hold integer grey values"),
        ("uci_density", np.zeros((40, 4, 4)), "must hold rows of numbers"),
        ("plane_density", np.zeros((40, 3)), "must hold rows of 2 numbers"),
    ],
)
def test_data_that_the_likelihood_does_not_fit_are_refused(tmp_path, name, content, rule):
    np.save(tmp_path / "x.npy", content)
    function = catalogue.load_experiment(name)
    arguments = catalogue.own_defaults(function) | {"dataset": str(tmp_path / "x.npy")}
    with pytest.raises(DataError, match=rule):
        catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)


FILE = DRAWN.integers(0, 256, 300_000).astype(np.uint8).tobytes()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server of one file that answers ranges, and ends the first answer after a half."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers["Range"] or "bytes=0-")[6:-1])
            asked.append(start)
            body = FILE[start:] if self.path == "/toy/file.bin" else bytes(len(FILE))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if len(asked) == 1 else body)

        def log_message(self, *_):
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    digest = hashlib.sha256(FILE).hexdigest()
    base = f"http://127.0.0.1:{served.server_address[1]}"
    wrong = f"{base}/wrong"
    rows = {"toy": [downloads.File("toy/file.bin", digest, len(FILE), (f"{base}/toy/file.bin",))]}
    rows["bad"] = [downloads.File("bad/file.bin", digest, len(FILE), (wrong,))]
    monkeypatch.setattr(downloads, "DOWNLOADS", rows)
    yield asked, base
    served.shutdown()
    served.server_close()


def test_a_download_continues_and_its_checksum_counts(server, tmp_path, capsys):
    asked, base = server
    get = lambda name, *more: commands.main(
        ["data", "get", name, "--data-dir", str(tmp_path), *more]
    )
    assert get("toy") == 2  # the server hung up
    assert "The same command continues" in capsys.readouterr().err
    assert (tmp_path / "toy" / "file.bin.part").stat().st_size == len(FILE) // 2
    assert get("toy") == 0 and asked == [0, len(FILE) // 2]
    assert (tmp_path / "toy" / "file.bin").read_bytes() == FILE
    assert f"export DGMJAX_DATA={tmp_path}" in capsys.readouterr().out
    assert get("toy") == 0 and len(asked) == 2 and "there already" in capsys.readouterr().out
    assert get("bad") == 2 and "not those of the original" in capsys.readouterr().err
    assert not any((tmp_path / "bad").iterdir())
    (tmp_path / "toy" / "file.bin").write_bytes(b"damaged")
    assert get("toy", "--mirror", base) == 0
    assert (tmp_path / "toy" / "file.bin").read_bytes() == FILE
    assert get("nothing") == 2 and "must be one of toy, bad" in capsys.readouterr().err


def test_a_mirror_may_be_a_folder(server, tmp_path):
    source = tmp_path / "mirror" / "toy"
    source.mkdir(parents=True)
    (source / "file.bin").write_bytes(FILE)
    found = downloads.get(
        "toy", tmp_path / "data", base=f"file://{tmp_path}/mirror", say=lambda _: None
    )
    assert [path.read_bytes() for path in found] == [FILE]


def test_the_checksums_are_those_that_tfds_states():
    pytest.importorskip("tensorflow_datasets")
    from importlib.resources import files

    home = files("tensorflow_datasets")
    stated = "".join(
        home.joinpath(name).read_text()
        for name in (
            *("url_checksums/mnist.txt", "url_checksums/fashion_mnist.txt"),
            *("datasets/binarized_mnist/checksums.tsv", "datasets/tiny_shakespeare/checksums.tsv"),
        )
    )
    for rows in downloads.DOWNLOADS.values():
        for file in rows:
            assert f"{file.urls[0]}\t{file.size}\t{file.sha256}\t" in stated, file.place


def test_check_says_what_was_found(photos, tmp_path, capsys):
    assert commands.main(["data", "check", str(photos)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("images 6 x 8 x 3, uint8 (pictures of photos)\nsplits: train 16")
    assert "labels: 2 classes: cats, dogs" in out
    assert f"dgmjax train vae_mnist --dataset {photos}" in out
    np.savez(tmp_path / "t.npz", x=DRAWN.normal(size=(40, 2)), label=np.arange(40) % 3 - 1)
    assert commands.main(["data", "check", str(tmp_path / "t.npz")]) == 0
    assert "labels: 2 classes, " in capsys.readouterr().out
    np.savetxt(tmp_path / "t.csv", DRAWN.normal(size=(40, 2)))
    assert commands.main(["data", "check", str(tmp_path / "t.csv")]) == 0
    assert "rows of 2 numbers" in capsys.readouterr().out
    assert commands.main(["data", "chek", "x"]) == 2
    assert "Did you mean `check`?" in capsys.readouterr().err
