"""Batches as a pure function of (seed, step), and full-size evaluation batches with a mask."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dgmjax.data.dataset import num_rows, permutation
from dgmjax.errors import DataError, require


class Batches:
    """`batch(step)` is a pure function of `(seed, step)`: a run resumes at any step.

    Epoch `e` is a permutation of the rows derived from `(seed, e)` by NumPy's Philox generator;
    step `s` takes the rows from `(s % steps_per_epoch) * batch_size` on, in epoch `s //
    steps_per_epoch`. The rest of an epoch, fewer rows than a batch, is dropped; those rows differ
    from epoch to epoch. Without `shuffle` every epoch is the stored order. Memory-mapped arrays
    work: only a batch's rows are read.

    With `quotas` a batch holds `quotas[g]` rows of each group g of `arrays["group"]`, in this
    order: few labelled rows beside many unlabelled ones. An epoch is then a pass over the group
    that takes longest; rows of the others come again, all of a group equally often, but for one.

    Args:
      arrays: arrays of equal leading length N.
      batch_size: rows per batch, at most N.
      seed: of the permutations, at least 0.
      shuffle: False keeps the stored order.
      quotas: rows of each group 0, 1, ... of a batch, in all `batch_size`; no groups if None.

    Raises:
      DataError: a batch larger than the set, arrays without equal, positive lengths, or quotas that
        do not fit the groups.

    >>> batches = Batches({"x": np.arange(10)}, batch_size=4, seed=0)
    >>> batches.steps_per_epoch, batches.batch(7)["x"].shape
    (2, (4,))
    >>> few = {"x": np.arange(10), "group": np.arange(10) // 8}
    >>> Batches(few, batch_size=3, seed=0, quotas=(2, 1)).batch(5)["group"].tolist()
    [0, 0, 1]
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        quotas: Sequence[int] | None = None,
    ):
        self.num_rows = num_rows(arrays)
        require(batch_size >= 1, "batch_size", "must be at least 1", batch_size, "", DataError)
        require(
            batch_size <= self.num_rows,
            "batch_size",
            f"must be at most the number of rows, {self.num_rows}",
            batch_size,
            "Use a smaller batch, or more data.",
            DataError,
        )
        require(self.num_rows < 2**31, "arrays", "must have fewer than 2**31 rows", self.num_rows)
        require(seed >= 0, "seed", "must be at least 0", seed)
        self.arrays = dict(arrays)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.groups = None if quotas is None else _Groups(self.arrays, batch_size, tuple(quotas))
        by_rows = self.num_rows // batch_size
        self.steps_per_epoch = by_rows if self.groups is None else self.groups.steps_per_epoch
        self._orders: dict[int, np.ndarray] = {}

    def indices(self, step: int) -> np.ndarray:
        """The rows of batch `step`, int32 `[batch_size]`."""
        require(step >= 0, "step", "must be at least 0", step)
        # No generator has a state that would have to be saved: the epoch's number is all.
        epoch, position = divmod(int(step), self.steps_per_epoch)
        start = position * self.batch_size
        return self._order(epoch)[start : start + self.batch_size]

    def indices_block(self, first: int, count: int) -> np.ndarray:
        """The rows of batches `first` to `first + count - 1`, int32 `[count, batch_size]`."""
        require(first >= 0, "first", "must be at least 0", first)
        require(count >= 0, "count", "must be at least 0", count)
        parts, step = [np.empty((0, self.batch_size), np.int32)], first
        while step < first + count:
            epoch, position = divmod(step, self.steps_per_epoch)
            taken = min(self.steps_per_epoch - position, first + count - step)
            used = self._order(epoch)[: self.steps_per_epoch * self.batch_size]
            parts.append(used.reshape(-1, self.batch_size)[position : position + taken])
            step += taken
        return np.concatenate(parts)

    def batch(self, step: int, part: tuple[int, int] = (0, 1)) -> dict[str, np.ndarray]:
        """Batch `step`; with `part=(i, n)` the i-th of its n equal shares, in order.

        A process of a cluster reads its share only: `part=(process_index, process_count)`.
        """
        index, count = part
        require(0 <= index < count, "part", "must be (i, n) with 0 <= i < n", part)
        divides = self.batch_size % count == 0
        require(divides, "part", f"must divide the batch size {self.batch_size}", part)
        share = self.batch_size // count
        rows = self.indices(step)[index * share : (index + 1) * share]
        return {key: np.asarray(array[rows]) for key, array in self.arrays.items()}

    def _order(self, epoch: int) -> np.ndarray:
        """The permutation of an epoch; the last two are kept (a prefetcher straddles two)."""
        order = self._orders.get(epoch)
        if order is None:
            if self.groups is not None:
                order = self.groups.order(self.seed, epoch, self.shuffle)
            elif self.shuffle:
                order = permutation(self.num_rows, self.seed, epoch)
            else:
                order = np.arange(self.num_rows, dtype=np.int32)
            order.flags.writeable = False
            kept = list(self._orders.items())[-1:]
            self._orders = dict([*kept, (epoch, order)])  # replaced whole: safe for readers
        return order


class _Groups:
    """The order of an epoch whose batches hold a number of rows of each group."""

    def __init__(self, arrays: Mapping[str, np.ndarray], batch_size: int, quotas: tuple[int, ...]):
        held = sorted(arrays)
        require("group" in arrays, "arrays", "must hold `group`", held, "", DataError)
        group = np.asarray(arrays["group"])
        known = list(range(len(quotas)))
        found = np.unique(group).tolist()
        rule = f"must be one of {known}, the groups of `quotas`, and each must have rows"
        require(found == known, "group", rule, found, "", DataError)
        sound = min(quotas) >= 1 and sum(quotas) == batch_size
        rule = f"must be at least 1 each, and {batch_size} in all, the size of a batch"
        require(sound, "quotas", rule, quotas, "", DataError)
        self.quotas = quotas
        self.rows = [np.flatnonzero(group == number).astype(np.int32) for number in known]
        passes = [len(rows) // quota for rows, quota in zip(self.rows, quotas)]
        self.steps_per_epoch = max(1, *passes)

    def order(self, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
        """Rows of all batches of the epoch, one batch after the other."""
        parts = []
        for number, (rows, quota) in enumerate(zip(self.rows, self.quotas)):
            wanted = self.steps_per_epoch * quota
            turns = -(-wanted // len(rows))
            orders = [
                rows[permutation(len(rows), seed, epoch, number, turn)] if shuffle else rows
                for turn in range(turns)
            ]
            parts.append(np.concatenate(orders)[:wanted].reshape(-1, quota))
        return np.concatenate(parts, axis=1).reshape(-1)


def evaluation_batches(
    arrays: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """All rows in stored order, in batches of one size, with float32 `mask[batch_size]`.

    `mask` is 1 for a row and 0 for padding; the padding of the last batch repeats row 0, which is
    valid data, so that no padded row can make a NaN. Exact average: `sum(mask * value) / sum(mask)`
    over all batches. `batch_size` may exceed the number of rows.

    Raises:
      DataError: arrays without equal, positive lengths, or with a `mask` of their own.

    >>> [batch["mask"].tolist() for batch in evaluation_batches({"x": np.arange(3)}, 2)]
    [[1.0, 1.0], [1.0, 0.0]]
    """
    total = num_rows(arrays)
    require(batch_size >= 1, "batch_size", "must be at least 1", batch_size, "", DataError)
    require("mask" not in arrays, "arrays", "must not hold `mask`", list(arrays), "", DataError)
    return _evaluation_batches(arrays, batch_size, total)


def _evaluation_batches(
    arrays: Mapping[str, np.ndarray], batch_size: int, total: int
) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, total, batch_size):
        rows = np.arange(start, start + batch_size)
        mask = rows < total
        rows = np.where(mask, rows, 0)
        batch = {key: np.asarray(array[rows]) for key, array in arrays.items()}
        yield {**batch, "mask": mask.astype(np.float32)}
