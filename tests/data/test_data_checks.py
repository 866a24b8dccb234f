"""What a model does not accept is refused on the host, with the remedy."""

import numpy as np
import pytest

from dgmjax.data import validate
from dgmjax.errors import DataError

GREY = np.array([[0, 17], [255, 3]], np.uint8)
ACCEPTED = [
    ("binary", np.array([[0, 1]], np.uint8)),
    ("binary", np.array([[0.0, 1.0]], np.float32)),
    ("binary", np.array([[True, False]])),
    ("unit", np.array([[0.0, 0.3, 1.0]])),
    ("byte", GREY),
    ("real", np.array([[-3.0, 1e30]])),
    ("real", GREY),
    ("count", np.array([[0, 70_000]])),
]
REFUSED = [
    ("binary", GREY, "uint8 values between 0 and 255.*dynamic.*threshold"),
    ("binary", np.array([[0.2, 1.0]]), "Name a binarisation"),
    ("binary", np.array([[-1, 1]]), "must be 0 or 1"),
    ("unit", GREY, "Scale"),
    ("unit", np.array([[0.5, 1.0001]]), r"in \[0, 1\]"),
    ("unit", np.array([[-0.0001]]), r"in \[0, 1\]"),
    ("byte", np.array([[256]]), "0..255"),
    ("byte", np.array([[0.5]]), "0..255"),
    ("count", np.array([[-1]]), "at least 0"),
    ("count", np.array([[1.0]]), "integers"),
    ("real", np.array([[0.0, np.nan]]), "must be finite"),
    ("real", np.array([[np.inf]]), "must be finite"),
    ("binary", np.array([[np.nan]]), "must be finite"),
    ("real", np.array([["a"]]), "real numbers; got dtype <U1"),
    ("real", np.array([[None]]), "real numbers; got dtype object"),
    ("real", np.array([[1j]]), "real numbers; got dtype complex128"),
    ("real", np.zeros((0, 3)), "at least one row"),
    ("tertiary", GREY, "`values` must be one of"),
]


@pytest.mark.parametrize(("values", "x"), ACCEPTED)
def test_accepted(values, x):
    validate({"x": x}, values=values, shape=x.shape[1:])


@pytest.mark.parametrize(("values", "x", "message"), REFUSED)
def test_refused(values, x, message):
    with pytest.raises(DataError, match=message):
        validate({"x": x}, values=values)


def test_shape_and_names():
    with pytest.raises(DataError, match=r"event shape \(28, 28, 1\); got \(2,\)"):
        validate({"x": GREY}, values="byte", shape=(28, 28, 1))
    with pytest.raises(DataError, match="must hold `x`"):
        validate({"image": GREY}, values="byte")
    with pytest.raises(DataError, match="equal leading length"):
        validate({"x": GREY, "label": np.zeros(3)}, values="byte")


@pytest.mark.parametrize("row", [0, -1])
def test_one_negative_value_in_any_block_makes_data_signed(monkeypatch, row):
    monkeypatch.setattr("dgmjax.data.checks._CHUNK_BYTES", 16)  # two rows a block
    x = np.full((6, 2), 0.5, np.float32)
    with pytest.raises(DataError, match="some of it negative"):
        validate({"x": x}, values="signed")
    x[row, 0] = -1
    validate({"x": x}, values="signed")
    x[2, 1] = 1.1
    with pytest.raises(DataError, match=r"in \[-1, 1\]"):
        validate({"x": x}, values="signed")


def test_a_fault_in_the_last_row_of_many_is_seen():
    x = np.zeros((3000, 100, 100), np.float32)  # 120 MB: several chunks
    x[-1, -1, -1] = np.nan
    with pytest.raises(DataError, match="finite"):
        validate({"x": x}, values="real")
    x[-1, -1, -1] = 0.5
    with pytest.raises(DataError, match="0 or 1"):
        validate({"x": x}, values="binary")
