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
