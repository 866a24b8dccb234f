"""Gradient strategies: whole batch, microbatches, virtual shards, bfloat16, rematerialisation.

Each is a frozen dataclass, called as
`gradients(loss_fn, params, fixed, batch, key) -> ((loss, (metrics, collections)), gradients)`
with a `loss_fn(params, fixed, batch, key) -> (mean loss, (metrics, collections))`. The
result has the form of `jax.value_and_grad(loss_fn, has_aux=True)`. Strategies nest by their field
`inner`; `learner.with_gradients(...)` takes any. Models and objectives are unaware of them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgmjax.bijectors.rematerialisation import rematerialising
from dgmjax.devices.mesh import AXES, num_devices
from dgmjax.errors import require
from dgmjax.training.averages import WEIGHT
from dgmjax.types import Array, Batch, Key, PyTree

Options = tuple[tuple[str, str], ...]
"""Of the compiler, by name."""


class Gradients(Protocol):
    """A gradient strategy; hashable."""

    @property
    def compiler_options(self) -> Options:
        """Options of XLA for the program of a training step."""
        ...

    def check(self, batch_size: int, rows: str = "") -> None:
        """Raises `DgmjaxError` unless the strategy takes batches of this size.

        Args:
          rows: what the message calls them, if not `batch_size`.
        """
        ...

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any: ...


@dataclass(frozen=True)
class WholeBatch:
    """The batch at once: `jax.value_and_grad`."""

    compiler_options: ClassVar[Options] = ()

    def check(self, batch_size: int, rows: str = "") -> None:
        """Accepts any size."""

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any:
        return jax.value_and_grad(loss_fn, has_aux=True)(params, fixed, batch, key)


@dataclass(frozen=True)
class Microbatches:
    """Gradient accumulation: `count` equal parts of a batch one after another, their mean.

    Activations take the memory of one part. Part i uses `fold_in(key, i)`, so noise differs from
    that of the whole batch. Parts of a padded batch count by the sums of their masks. Integer
    collections are those of the last part.

    Attributes:
      count: must divide the batch.
    """

    count: int
    compiler_options: ClassVar[Options] = ()

    def __post_init__(self):
        require(self.count >= 1, "accumulate", "must be at least 1", self.count)

    def check(self, batch_size: int, rows: str = "") -> None:
        """Raises `DgmjaxError` unless the parts are equal."""
        divides = batch_size % self.count == 0
        rule = f"must divide {rows or f'batch_size={batch_size}'}"
        require(divides, "accumulate", rule, self.count)

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any:
        # Part i takes rows i, i + n, ...: on each device some of its own rows.
        cut = lambda a: a.reshape(-1, self.count, *a.shape[1:]).swapaxes(0, 1)
        parts, grad_fn = jax.tree.map(cut, batch), jax.value_and_grad(loss_fn, has_aux=True)

        def body(sums, inputs):
            index, part = inputs
            value = _scaled(grad_fn(params, fixed, part, jax.random.fold_in(key, index)))
            return jax.tree.map(_added, sums, value), None

        first = jax.tree.map(lambda a: a[0], parts)
        shapes = jax.eval_shape(grad_fn, params, fixed, first, key)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        sums, _ = jax.lax.scan(body, zeros, (jnp.arange(self.count), parts))
        weight = _weight(sums)
        total = self.count if weight is None else _or_one(weight)
        return jax.tree.map(lambda a: a / total if _is_float(a) else a, sums)


@dataclass(frozen=True)
class Precision:
    """Networks compute in `dtype`; parameters, gradients, densities and losses stay float32.

    Every Flax module with a `dtype` of None (dense, convolutional, masked layers) gets this one
    while the loss is traced. Families, bijectors and distributions promote what networks return.

    Attributes:
      inner: strategy that takes the gradients.
      dtype: such as "bfloat16".
    """

    inner: Gradients
    dtype: Literal["bfloat16", "float16"] = "bfloat16"

    @property
    def compiler_options(self) -> Options:
        """Those of `inner`."""
        return self.inner.compiler_options

    def check(self, batch_size: int, rows: str = "") -> None:
        """The check of `inner`."""
        self.inner.check(batch_size, rows)

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any:
        def lower(*arguments):
            with computing_in(jnp.dtype(self.dtype)):
                return loss_fn(*arguments)

        return self.inner(lower, params, fixed, batch, key)


@contextlib.contextmanager
def computing_in(dtype: jnp.dtype) -> Iterator[None]:
    """Inside, modules whose `dtype` is None compute in this one."""

    def lower(method, arguments, options, context):
        # Not `getattr`: that of Flax's adapter of NNX modules is itself a method, and recurs here.
        if vars(context.module).get("dtype", dtype) is None:
            object.__setattr__(context.module, "dtype", dtype)  # a clone that lives for one call
        return method(*arguments, **options)

    with nn.intercept_methods(lower):
        yield


@dataclass(frozen=True)
class Rematerialised:
    """Activations are computed again in the backward pass instead of kept.

    Layers of flows keep their inputs only (`bijectors.rematerialisation`). For a loss without such
    layers, the results of matrix products and convolutions are kept, and everything between is
    recomputed.

    Attributes:
      inner: strategy that takes the gradients.
    """

    inner: Gradients

    @property
    def compiler_options(self) -> Options:
        """Those of `inner`."""
        return self.inner.compiler_options

    def check(self, batch_size: int, rows: str = "") -> None:
        """The check of `inner`."""
        self.inner.check(batch_size, rows)

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any:
        # A dry run over shapes tells whether any layer asks for it; nothing is computed.
        with rematerialising() as happened:
            jax.eval_shape(loss_fn, params, fixed, batch, key)
        # Products are expensive to repeat; what lies between them is cheap.
        products = jax.checkpoint(loss_fn, policy=jax.checkpoint_policies.dots_saveable)

        def by_layers(*arguments):
            with rematerialising():
                return loss_fn(*arguments)

        frugal = by_layers if happened.layers else products
        return self.inner(frugal, params, fixed, batch, key)


def _is_float(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _added(total: Array, value: Array) -> Array:
    return total + value if _is_float(value) else value


def _weight(value: Any) -> Array | None:
    """The sum of the mask of a batch, which `training.averages` puts among the metrics."""
    (_, (metrics, _)), _ = value
    return metrics.get(WEIGHT) if isinstance(metrics, Mapping) else None


def _or_one(total: Array) -> Array:
    """The weight that sums are divided by: those of padding alone are 0, as their mean is."""
    return jnp.where(total > 0, total, 1.0)


def _scaled(value: Any) -> Any:
    """Means times the weight of their batch, except for the weight itself; 0 where it is 0."""
    weight = _weight(value)
    if weight is None:
        return value

    def scaled(mean: Array) -> Array:
        if not _is_float(mean):
            return mean
        # The weight is a scalar, or `[V]` for stacked shards.
        by = weight.reshape(weight.shape + (1,) * (mean.ndim - weight.ndim))
        return jnp.where(by > 0, by * mean, 0.0)  # a part without examples may have no mean

    (loss, (metrics, collections)), grads = jax.tree.map(scaled, value)
    return (loss, ({**metrics, WEIGHT: weight}, collections)), grads


def tree_sum(stacked: Array) -> Array:
    """Sum over the first axis (a power of two) by halving: always the same order."""
    while stacked.shape[0] > 1:
        half = stacked.shape[0] // 2
        stacked = stacked[:half] + stacked[half:]
    return stacked[0]


@dataclass(frozen=True)
class VirtualShards:
    """Gradients in a fixed order, so that a run does not depend on its number of devices.

    Floating-point sums depend on their order, and a sharded `jit` lets the number of devices
    choose it: parameters differ in the last bits. Here each batch is cut into `num_shards` virtual
    shards; every shard runs the same compiled program, and the shards' sums are added in one fixed
    tree. Losses, gradients and hence everything after them are then equal bit for bit on any number
    of devices that divides the number of shards, and a run may change that number midway.

    Losses, metrics, floating-point collections and gradients are means over the shards. If the
    shards do not divide the batch, the last ones have one row less and, in its place, a row of
    padding with `mask` 0; shards then count by the sums of their masks, so that averages over the
    rows stay exact. Integer collections are those of the first shard.

    Computations over several rows (batch statistics, an aggregate posterior) use the rows of one
    shard, without its padding.

    Attributes:
      mesh: its number of devices must divide `num_shards`.
      num_shards: a power of two.
    """

    mesh: Mesh
    num_shards: int = 8

    def __post_init__(self):
        shards, devices = self.num_shards, num_devices(self.mesh)
        power = shards >= 1 and shards & (shards - 1) == 0
        require(power, "num_shards", "must be a power of two", shards)
        require(
            shards % devices == 0,
            "mesh",
            f"must have as many devices as divide the {shards} shards of a deterministic run",
            devices,
            "Use 1, 2, 4 or 8 devices.",
        )

    @property
    def compiler_options(self) -> Options:
        """On a CPU, without the pass that simplifies algebra.

        That pass rewrites x / y as x (1 / y) in some orders of the other passes only. On one
        device, where nothing is partitioned, the order is not that on several; five of 31
        experiments then differed in the last bits.
        """
        cpu = self.mesh.devices.flat[0].platform == "cpu"
        return (("xla_disable_hlo_passes", "algsimp"),) if cpu else ()

    def check(self, batch_size: int, rows: str = "") -> None:
        """Accepts any size."""

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any:
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        self._check_statistics(fixed, len(batch["x"]))

        def one(whole, shard, key):
            return grad_fn(*whole, shard, key)

        batch = spread(batch, self.num_shards)
        stacked = map_shards(one, self.mesh, self.num_shards, (params, fixed), batch, key)
        weight = _weight(stacked)
        total = self.num_shards if weight is None else _or_one(tree_sum(weight))
        mean = lambda a: tree_sum(a) / total if _is_float(a) else a[0]
        return jax.tree.map(mean, _scaled(stacked))

    def _check_statistics(self, fixed: PyTree, count: int) -> None:
        """Refuses batch statistics of a single row, which padding hides from the layers' check."""
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(fixed)]
        names = {getattr(key, "key", None) for path in paths for key in path}
        padded = count % self.num_shards > 0 and "batch_stats" in names
        require(
            not padded or count >= 2 * self.num_shards,
            "batch_size",
            f"must be at least {2 * self.num_shards} for batch statistics in a deterministic run, "
            f"which are those of {self.num_shards} parts",
            count,
        )


def spread(batch: Batch, num_shards: int) -> Batch:
    """The batch with padding, in shards of equal size that differ by at most one row of data.

    The padding of a shard repeats one of its rows (the batch's first, if it has none) with `mask`
    0: valid data, so that padding cannot make a NaN.

    >>> batch = spread({"x": jnp.arange(6)}, 4)
    >>> batch["x"].tolist(), batch["mask"].tolist()
    ([0, 1, 2, 3, 4, 4, 5, 5], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    """
    count = len(batch["x"])
    if count % num_shards == 0:
        return batch
    size = -(-count // num_shards)
    rows, mask = [], []
    # Contiguous rows, most of which are on the shard's own device already.
    for shard in np.array_split(np.arange(count), num_shards):
        missing = size - len(shard)
        rows += [*shard, *([shard[0] if len(shard) else 0] * missing)]
        mask += [1.0] * len(shard) + [0.0] * missing
    taken = {name: array[np.array(rows)] for name, array in batch.items() if jnp.ndim(array)}
    given = taken.get("mask", jnp.ones(len(rows), jnp.float32))
    return {**batch, **taken, "mask": given * jnp.asarray(mask, given.dtype)}


def map_shards(
    function: Callable[[PyTree, PyTree, Key], Any],
    mesh: Mesh,
    num_shards: int,
    replicated: PyTree,
    batch: PyTree,
    key: Key,
) -> Any:
    """`function(replicated, shard, key_of_shard)` of every virtual shard, stacked `[V, ...]`.

    Each device runs its shards one after another, in a loop whose compiled body is the same
    whatever the number of devices. The result is replicated.

    Args:
      replicated: what every shard sees (parameters).
      batch: leaves `[B, ...]`, cut into V contiguous shards.
      key: shard v uses `fold_in(key, v)`.
    """
    shards = jax.tree.map(lambda a: a.reshape(num_shards, -1, *a.shape[1:]), batch)
    by_shard, whole = PartitionSpec(AXES), PartitionSpec()

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(whole, by_shard, by_shard, whole),
        out_specs=by_shard,
        check_vma=False,
    )
    def local(replicated, shards, indices, key):
        def one(inputs):
            shard, index = inputs
            return function(replicated, shard, jax.random.fold_in(key, index))

        return (_loop_of_one if len(indices) == 1 else jax.lax.map)(one, (shards, indices))

    stacked = local(replicated, shards, jnp.arange(num_shards), key)
    # Gathered before anything is added: each device then adds the same numbers in the order of
    # `tree_sum`. An all-reduce would choose an order of its own.
    return jax.lax.with_sharding_constraint(stacked, NamedSharding(mesh, whole))


def _loop_of_one(function: Callable[[Any], Any], inputs: tuple[PyTree, Array]) -> Any:
    """`lax.map` over a single shard, as a loop that stays one.

    The compiler unrolls a loop of one iteration and fuses its body with the code around it, which
    rounds differently from the body of a longer loop. So this loop has a length that is known at
    run time only, and two slots, the second of which is never computed.
    """
    _, indices = inputs
    slots = jax.tree.map(lambda a: jnp.concatenate([a, a]), inputs)
    take = lambda i: jax.tree.map(lambda a: a[i], slots)
    shapes = jax.eval_shape(function, take(0))
    empty = jax.tree.map(lambda s: jnp.zeros((2, *s.shape), s.dtype), shapes)

    def body(i, stacked):
        return jax.tree.map(lambda a, value: a.at[i].set(value), stacked, function(take(i)))

    turns = 1 + (indices[0] < 0).astype(jnp.int32)  # one, which the compiler cannot know
    return jax.tree.map(lambda a: a[:1], jax.lax.fori_loop(0, turns, body, empty))
