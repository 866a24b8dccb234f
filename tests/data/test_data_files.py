"""Files the user brings: read right, and refused where they are damaged or hostile."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

from dgmjax.data import load
from dgmjax.data.reading.files import read_csv, read_idx, read_npy, read_npz
from dgmjax.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 5, 4)).astype(np.uint8)


def idx_bytes(array, code=8):
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def test_idx(tmp_path):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "a-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx_bytes(np.arange(40, dtype=np.uint8)))
    )
    floats = np.linspace(0, 1, 6).reshape(2, 3)
    (tmp_path / "f.idx").write_bytes(idx_bytes(floats.astype(">f4"), 13))
    np.testing.assert_array_equal(read_idx(tmp_path / "a-images-idx3-ubyte"), IMAGES)
    found = read_idx(tmp_path / "f.idx")
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_allclose(found, floats)
    data = load(
        str(tmp_path / "a-images-idx3-ubyte"),
        label=tmp_path / "a-labels-idx1-ubyte.gz",
        splits={"train": 30, "test": 10},
    )
    for part in data.splits.values():
        np.testing.assert_array_equal(part["x"][..., 0], IMAGES[part["label"]])
    assert data.info["split_sizes"] == {"train": 30, "test": 10}
    assert data.event_shape == (5, 4, 1)


def test_npz_with_splits_of_its_own(tmp_path):
    path = tmp_path / "data.npz"
    label = np.arange(40)
    np.savez_compressed(
        path, x_train=IMAGES[:30], y_train=label[:30], test_x=IMAGES[30:], test_y=label[30:]
    )
    data = load("data.npz", data_dir=tmp_path)  # found in the data folder
    np.testing.assert_array_equal(data.splits["train"]["x"], IMAGES[:30])
    np.testing.assert_array_equal(data.splits["test"]["label"], label[30:])
    assert data.info["splits"] == "as in the file"
    with pytest.raises(DataError, match="the file has its own"):
        load(str(path), splits={"train": 1.0})


@pytest.mark.parametrize(
    "keys",
    [
        ("train", "validation", "test"),
        ("train", "val", "test"),
        ("x_train", "x_val", "x_test"),
        ("valid_images", "test_images", "train_images"),
    ],
)
def test_npz_spellings_of_splits(tmp_path, keys):
    rows = {"tr": slice(0, 30), "va": slice(30, 36), "te": slice(36, None)}
    part = lambda key: rows[key.removeprefix("x_")[:2]]
    label = np.arange(40)
    labels = {"label_train": label[:30], "y_val": label[30:36], "test_y": label[36:]}
    np.savez(tmp_path / "a.npz", **{key: IMAGES[part(key)] for key in keys}, **labels)
    found = load(str(tmp_path / "a.npz"))
    assert found.info["split_sizes"] == {"train": 30, "validation": 6, "test": 4}
    for arrays in found.splits.values():
        np.testing.assert_array_equal(arrays["x"], IMAGES[arrays["label"]])


def test_splits_of_two_units_are_refused(tmp_path):
    """Fractions of the range beside grey levels; labels may be of any type."""
    label = {"y_train": np.arange(40.0), "y_test": np.arange(4)}
    np.savez(tmp_path / "a.npz", x_train=IMAGES / np.float32(255), x_test=IMAGES[:4], **label)
    with pytest.raises(DataError, match=r"^`x` must be fractions in every split.*uint8 in test"):
        load(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "a.npz", x_train=IMAGES.astype(np.int64), x_test=IMAGES[:4], **label)
    assert load(str(tmp_path / "a.npz")).splits["test"]["label"].dtype == np.int32


@pytest.mark.parametrize(
    "keys, message",
    [
        (["x_test"], r"a split for training, such as x_train; got .*a.npz with \['x_test'\]"),
        (["test"], "a split for training"),
        (["val", "y_test"], r"outside its splits; got .* with \['y_test'\]"),
        (["x_train", "x_dev", "y"], r"outside its splits; got .* with \['x_dev', 'y'\]. Name"),
        (["x_train", "y_val"], r"outside its splits; got .* with \['y_val'\]"),
        (["x_train", "x_val", "valid"], r"one array each of .'x_train', 'x_validation'"),
        (["y_train"], r"`x`; got .* with \['y_train'\]"),
    ],
)
def test_npz_arrays_that_would_be_lost_are_refused(tmp_path, keys, message):
    np.savez(tmp_path / "a.npz", **dict.fromkeys(keys, np.arange(40)))
    with pytest.raises(DataError, match=f"^`name` must hold .*{message}"):
        load(str(tmp_path / "a.npz"))


def test_a_single_array_of_training_rows_is_not_divided(tmp_path):
    np.savez(tmp_path / "a.npz", train=IMAGES)
    assert load(str(tmp_path / "a.npz")).info["split_sizes"] == {"train": 40}
    np.savez(tmp_path / "b.npz", contest=IMAGES)  # "test" is no word of it
    assert load(str(tmp_path / "b.npz")).info["split_sizes"]["train"] == 32


@pytest.mark.parametrize("key", ["label", "y", "labels"])
def test_labels_are_whole_numbers_wherever_they_come_from(tmp_path, key):
    label = np.arange(40) % 3
    for name, made in (
        ("inside.npz", lambda y: npz_bytes(x=IMAGES, **{key: y})),
        ("split.npz", lambda y: npz_bytes(x_train=IMAGES, **{f"{key}_train": y})),
    ):
        path = tmp_path / name
        path.write_bytes(made(label.astype(np.float64)))
        assert load(str(path)).splits["train"]["label"].dtype == np.int32
        for wrong, message in (
            (np.full(40, "a"), "be whole numbers; got <U1"),
            (label + 0.5, "be whole numbers below 2"),
            (np.eye(3)[label], r"be one number for each row; got shape \(.*argmax"),
            (label - 2, "be classes from 0 on, or -1 for none; got -2"),
        ):
            path.write_bytes(made(wrong))
            with pytest.raises(DataError, match=f"^`label` must {message}"):
                load(str(path))


def test_labels_beside_the_file_are_one_array(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    np.savez(tmp_path / "y.npz", y=np.arange(40))
    data = load(str(tmp_path / "x.npy"), label=tmp_path / "y.npz", splits={"train": 1.0})
    np.testing.assert_array_equal(data.splits["train"]["label"], np.arange(40))
    np.savez(tmp_path / "y.npz", a=np.arange(40), b=np.arange(40))
    with pytest.raises(
        DataError, match=r"^`label` must be a file of one array; got .*\['a', 'b'\]"
    ):
        load(str(tmp_path / "x.npy"), label=tmp_path / "y.npz")
    np.savez(tmp_path / "x.npz", x_train=IMAGES)
    with pytest.raises(DataError, match=r"^`label` must be left out: the file has its own"):
        load(str(tmp_path / "x.npz"), label=tmp_path / "y.npz")


def test_npz_and_npy_without_splits(tmp_path):
    np.savez(tmp_path / "one.npz", IMAGES)
    np.save(tmp_path / "one.npy", IMAGES)
    for name in ("one.npz", "one.npy"):
        parts = load(str(tmp_path / name)).splits
        assert {split: len(part["x"]) for split, part in parts.items()} == {
            "train": 32,
            "validation": 4,
            "test": 4,
        }
    whole = load(str(tmp_path / "one.npy"), mmap=True, splits={"train": 1.0}).splits["train"]["x"]
    assert isinstance(whole, np.memmap)
    np.testing.assert_array_equal(whole, IMAGES)


def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    table = np.random.default_rng(0).normal(size=(20, 3))
    table[:, 1] = np.arange(20) % 2
    lines = "\n".join(",".join(map(repr, row)) for row in table.tolist())
    path.write_text("height,class,weight\n" + lines + "\n\n")
    np.testing.assert_array_equal(read_csv(path), table)
    data = load(str(path), label=1, splits={"train": 20})
    np.testing.assert_array_equal(data.splits["train"]["x"], table[:, [0, 2]].astype(np.float32))
    np.testing.assert_array_equal(data.splits["train"]["label"], table[:, 1])
    path.write_text("1 2\n3 4\n")
    np.testing.assert_array_equal(read_csv(path), [[1, 2], [3, 4]])


def test_large_labels_of_a_csv_stay_apart(tmp_path):
    label = 2**24 + np.arange(20)
    np.savetxt(tmp_path / "t.csv", np.stack([np.arange(20), label], -1), delimiter=",")
    np.savetxt(tmp_path / "x.csv", np.arange(20))
    np.savetxt(tmp_path / "y.csv", label)
    for name, of in (("t.csv", 1), ("x.csv", str(tmp_path / "y.csv"))):
        train = load(str(tmp_path / name), label=of, splits={"train": 20}).splits["train"]
        np.testing.assert_array_equal(train["label"], label)
        assert train["x"].dtype == np.float32


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n",
        "\ufeff1,2\n3,4\n",
        "\ufeffheight,weight\n1,2\n3,4\n",
        '"1","2"\n"3", "4"\n',
        '"height, cm",weight\n1,2\n\n3,4',
        "1;2\r\n3;4\r\n",
        "\n a b\n 1  2 \n 3\t4",
    ],
)
def test_csv_keeps_every_row(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(read_csv(tmp_path / "t.csv"), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "text, message",
    [
        ("5,\n1,2\n", "line 1, column 2 holds '', not a number"),
        ("5,NA\n1,2\n", "line 1, column 2 holds 'NA', not a number"),
        ("5,1_000\n1,2\n", "line 1, column 2 holds '1_000', not a number"),
        ("a,b\n\n1,2\n3,four\n", "line 4, column 2 holds 'four', not a number"),
        ("1,2\n3\n", "line 2 has 1 cells, not 2"),
        ("1," + "2" * 200_000, "field larger than field limit"),
    ],
)
def test_csv_cells_that_are_no_numbers_are_named(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=f"^`name` must be a readable .csv file; .*: {message}"):
        read_csv(tmp_path / "t.csv")


def npz_bytes(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def npy_bytes(array, allow_pickle=False):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def announcing(shape):
    """An `.npy` file of 40 bytes of data that announces another shape."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(40)


def zipped(name, data):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


NPZ, NPY, GZ = npz_bytes(x=IMAGES), npy_bytes(IMAGES), gzip.compress(idx_bytes(IMAGES))
OBJECTS = np.array([{"a": 1}], dtype=object)
HOSTILE = {
    "truncated.npz": (NPZ[: len(NPZ) // 2], "readable .npz"),
    "flipped.npz": (flipped(NPZ, 300), "readable .npz"),
    "empty.npz": (b"", "readable .npz"),
    "pickled.npz": (zipped("x.npy", npy_bytes(OBJECTS, True)), "Python objects"),
    "lying.npz": (zipped("x.npy", announcing((2**40,))), "announces"),
    "strange.npz": (zipped("x.npy", b"not an array"), "readable .npz"),
    "truncated.npy": (NPY[:-7], "announces"),
    "headless.npy": (NPY[:30], "readable .npy"),
    "pickled.npy": (npy_bytes(OBJECTS, True), "Python objects"),
    "lying.npy": (announcing((2**60, 2**10)), "announces"),
    "truncated.gz": (GZ[:-40], "readable .gz"),
    "flipped.gz": (flipped(GZ, len(GZ) - 6), "readable .gz"),
    "short-ubyte": (idx_bytes(IMAGES)[:-1], "ends after 799 bytes"),
    "long-ubyte": (idx_bytes(IMAGES) + b"1", "ends after 801 bytes"),
    "lying.idx": (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31), "unpacks to"),
    "png.idx": (b"\x89PNG\r\n\x1a\n", "not IDX"),
    "nothing.idx": (b"", "not IDX"),
    "ragged.csv": (b"1,2\n3,4\n5", "readable .csv"),
    "words.csv": (b"1,2\n3,four\n", "readable .csv"),
    "empty.csv": (b"\n\n", "table with rows"),
    "header.csv": (b"a,b\n", "table with rows"),
    "nan.csv": (b"1,2\n3,nan\n4,5\n1,1\n1,1\n1,1\n1,1\n1,1\n1,1\n1,1\n", "must be finite"),
    "binary.csv": (bytes(range(128, 256)), "readable .csv"),
    "nan.npy": (npy_bytes(np.full((20, 2), np.nan)), "must be finite"),
    "words.npy": (npy_bytes(np.full((20, 2), "a")), "real numbers"),
    "two_rows.npy": (npy_bytes(np.zeros((2, 3))), "at least one of the 2 rows"),
    "scalar.npy": (npy_bytes(np.zeros(())), "one row per example"),
    "unequal.npz": (npz_bytes(x=IMAGES, label=np.zeros(3)), "equal leading length"),
    "no_x.npz": (npz_bytes(a=IMAGES, b=IMAGES), "must hold `x`"),
    "unknown.xyz": (b"1", "or a folder of pictures"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.fault
def test_damaged_and_hostile_files(name, tmp_path):
    content, message = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / name))


def test_an_archive_made_to_exhaust_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((80, 2**20), np.uint8))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"unpacks to 8388.*raise max_bytes"):
        read_npz(path)
    assert read_npz(path, max_bytes=2**27)["x"].shape == (80, 2**20)
    np.save(tmp_path / "a.npy", IMAGES)
    with pytest.raises(DataError, match="at most 100 bytes"):
        read_npy(tmp_path / "a.npy", max_bytes=100)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match=f"looked for nowhere.npz and {tmp_path}/nowhere.npz"):
        load("nowhere.npz", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_arrays_of_another_order_of_bytes_are_read_in_that_of_the_machine(tmp_path, name):
    """JAX takes no other."""
    x = np.arange(24.0).reshape(12, 2)
    if name == "x.npy":
        np.save(tmp_path / name, x.astype(">f4"))
    else:
        np.savez(tmp_path / name, x=x.astype(">f4"))
    found = load(str(tmp_path / name), splits={"train": 1.0}).splits["train"]["x"]
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(np.sort(found.ravel()), x.ravel())
