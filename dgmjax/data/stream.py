"""Batches through Grain, for data that do not fit on the device."""

from collections.abc import Iterator

import numpy as np

from dgmjax.data.batches import Batches
from dgmjax.errors import require
from dgmjax.lazy import extras_named


class _Steps:
    """A Grain random-access source whose record is a whole batch: one gather per record.

    Reading row by row is a hundred times slower.
    """

    def __init__(self, batches: Batches, first: int, length: int, part: tuple[int, int]):
        self._batches, self._first, self._length, self._part = batches, first, length, part

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._batches.batch(self._first + index, self._part)


def streamed(
    batches: Batches,
    start_step: int,
    prefetch: int = 2,
    *,
    num_steps: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
    """`batches.batch(step)` for step = start_step, start_step + 1, ..., as on the resident path.

    Args:
      batches: any source of rows, memory-mapped ones too.
      start_step: where to begin; a resumed run begins at its step.
      prefetch: batches read ahead in a thread; 0 reads each on request, which is cheapest for rows
        in memory.
      num_steps: how many batches; None for no end.
      part: `(process_index, process_count)`: the share of each batch that is read.
    """
    require(start_step >= 0, "start_step", "must be at least 0", start_step)
    require(prefetch >= 0, "prefetch", "must be at least 0", prefetch)
    with extras_named():
        import grain

    length = 2**62 - start_step if num_steps is None else num_steps
    options = grain.ReadOptions(num_threads=min(prefetch, 1), prefetch_buffer_size=prefetch)
    source = grain.MapDataset.source(_Steps(batches, start_step, length, part))
    return iter(source.to_iter_dataset(options))
