"""Batches are a pure function of (seed, step); evaluation averages are exact."""

import numpy as np
import pytest

from dgmjax.data import Batches, Dataset, evaluation_batches, split_rows, streamed
from dgmjax.data.dataset import permutation
from dgmjax.errors import DataError, DgmjaxError

ROWS = np.arange(103)
ARRAYS = {"x": np.stack([ROWS, -ROWS], 1).astype(np.float32), "label": ROWS.astype(np.int32)}


def test_an_epoch_is_a_permutation_without_its_rest():
    batches = Batches(ARRAYS, batch_size=10, seed=3)
    assert batches.steps_per_epoch == 10
    epochs = [np.concatenate([batches.indices(10 * e + s) for s in range(10)]) for e in range(40)]
    for rows in epochs:
        assert rows.dtype == np.int32
        assert len(set(rows.tolist())) == 100
        assert set(rows.tolist()) <= set(ROWS.tolist())
    assert len({tuple(rows.tolist()) for rows in epochs}) == 40
    dropped = [frozenset(set(ROWS.tolist()) - set(rows.tolist())) for rows in epochs]
    assert len(set(dropped)) > 30, "which rows are dropped must vary from epoch to epoch"


def test_first_rows_of_epochs_are_uniform():
    firsts = [Batches({"x": np.arange(8)}, 1, seed).indices(0)[0] for seed in range(800)]
    counts = np.bincount(firsts, minlength=8)
    statistic = np.sum((counts - 100) ** 2 / 100)
    assert statistic < 29.9, counts  # chi-square with 7 degrees of freedom at 1e-4


def test_a_batch_does_not_depend_on_what_was_asked_before():
    straight = Batches(ARRAYS, 10, seed=1)
    expected = [straight.batch(step)["label"] for step in range(35)]
    resumed = Batches(ARRAYS, 10, seed=1)
    for step in (34, 0, 17, 9, 10, 29, 17):
        np.testing.assert_array_equal(resumed.batch(step)["label"], expected[step])
    other = Batches(ARRAYS, 10, seed=2)
    assert not np.array_equal(other.batch(0)["label"], expected[0])


def test_rows_stay_together():
    batch = Batches(ARRAYS, 7, seed=0).batch(5)
    np.testing.assert_array_equal(batch["x"][:, 0], batch["label"])
    np.testing.assert_array_equal(batch["x"][:, 1], -batch["label"])


def test_a_block_is_its_batches():
    batches = Batches(ARRAYS, 10, seed=5)
    block = batches.indices_block(7, 26)
    assert block.shape == (26, 10)
    assert block.dtype == np.int32
    np.testing.assert_array_equal(block, [batches.indices(step) for step in range(7, 33)])
    assert batches.indices_block(3, 0).shape == (0, 10)


def test_shares_of_processes_make_up_the_batch():
    batches = Batches(ARRAYS, 12, seed=5)
    parts = [batches.batch(4, part=(i, 3))["label"] for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), batches.batch(4)["label"])
    with pytest.raises(DgmjaxError, match="must divide the batch size 12"):
        batches.batch(4, part=(0, 5))


def test_without_shuffle_the_order_is_the_stored_one():
    batches = Batches(ARRAYS, 10, seed=0, shuffle=False)
    for step in (0, 9, 10, 13):
        first = step % 10 * 10
        np.testing.assert_array_equal(batches.indices(step), np.arange(first, first + 10))


def test_memory_mapped_rows(tmp_path):
    np.save(tmp_path / "x.npy", ARRAYS["x"])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    batch = Batches({"x": mapped}, 10, seed=1).batch(3)["x"]
    assert type(batch) is np.ndarray
    np.testing.assert_array_equal(batch, Batches(ARRAYS, 10, seed=1).batch(3)["x"])


def test_the_permutation_is_the_one_of_every_numpy():
    """Raw Philox words are guaranteed by NumPy; runs resume after an upgrade."""
    words = np.random.Philox(np.random.SeedSequence((4, 2))).random_raw(9)
    order = sorted(range(9), key=lambda i: int(words[i]))
    np.testing.assert_array_equal(permutation(9, 4, 2), order)
    assert permutation(8, 0, 0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_streamed_batches_are_the_resident_ones(prefetch):
    batches = Batches(ARRAYS, 10, seed=5)
    stream = streamed(batches, 8, prefetch, num_steps=15)
    found = list(stream)
    assert len(found) == 15
    for step, batch in enumerate(found, start=8):
        np.testing.assert_array_equal(batch["x"], batches.batch(step)["x"])
        np.testing.assert_array_equal(batch["label"], batches.batch(step)["label"])


def test_a_stream_has_no_end_and_may_be_a_share():
    batches = Batches(ARRAYS, 10, seed=5)
    stream = streamed(batches, 10**9, part=(1, 2))
    for step in range(10**9, 10**9 + 3):
        np.testing.assert_array_equal(next(stream)["label"], batches.batch(step)["label"][5:])


@pytest.mark.parametrize("batch_size", [1, 10, 103, 250])
def test_evaluation_averages_are_exact(batch_size):
    total = count = 0.0
    for batch in evaluation_batches(ARRAYS, batch_size):
        assert batch["x"].shape == (batch_size, 2)
        assert batch["mask"].shape == (batch_size,)
        assert batch["mask"].dtype == np.float32
        total += float(np.sum(batch["mask"] * batch["label"]))
        count += float(np.sum(batch["mask"]))
    assert count == 103
    assert total == ROWS.sum()


def test_splits_are_disjoint_and_deterministic():
    sizes = {"train": 0.6, "validation": 20, "test": 0.2}
    parts = split_rows(ARRAYS, sizes, seed=1)
    assert {name: len(part["x"]) for name, part in parts.items()} == {
        "train": 61,
        "validation": 20,
        "test": 20,
    }
    rows = np.concatenate([part["label"] for part in parts.values()])
    assert len(set(rows.tolist())) == 101
    again = split_rows(ARRAYS, sizes, seed=1)
    np.testing.assert_array_equal(again["test"]["label"], parts["test"]["label"])
    other = split_rows(ARRAYS, sizes, seed=2)
    assert set(other["test"]["label"].tolist()) != set(parts["test"]["label"].tolist())


def test_default_splits_use_every_row():
    parts = split_rows(ARRAYS)
    assert sorted(np.concatenate([p["label"] for p in parts.values()]).tolist()) == ROWS.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Batches(ARRAYS, 104, 0), "at most the number of rows, 103; got 104"),
        (lambda: Batches(ARRAYS, 0, 0), "`batch_size` must be at least 1"),
        (lambda: Batches({}, 1, 0), "at least one array"),
        (lambda: Batches({"x": np.zeros((0, 2))}, 1, 0), "at least one row"),
        (lambda: Batches({"x": np.zeros(3), "label": np.zeros(4)}, 1, 0), "equal leading length"),
        (lambda: Batches({"x": np.float32(3)}, 1, 0), "one row per example"),
        (lambda: evaluation_batches({"x": np.zeros(0)}, 4), "at least one row"),
        (lambda: evaluation_batches({"x": ROWS, "mask": ROWS}, 4), "must not hold `mask`"),
        (lambda: split_rows(ARRAYS, {"train": 100, "test": 4}), "of the 103 rows"),
        (lambda: split_rows({"x": ROWS[:2]}), "at least one of the 2 rows"),
        (lambda: split_rows(ARRAYS, {"train": 1.5}), "rows or a fraction"),
        (lambda: split_rows(ARRAYS, {"train": -3}), "rows or a fraction"),
        (lambda: Dataset("d", {}, {}), "must not be empty"),
        (lambda: Dataset("d", {"train": {"label": ROWS}}, {}), "must hold `x`"),
        (lambda: Dataset("d", {"train": {"x": ROWS, "label": ROWS[1:]}}, {}), "equal leading"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize("name, shape", [("x", (4, 3)), ("x", (4, 2, 1)), ("label", (4, 2))])
def test_splits_of_different_events_are_refused(name, shape):
    test = {**{key: array[:4] for key, array in ARRAYS.items()}, "takes": ROWS[:4]}
    Dataset("d", {"train": ARRAYS, "test": test}, {})  # an array of its own does no harm
    message = rf"`splits\['test'\]` must hold `{name}` of event shape .* as splits\['train'\] does"
    with pytest.raises(DataError, match=message):
        Dataset("d", {"train": ARRAYS, "test": {**test, name: np.zeros(shape)}}, {})


def grouped(quotas=(3, 7), **options):
    """Batches of 20 rows of group 0 and 83 of group 1."""
    arrays = {**ARRAYS, "group": (ROWS >= 20).astype(np.int32)}
    return Batches(arrays, sum(quotas), seed=3, quotas=quotas, **options)


def test_quotas_hold_in_every_batch_and_rows_of_a_group_come_equally_often():
    batches = grouped()
    assert batches.steps_per_epoch == 83 // 7
    counts = np.zeros(103, int)
    for step in range(batches.steps_per_epoch):
        rows = batches.indices(step)
        assert (rows[:3] < 20).all() and (rows[3:] >= 20).all() and rows.dtype == np.int32
        counts += np.bincount(rows, minlength=103)
    assert set(counts[:20].tolist()) <= {1, 2} and counts[20:].max() == 1
    assert counts[20:].sum() == 77


def test_batches_by_quota_are_a_pure_function_of_seed_and_step():
    straight, resumed = grouped(), grouped()
    expected = [straight.indices(step) for step in range(40)]
    for step in (39, 0, 11, 12, 25):
        np.testing.assert_array_equal(resumed.indices(step), expected[step])
    np.testing.assert_array_equal(resumed.indices_block(5, 30), expected[5:35])
    assert not np.array_equal(expected[0], expected[11]), "epochs differ"
    assert grouped(shuffle=False).indices(0).tolist() == [0, 1, 2, *range(20, 27)]


@pytest.mark.parametrize("quotas", [(3, 6), (0, 10), (3, 3, 4), (10,)])
def test_quotas_that_do_not_fit_are_refused(quotas):
    arrays = {**ARRAYS, "group": (ROWS >= 20).astype(np.int32)}
    with pytest.raises(DataError, match=r"^`(quotas|group)`"):
        Batches(arrays, 10, seed=0, quotas=quotas)


def test_quotas_need_groups():
    with pytest.raises(DataError, match=r"^`arrays` must hold `group`"):
        Batches(ARRAYS, 10, seed=0, quotas=(3, 7))
