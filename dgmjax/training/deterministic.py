"""Gradients in a fixed order, so that a run does not depend on its number of devices.

Floating-point sums depend on their order, and a sharded `jit` lets the number of devices choose
it: parameters differ in the last bits. Here each batch is cut into a fixed number of virtual
shards; every shard runs the same compiled program, and the shards' sums are added in one fixed
tree. Losses, gradients and hence everything after them are then equal bit for bit on any number
of devices that divides the number of shards, and a run may change it in the middle.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgmjax.errors import require
from dgmjax.types import Array, Batch, Key, PyTree


def tree_sum(stacked: Array) -> Array:
    """Sum over the first axis (a power of two) by halving: always the same order."""
    while stacked.shape[0] > 1:
        half = stacked.shape[0] // 2
        stacked = stacked[:half] + stacked[half:]
    return stacked[0]


@dataclass(frozen=True)
class VirtualShards:
    """Gradients over `num_shards` virtual shards of each batch; see the module's docstring.

    Calling it is `jax.value_and_grad(loss_fn, has_aux=True)` over the whole batch, for a
    `loss_fn(params, fixed, batch, key) -> (mean loss, (metrics, collections))`: means over the
    shards, which are equal in size, of losses, metrics, floating-point collections and
    gradients. Integer collections are those of the first shard.

    Attributes:
      mesh: its `data` axis must divide `num_shards`.
      num_shards: a power of two that divides the batch.
    """

    mesh: Mesh
    num_shards: int = 8

    def __post_init__(self):
        shards, devices = self.num_shards, self.mesh.shape["data"]
        power = shards >= 1 and shards & (shards - 1) == 0
        require(power, "num_shards", "must be a power of two", shards)
        require(
            shards % devices == 0,
            "devices",
            f"must divide the {shards} virtual shards of a deterministic run",
            devices,
            "Use 1, 2, 4 or 8 devices.",
        )

    def check(self, batch_size: int) -> None:
        """Raises `DgmjaxError` unless the shards divide the batch."""
        require(
            batch_size % self.num_shards == 0,
            "batch_size",
            f"must be a multiple of the {self.num_shards} virtual shards of a deterministic run",
            batch_size,
        )

    def __call__(
        self, loss_fn: Callable, params: PyTree, fixed: PyTree, batch: Batch, key: Key
    ) -> Any:
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)

        def one(whole, shard, key):
            return grad_fn(*whole, shard, key)

        stacked = map_shards(one, self.mesh, self.num_shards, (params, fixed), batch, key)
        return jax.tree.map(self._mean, stacked)

    def _mean(self, stacked: Array) -> Array:
        if not jnp.issubdtype(stacked.dtype, jnp.floating):
            return stacked[0]
        return tree_sum(stacked) / self.num_shards


def map_shards(
    function: Callable[[PyTree, PyTree, Key], Any],
    mesh: Mesh,
    num_shards: int,
    replicated: PyTree,
    batch: PyTree,
    key: Key,
) -> Any:
    """`function(replicated, shard, key_of_shard)` of every virtual shard, stacked `[V, ...]`.

    Each device runs its shards one after another (`lax.map`), so the compiled body is the same
    whatever the number of devices. The result is replicated.

    Args:
      replicated: what every shard sees (parameters).
      batch: leaves `[B, ...]`, cut into V contiguous shards.
      key: shard v uses `fold_in(key, v)`.
    """
    shards = jax.tree.map(lambda a: a.reshape(num_shards, -1, *a.shape[1:]), batch)
    by_shard, whole = PartitionSpec("data"), PartitionSpec()

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

        return jax.lax.map(one, (shards, indices))

    stacked = local(replicated, shards, jnp.arange(num_shards), key)
    return jax.lax.with_sharding_constraint(stacked, NamedSharding(mesh, whole))
