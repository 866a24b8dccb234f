"""Compiled steps: many in one call over resident data, or one by one over a stream.

Both take the batches that `data.Batches` defines as a pure function of (seed, step) and apply
the same transform with the same key, so that they train on the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.batches import Batches
from dgmjax.data.stream import streamed
from dgmjax.devices import processes
from dgmjax.devices.environment import run_once_options
from dgmjax.devices.mesh import StateLayout, batch_sharding, replicated
from dgmjax.training.learner import Learner, State
from dgmjax.types import Array, Key, Metrics, PyTree

BLOCK = 1024
"""Steps whose rows are sent to the device at once."""


class Divided(NamedTuple):
    """The layout of the state, and the size of a batch without padding; hashable."""

    layout: StateLayout
    batch_size: int


def prepared(
    batch: Mapping[str, Array], transform, data_key: Key, step: Array | int
) -> dict[str, Array]:
    """The transformed batch of a step; over several batches each gets a key of its own."""
    return transform(batch, jax.random.fold_in(data_key, step)) if transform else dict(batch)


def padded_rows(rows: np.ndarray, multiple: int) -> np.ndarray:
    """Rows `[..., B]` with the first repeated at the end, up to a multiple of the devices.

    >>> padded_rows(np.array([4, 7, 5]), 2)
    array([4, 7, 5, 4])
    """
    missing = -rows.shape[-1] % multiple
    return np.concatenate([rows] + [rows[..., :1]] * missing, axis=-1) if missing else rows


class _PaddedBatches:
    """Batches whose shares are equal on any number of devices, as `data.stream` reads them."""

    def __init__(self, batches: Batches, multiple: int):
        self._batches, self._multiple = batches, multiple

    def batch(self, step: int, part: tuple[int, int]) -> dict[str, np.ndarray]:
        """The padded batch of a step, or a share of it."""
        index, count = part
        rows = padded_rows(self._batches.indices(step), self._multiple)
        share = len(rows) // count
        rows = rows[index * share : (index + 1) * share]
        return {name: np.asarray(array[rows]) for name, array in self._batches.arrays.items()}


@partial(jax.jit, static_argnums=0)
def _step(learner: Learner, state: State, batch: PyTree) -> tuple[State, Metrics]:
    """`learner.step`, traced once for each shape: its metrics are asked for before it is run.

    Tracing is Python, and slow where losses have gradients in them. XLA inlines the call.
    """
    return learner.step(state, batch)


def _train_step(learner: Learner, transform, divided: Divided, state, sums, batch, data_key):
    """One step; `sums` accumulates the metrics.

    Rows that only make the devices' shares equal are cut off before anything is computed: the
    step is that of the batch itself, whatever the number of devices, and its noise too.
    """
    layout, axis = divided.layout, int(learner.batches_per_step > 1)
    # Padding was needed to divide the rows over devices. It is cut off here rather than masked:
    # objectives then see a batch of the size that was asked for, and draw as much noise.
    rows = (slice(None),) * axis + (slice(divided.batch_size),)
    if next(iter(batch.values())).shape[axis] != divided.batch_size:
        batch = {name: array[rows] for name, array in batch.items()}
    over_devices = batch_sharding(layout.mesh, axis)
    batch = jax.lax.with_sharding_constraint(batch, over_devices)
    if learner.batches_per_step == 1:
        batch = prepared(batch, transform, data_key, state.step)
    else:
        index = jnp.arange(learner.batches_per_step)
        # Every batch has a number of its own over the whole run, and with it its own random
        # numbers.
        step = state.step * learner.batches_per_step
        batch = jax.vmap(lambda b, i: prepared(b, transform, data_key, step + i))(batch, index)
    batch = jax.lax.with_sharding_constraint(batch, over_devices)
    state, metrics = _step(learner, state, batch)
    return layout.constrain(state), jax.tree.map(jnp.add, sums, metrics)


def _compiled(steps: Callable) -> Callable:
    """`steps` under `jit`, with the compiler options that the learner's gradients require."""

    @lru_cache
    def program(options):
        return jax.jit(
            steps,
            static_argnums=(0, 1, 2),
            donate_argnums=(3, 4),
            compiler_options=dict(options) or None,
        )

    @wraps(steps)
    def run(learner, *arguments):
        return program(learner.gradients.compiler_options)(learner, *arguments)

    run.program = program  # type: ignore[attr-defined]  # for tests that count what it compiled
    return run


@_compiled
def _run_block(learner, transform, divided, state, sums, arrays, rows, start, count, data_key):
    """`count` steps over resident arrays; `rows[start + i]` are the rows of the i-th."""

    def body(i, carry):
        state, sums = carry
        batch = {name: array[rows[start + i]] for name, array in arrays.items()}
        return _train_step(learner, transform, divided, state, sums, batch, data_key)

    return jax.lax.fori_loop(0, count, body, (state, sums))


@_compiled
def _run_seeds(learner, transform, divided, state, sums, arrays, rows, start, count, data_keys):
    """`_run_block` of several seeds: a leading axis of `state`, `sums`, `rows` and `data_keys`."""

    def one(state, sums, rows, data_key):
        batch = {name: array[rows] for name, array in arrays.items()}
        return _train_step(learner, transform, divided, state, sums, batch, data_key)

    def body(i, carry):
        state, sums = carry
        return jax.vmap(one)(state, sums, rows[:, start + i], data_keys)

    return jax.lax.fori_loop(0, count, body, (state, sums))


@_compiled
def _run_one(learner, transform, divided, state, sums, batch, data_key):
    return _train_step(learner, transform, divided, state, sums, batch, data_key)


@partial(jax.jit, static_argnums=(0, 1), compiler_options=run_once_options())
def initial_state(learner: Learner, transform, key: Key, batch, data_key: Key) -> State:
    """The learner's state before the first step, from one (transformed) batch."""
    return learner.init(key, prepared(batch, transform, data_key, jnp.zeros((), jnp.int32)))


def zero_metrics(
    learner: Learner, state: State, batch: PyTree, layout: StateLayout
) -> Callable[[], Metrics]:
    """A function that returns zeros on the device, one for each metric of a step."""
    # As the compiled steps have them, or the step would be traced again.
    place = lambda a, sharding: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)
    state = jax.tree.map(place, state, layout.shardings(state))
    over_devices = batch_sharding(layout.mesh, int(learner.batches_per_step > 1))
    batch = jax.tree.map(lambda a: place(a, over_devices), batch)
    _, metrics = _step.eval_shape(learner, state, batch)
    wide = lambda dtype: jnp.promote_types(dtype, jnp.float32)
    zeros = {name: np.zeros(m.shape, wide(m.dtype)) for name, m in metrics.items()}
    return lambda: processes.global_copy(zeros, replicated(layout.mesh))


class ResidentSteps:
    """Runs steps over arrays that stay on the device."""

    def __init__(self, learner, transform, layout: StateLayout, batches: Batches, data_key: Key):
        self.learner, self.transform, self.layout = learner, transform, layout
        self.batches, self.data_key = batches, data_key
        self.divided = Divided(layout, batches.batch_size)
        self._first = -1
        self._rows: Any = None

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """The data on the devices; of seeds trained together only one has them."""
        return processes.global_copy(dict(self.batches.arrays), replicated(self.layout.mesh))

    def run(self, state: State, sums: PyTree, step: int, count: int) -> tuple[State, PyTree, int]:
        """At most `count` steps from `step`, within one block; returns how many were run."""
        rows, start, count = self.rows(step, count)
        state, sums = _run_block(
            self.learner,
            self.transform,
            self.divided,
            state,
            sums,
            self.arrays,
            rows,
            start,
            count,
            self.data_key,
        )
        return state, sums, count

    def rows(self, step: int, count: int) -> tuple[Array, int, int]:
        """The rows of the block that `step` is in, its place there, and how many steps remain."""
        # Blocks begin at multiples of BLOCK whatever the step at which a run was resumed: shapes
        # stay the same, and nothing compiles again.
        first = step - step % BLOCK
        if first != self._first:
            self._first, self._rows = first, self._block(first)
        return self._rows, step - first, min(count, first + BLOCK - step)

    def _block(self, first: int) -> Array:
        per_step = self.learner.batches_per_step
        rows = self.batches.indices_block(first * per_step, BLOCK * per_step)
        rows = padded_rows(rows, self.layout.mesh.size)
        if per_step > 1:
            rows = rows.reshape(BLOCK, per_step, -1)
        return processes.global_copy(rows, batch_sharding(self.layout.mesh, rows.ndim - 1))


def run_seeds(
    runners: Sequence[ResidentSteps],
    states: Sequence[State],
    sums: Sequence[PyTree],
    step: int,
    count: int,
) -> tuple[list[State], list[PyTree], int]:
    """At most `count` steps of several seeds from the same `step`, in one compiled call.

    The runners differ in their order of the data and in their keys only.
    """
    first = runners[0]
    blocks = [runner.rows(step, count) for runner in runners]
    _, start, count = blocks[0]
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    state, total = _run_seeds(
        first.learner,
        first.transform,
        first.divided,
        stack(states),
        stack(sums),
        first.arrays,
        jnp.stack([rows for rows, _, _ in blocks]),
        start,
        count,
        jnp.stack([runner.data_key for runner in runners]),
    )
    of = lambda tree, seed: jax.tree.map(lambda leaf: leaf[seed], tree)
    split = lambda tree: [of(tree, seed) for seed in range(len(runners))]
    return split(state), split(total), count


class StreamedSteps:
    """Runs steps over batches that come from the host, read ahead by a thread.

    Each process reads its share of every batch, and no other rows.
    """

    def __init__(self, learner, transform, layout: StateLayout, batches: Batches, data_key: Key):
        self.learner, self.transform, self.layout = learner, transform, layout
        self.batches, self.data_key = batches, data_key
        self.divided = Divided(layout, batches.batch_size)
        self._next_step = -1
        self._stream: Any = None

    def run(self, state: State, sums: PyTree, step: int, count: int) -> tuple[State, PyTree, int]:
        """At most `count` steps from `step`, a few at a time; returns how many were run."""
        # Any other step than the next one: the run began, was resumed, or went back. Batches are a
        # function of the step, so that the stream can begin anywhere.
        if step != self._next_step:
            first = step * self.learner.batches_per_step
            source: Any = _PaddedBatches(self.batches, self.layout.mesh.size)
            self._stream = streamed(source, first, part=processes.part())
        count = min(count, 16)
        for _ in range(count):
            batch = processes.global_batch(self._read(), self._sharding())
            state, sums = _run_one(
                self.learner, self.transform, self.divided, state, sums, batch, self.data_key
            )
        self._next_step = step + count
        return state, sums, count

    def _sharding(self):
        return batch_sharding(self.layout.mesh, int(self.learner.batches_per_step > 1))

    def _read(self) -> dict[str, Any]:
        batches = [next(self._stream) for _ in range(self.learner.batches_per_step)]
        if len(batches) == 1:
            return batches[0]
        return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
