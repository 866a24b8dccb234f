"""Data sets: named splits of arrays, and facts about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dgmjax.errors import DataError, require

Arrays = Mapping[str, np.ndarray]
DEFAULT_SPLITS: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Named splits of arrays with equal leading lengths.

    `splits[name]["x"]` is `[N, *event]` (images are NHWC), raw: grey values are integers, nothing
    is scaled, binarised or dequantised. `label[N]` is optional, and so are further arrays with
    the same leading length, such as `length[N]` of padded sequences. A split may have arrays of its
    own, such as `group[N]` for training; what two splits have in common has one event shape.

    `info` is JSON-safe and describes what a record is based on: source, version, how the splits
    were made, split sizes, event shape, dtype and value range. `log_density` maps `[..., *event]`
    to nats and `entropy` is its entropy in nats, for synthetic sets only.

    Raises:
      DataError: a split without `x`, without rows, with unequal leading lengths, or with an event
        shape that differs from that of the first split.
    """

    name: str
    splits: Mapping[str, Arrays]
    info: Mapping[str, Any]
    log_density: Callable[[Any], Any] | None = None
    entropy: float | None = None

    def __post_init__(self) -> None:
        require(len(self.splits) > 0, "splits", "must not be empty", "{}", error=DataError)
        first, reference = next(iter(self.splits.items()))
        for split, arrays in self.splits.items():
            num_rows(arrays, f"splits[{split!r}]")
            name = f"splits[{split!r}]"
            require("x" in arrays, name, "must hold `x`", list(arrays), "", DataError)
            for key in (key for key in reference if key in arrays):
                wanted, shape = np.shape(reference[key])[1:], np.shape(arrays[key])[1:]
                rule = f"must hold `{key}` of event shape {wanted}, as splits[{first!r}] does"
                remedy = "Pad, cut or resize the examples of all splits alike."
                require(shape == wanted, name, rule, shape, remedy, DataError)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return next(iter(self.splits.values()))["x"].shape[1:]


def num_rows(arrays: Arrays, argument: str = "arrays") -> int:
    """The common leading length of `arrays`; `DataError` if there is none or it is 0."""
    require(len(arrays) > 0, argument, "must hold at least one array", "none", error=DataError)
    scalars = [key for key, array in arrays.items() if np.ndim(array) == 0]
    require(not scalars, argument, "must hold arrays, one row per example", scalars, "", DataError)
    lengths = {key: len(array) for key, array in arrays.items()}
    equal = len(set(lengths.values())) == 1
    require(equal, argument, "must hold arrays of equal leading length", lengths, "", DataError)
    rows = next(iter(lengths.values()))
    require(rows > 0, argument, "must have at least one row", lengths, "", DataError)
    return rows


def permutation(num: int, *seed: int) -> np.ndarray:
    """A permutation of `range(num)`, a pure function of `num` and `seed`.

    It sorts raw Philox words, whose stream NumPy guarantees, and not `Generator.permutation`,
    whose stream may change between NumPy versions. The lowest bits of a word are replaced by its
    index: no two are equal, so that any sorting algorithm gives the same order.
    """
    words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(num)
    low = np.uint64((1 << num.bit_length()) - 1)
    words = np.sort((words & ~low) | np.arange(num, dtype=np.uint64))
    return (words & low).astype(np.int32)


def split_rows(
    arrays: Arrays, splits: Mapping[str, float] | None = None, seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Divides the rows of `arrays` into disjoint random splits, the same ones for a given seed.

    Args:
      arrays: arrays of equal leading length N.
      splits: sizes by name, in rows (`int`) or as fractions of N (`float`). Fractions that add up
        to 1 use every row: the remainder of rounding goes to the first split.
      seed: of the permutation that precedes the division.

    Raises:
      DataError: sizes that are negative or empty, or that need more rows than there are.

    >>> parts = split_rows({"x": np.arange(10)}, {"train": 0.8, "test": 2})
    >>> len(parts["train"]["x"]), len(parts["test"]["x"])
    (8, 2)
    """
    total = num_rows(arrays)
    sizes = _sizes(total, DEFAULT_SPLITS if splits is None else splits)
    if list(sizes.values()) == [total]:
        return {name: dict(arrays) for name in sizes}  # nothing to divide: no copy
    order = permutation(total, seed)
    parts: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for name, size in sizes.items():
        # In stored order: reads from a mapped file stay sequential, and batches are shuffled later.
        rows = np.sort(order[start : start + size])
        parts[name] = {key: np.asarray(array)[rows] for key, array in arrays.items()}
        start += size
    return parts


def split_whole(
    arrays: Arrays, owner: np.ndarray, splits: Mapping[str, float] | None = None, seed: int = 0
) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Divides rows that are pieces of longer recordings, so that no two splits share one.

    The owners are divided at random, and the sizes of the splits are as near to those asked for as
    whole owners allow. With fewer owners than splits, rows are divided in their order instead, the
    first ones for the split that is named first.

    Args:
      arrays: arrays of equal leading length N, in order of time.
      owner: `[N]`, the number of the recording of each row.
      splits, seed: see `split_rows`.

    Returns the splits, and words for `info` that describe the division.

    >>> owner = np.array([0, 0, 0, 0, 1, 1])
    >>> parts, made = split_whole({"x": np.arange(6)}, owner, {"a": 4, "b": 2})
    >>> parts["a"]["x"].tolist(), parts["b"]["x"].tolist(), made
    ([0, 1, 2, 3], [4, 5], 'whole files at random, seed 0')
    """
    total = num_rows(arrays)
    sizes = _sizes(total, DEFAULT_SPLITS if splits is None else splits)
    ends = np.cumsum(list(sizes.values()))
    order, made = np.arange(total), "in order of time"
    owners, numbers, counts = np.unique(owner, return_inverse=True, return_counts=True)
    if len(owners) >= len(sizes):
        drawn = permutation(len(owners), seed)
        order = np.argsort(np.argsort(drawn)[numbers], kind="stable")  # rows by drawn owner
        made = f"whole files at random, seed {seed}"
        borders = np.cumsum(counts[drawn])  # rows in the first k + 1 owners
        first = 0
        for index, end in enumerate(ends):
            # At least one owner for this split, and for each that follows.
            last = len(owners) - (len(ends) - index)
            first += int(np.argmin(np.abs(borders[first : last + 1] - end)))
            ends[index] = borders[first]
            first += 1
    starts = [0, *ends[:-1]]
    rows = {name: np.sort(order[a:b]) for name, a, b in zip(sizes, starts, ends)}
    parts = {
        split: {name: np.asarray(array)[chosen] for name, array in arrays.items()}
        for split, chosen in rows.items()
    }
    return parts, made


def share_of(total: int, fraction: float) -> int:
    """A fraction of `total`, rounded down.

    >>> share_of(100, 0.29), share_of(10**8, 0.29), share_of(10, 0.29)
    (29, 29000000, 2)
    """
    # 0.29 * 100 is 28.999999999999996: without the small numbers one would be lost.
    return int(total * fraction * (1 + 1e-12) + 1e-9)


def _sizes(total: int, splits: Mapping[str, float]) -> dict[str, int]:
    """Split sizes in rows; each is at least 1 and together they are at most `total`."""
    require(len(splits) > 0, "splits", "must name at least one split", splits, "", DataError)
    for name, size in splits.items():
        number = isinstance(size, int | float) and not isinstance(size, bool)
        require(
            number and size > 0 and (isinstance(size, int) or size <= 1),
            f"splits[{name!r}]",
            "must be a number of rows or a fraction in (0, 1]",
            size,
            error=DataError,
        )
    rows = {
        name: size if isinstance(size, int) else share_of(total, size)
        for name, size in splits.items()
    }
    fractions = [size for size in splits.values() if isinstance(size, float)]
    if len(fractions) == len(splits) and abs(sum(fractions) - 1) < 1e-9:
        rows[next(iter(rows))] += total - sum(rows.values())
    fits = min(rows.values()) > 0 and sum(rows.values()) <= total
    require(
        fits,
        "splits",
        f"must give each split at least one of the {total} rows, and no row to two",
        rows,
        "Ask for fewer or smaller splits.",
        DataError,
    )
    return rows


def set_apart(
    splits: Mapping[str, Arrays], validation: int, seed: int
) -> tuple[dict[str, Arrays], str]:
    """Moves `validation` random rows of `train` into a validation split, unless there is one.

    Returns the splits, and a sentence for `info` that describes the division.
    """
    require(validation >= 0, "validation", "must be at least 0", validation, "", DataError)
    if validation == 0 or "validation" in splits:
        return dict(splits), "as published"
    rows = num_rows(splits["train"])
    rule = f"must leave some of the {rows} training rows"
    require(validation < rows, "validation", rule, validation, "", DataError)
    sizes = {"train": rows - validation, "validation": validation}
    others = {name: arrays for name, arrays in splits.items() if name != "train"}
    made = f"published, with {validation} random rows of train as validation, seed {seed}"
    return {**split_rows(splits["train"], sizes, seed), **others}, made


def describe(splits: Mapping[str, Arrays], /, **facts: Any) -> dict[str, Any]:
    """The JSON-safe `info` of a data set: facts of the arrays, and those given."""
    x = next(iter(splits.values()))["x"]
    full = all(arrays["x"].size > 0 for arrays in splits.values())
    require(full, "x", "must have at least one number per example", x.shape, "", DataError)
    lows = [arrays["x"].min() for arrays in splits.values()]
    highs = [arrays["x"].max() for arrays in splits.values()]
    return {
        **facts,
        "split_sizes": {name: len(arrays["x"]) for name, arrays in splits.items()},
        "event_shape": list(x.shape[1:]),
        "dtype": str(x.dtype),
        "value_range": [np.min(lows).item(), np.max(highs).item()],
    }
