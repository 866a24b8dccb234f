"""Missing entries: how many, where, and always the same ones."""

import json

import jax
import numpy as np
import pytest

from dgmjax import data, evaluation
from dgmjax.errors import DataError

X = np.arange(1, 401, dtype=np.float32).reshape(100, 4)
DATASET = data.Dataset("rows", {"train": {"x": X}, "test": {"x": X[:10]}}, {"version": "1"})


def test_a_share_of_the_entries_is_removed_and_the_truth_kept():
    missing = data.remove_entries(DATASET, data.AtRandom(0.3), seed=1)
    for split, arrays in missing.splits.items():
        x, observed = arrays["x"], arrays["observed"]
        assert observed.dtype == np.uint8 and (observed == 0).sum() == int(0.3 * x.size)
        np.testing.assert_array_equal(arrays["complete"], DATASET.splits[split]["x"])
        np.testing.assert_array_equal(x, arrays["complete"] * observed)
    assert missing.info["missing_share"] == {"train": 0.3, "test": 0.3}
    json.dumps(missing.info)


def test_what_is_missing_already_stays_missing_and_its_truth_unknown():
    gaps = np.arange(400).reshape(100, 4) % 7 == 0
    marked = data.mark_missing(np.where(gaps, np.float32(np.nan), X))
    holed = data.Dataset("holed", {"train": marked}, {})
    once = data.remove_entries(holed, data.AtRandom(0.3)).splits["train"]
    pattern = data.AtRandom(0.3)(X.shape, 0, *b"train")
    assert once["observed"].dtype == np.uint8 and once["complete"].dtype == np.float32
    np.testing.assert_array_equal(once["observed"], pattern * ~gaps)
    np.testing.assert_array_equal(once["x"], X * once["observed"])
    np.testing.assert_array_equal(once["complete"], np.where(gaps, np.nan, X))
    imputed = np.where(gaps, 99.0, X + 2.0)  # a filler is not a truth, and does not count
    error = evaluation.imputation_error(imputed, once["complete"], once["observed"])
    assert error.value == pytest.approx(4.0, rel=1e-5)
    removed = data.remove_entries(DATASET, data.AtRandom(0.3))
    twice = data.remove_entries(removed, data.AtRandom(0.3), seed=1).splits["train"]
    np.testing.assert_array_equal(twice["complete"], X)
    first, second = (data.AtRandom(0.3)(X.shape, seed, *b"train") for seed in (0, 1))
    np.testing.assert_array_equal(twice["observed"], first & second)


def test_entries_are_a_function_of_the_seed_and_the_split():
    masks = lambda seed: data.remove_entries(DATASET, data.AtRandom(0.5), seed).splits
    a, b, other = masks(0), masks(0), masks(1)
    np.testing.assert_array_equal(a["train"]["observed"], b["train"]["observed"])
    assert 0.3 < (a["train"]["observed"] != other["train"]["observed"]).mean() < 0.7
    assert (a["train"]["observed"][:10] != a["test"]["observed"]).any()


def test_every_entry_is_removed_equally_often():
    """400 masks of 10 x 4 entries, each removed in half of them: 5 sigma of a binomial."""
    masks = [data.AtRandom(0.5)((10, 4), seed) for seed in range(400)]
    assert np.abs(np.mean(masks, 0) - 0.5).max() < 5 * 0.5 / np.sqrt(400)


def test_no_entry_is_lost_to_rounding():
    """0.29 * 100 is 28.999999999999996 in floating point."""
    for rate, total in ((0.29, 100), (0.57, 100), (0.29, 10**6)):
        removed = (data.AtRandom(rate)((total, 1), 0) == 0).sum()
        assert removed == round(rate * total)


def test_blocks_are_one_square_an_image_anywhere():
    observed = data.Blocks(3)((200, 8, 6, 2), 0)
    assert observed.shape == (200, 8, 6, 2)
    hidden = observed == 0
    assert (hidden.sum((1, 2, 3)) == 3 * 3 * 2).all()
    assert (hidden[..., 0] == hidden[..., 1]).all()
    rows, columns = hidden[..., 0].any(2), hidden[..., 0].any(1)
    assert (rows.sum(1) == 3).all() and (columns.sum(1) == 3).all()
    corners = set(zip(rows.argmax(1).tolist(), columns.argmax(1).tolist()))
    assert len(corners) == 6 * 4


def test_nan_marks_what_is_missing():
    arrays = data.mark_missing(np.array([[1.0, np.nan], [np.nan, 4.0]]))
    assert arrays["observed"].tolist() == [[1, 0], [0, 1]]
    assert arrays["x"].tolist() == [[1.0, 0.0], [0.0, 4.0]]
    data.FillMissing().check(arrays)


def test_filling_is_a_transform_that_composes():
    arrays = {"x": np.array([[1.0, 7.0]], np.float32), "observed": np.array([[1, 0]], np.uint8)}
    filled = data.FillMissing()(arrays, jax.random.key(0))
    assert filled["x"].tolist() == [[1.0, 0.0]]
    both = data.Compose((data.FillMissing(), data.Identity()))
    assert data.apply_once(both, arrays, seed=0)["x"].tolist() == [[1.0, 0.0]]
    assert data.FillMissing() == data.FillMissing()


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: data.AtRandom(1.0), "`rate` must"),
        (lambda: data.Blocks(0), "`size` must"),
        (lambda: data.Blocks(8)((5, 8, 8, 1), 0), "`size` must"),
        (lambda: data.Blocks(2)((5, 8), 0), "`x` must be images"),
        (lambda: data.remove_entries(DATASET, data.AtRandom(0.5), -1), "`seed` must"),
        (lambda: data.mark_missing(np.array([1, 2])), "`x` must be floating point"),
        (lambda: data.check_observed({"x": X}), "`arrays` must hold `observed`"),
        (lambda: data.check_observed({"x": X, "observed": X[:, :3]}), "shape of `x`"),
        (lambda: data.check_observed({"x": X, "observed": X}), "0 or 1.*1 stands for"),
        (lambda: data.check_observed({"x": X, "observed": X.astype(str)}), "0 or 1"),
        (lambda: data.FillMissing().check({"x": X * np.nan, "observed": X}), "finite"),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_the_errors_are_data_errors():
    with pytest.raises(DataError):
        data.check_observed({"x": X, "observed": 2 * X})
