"""How a run is carried out, apart from what it computes. Importing this file imports no JAX."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dgmjax.errors import require

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from dgmjax.training.gradients import Gradients

NUM_SHARDS = 8
"""Virtual shards of a deterministic run."""


@dataclass(frozen=True)
class Execution:
    """Devices, precision, memory and what happens in case of a fault.

    Attributes:
      mesh: devices that share each batch, data=4, or also the parameters, data=4,fsdp=2; one
        device if left out, or all of several processes
      deterministic: equal bits on 1, 2, 4 and 8 devices, at some cost in speed
      accumulate: parts of each batch that are computed one after another, to save memory
      compute_dtype: of the networks; parameters and densities stay float32
      remat: compute activations again in the backward pass, to save memory
      checkpoint_every: steps between checkpoints, what a kill costs at most; left out, one at each
        evaluation, but seldom enough to take at most a two-hundredth of the time
      background_saves: train on while a checkpoint is written (large states on accelerators); a
        kill then costs at most two such intervals
      keep_every: keep a checkpoint every so many steps for ever, besides the last two and the best
      on_disk_error: what a full or read-only disk does to training
      rewinds: how often training may go back to a checkpoint, leaving out the batches since,
        after 20 steps in a row that were not finite
      replay_check: run one step in so many twice and compare the bits, to find faulty hardware
    """

    mesh: str | None = None
    deterministic: bool = False
    accumulate: int = 1
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    checkpoint_every: int | None = None
    background_saves: bool = False
    keep_every: int | None = None
    on_disk_error: Literal["stop", "continue"] = "stop"
    rewinds: int = 0
    replay_check: int | None = None

    def __post_init__(self):
        require(self.accumulate >= 1, "accumulate", "must be at least 1", self.accumulate)
        require(self.rewinds >= 0, "rewinds", "must be at least 0", self.rewinds)
        for name in ("checkpoint_every", "keep_every", "replay_check"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "must be at least 1", value)
        require(
            self.accumulate == 1 or not self.deterministic,
            "accumulate",
            "must be 1 in a deterministic run, which goes through its shards one by one anyway",
            self.accumulate,
        )

    def make_mesh(self) -> "Mesh":
        """The mesh over the devices of all processes."""
        from dgmjax.devices import mesh

        if self.mesh is None:
            return mesh.default_mesh()
        sizes = mesh.parse_mesh(self.mesh)
        return mesh.make_mesh(sizes.get("data", 1), sizes.get("fsdp", 1))

    def gradients(self, mesh: "Mesh") -> "Gradients":
        """The way gradients are taken."""
        from dgmjax.training import gradients as ways

        taken: Gradients = ways.WholeBatch()
        if self.deterministic:
            taken = ways.VirtualShards(mesh, NUM_SHARDS)
        elif self.accumulate > 1:
            taken = ways.Microbatches(self.accumulate)
        if self.remat:
            taken = ways.Rematerialised(taken)
        return (
            ways.Precision(taken, self.compute_dtype) if self.compute_dtype != "float32" else taken
        )
