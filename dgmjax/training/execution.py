"""Execution options: how a run is carried out, not what it computes. It does not import JAX."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from dgmjax.errors import require

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from dgmjax.devices.mesh import Rules
    from dgmjax.training.gradients import Gradients
else:
    Mesh = Rules = Any  # for `typing.get_type_hints` without JAX

NUM_SHARDS = 8
"""Virtual shards of a deterministic run."""

IN_CODE: Mapping[str, Any] = {"command_line": False}
COUNTS = (
    "accumulate",
    "checkpoint_every",
    "keep",
    "keep_every",
    "log_every",
    "max_skipped",
    "replay_every",
)


@dataclass(frozen=True)
class Execution:
    """Devices, precision, memory, logs, checkpoints and the treatment of faults.

    Each field is an option of the command line under its own name, unless its metadata say
    `command_line=False`; metadata `type` is the type that the command line reads.

    Attributes:
      mesh: devices that share each batch, data=4, or also the parameters, data=4,fsdp=2; one
        device if left out, or all of several processes
      deterministic: equal bits on 1, 2, 4 and 8 devices; a step takes longer, of a small VAE on
        one device of a CPU 2.4 times
      accumulate: parts of each batch that are computed one after another, to save memory
      compute_dtype: of the networks; parameters and densities stay float32
      remat: compute activations again in the backward pass, to save memory
      checkpoint_every: steps between checkpoints, the most that a kill can cost; by default at
        evaluations, seldom enough to take at most 1/200 of the time
      background_saves: train while a checkpoint is written (large states on accelerators); a kill
        then costs at most two such intervals
      checkpoint_dir: folder of the checkpoints, in place of the run's folder: an absolute path, or
        a URL of an object store, gs://bucket/run or s3://bucket/run
      keep_every: steps between checkpoints that are kept for good, besides the last two and the
        best
      on_disk_error: whether training stops or continues on a full or read-only disk
      rewinds: how often training may go back to a checkpoint, leaving out the batches since,
        after 20 steps in a row that were not finite
      replay_every: steps between checks of the hardware, each of which runs a step twice and
        compares the bits
      fsdp_rules: division of arrays over `fsdp`, see `devices.mesh.StateLayout`
      stream: batches come from the host (True) or from data that stay on the device (False); None
        streams data above `training.fit.RESIDENT_BYTES`
      log_every: steps between logged metrics, which are means over these steps
      keep: checkpoints kept, besides the best
      max_skipped: non-finite steps in a row until training goes back or stops
      quiet: no progress line
    """

    mesh: str | Mesh | None = field(default=None, metadata={"type": str | None})
    deterministic: bool = False
    accumulate: int = 1
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    checkpoint_every: int | None = None
    background_saves: bool = False
    checkpoint_dir: str | None = None
    keep_every: int | None = None
    on_disk_error: Literal["stop", "continue"] = "stop"
    rewinds: int = 0
    replay_every: int | None = None
    fsdp_rules: Rules = field(default=(), metadata=IN_CODE)
    stream: bool | None = field(default=None, metadata=IN_CODE)
    log_every: int = field(default=100, metadata=IN_CODE)
    keep: int = field(default=2, metadata=IN_CODE)
    max_skipped: int = field(default=20, metadata=IN_CODE)
    quiet: bool = field(default=True, metadata=IN_CODE)

    def __post_init__(self):
        require(self.rewinds >= 0, "rewinds", "must be at least 0", self.rewinds)
        place = self.checkpoint_dir
        sound = place is None or os.path.isabs(place) or "://" in place
        rule = "must be an absolute path or a URL such as gs://bucket/run"
        require(sound, "checkpoint_dir", rule, place)
        for name in COUNTS:
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
        if not isinstance(self.mesh, str):
            return self.mesh
        sizes = mesh.parse_mesh(self.mesh)
        return mesh.make_mesh(sizes.get("data", 1), sizes.get("fsdp", 1))

    def changed(self) -> dict[str, Any]:
        """The options of the command line that are not at their defaults, by name."""
        return self._differing(True)

    def changed_in_code(self) -> dict[str, Any]:
        """The other options that are not at their defaults, less those of logs."""
        values = self._differing(False)
        return {name: v for name, v in values.items() if name not in ("quiet", "log_every")}

    def _differing(self, command_line: bool) -> dict[str, Any]:
        options = [f for f in fields(self) if f.metadata.get("command_line", True) == command_line]
        values = {
            f.name: getattr(self, f.name) for f in options if f.default != getattr(self, f.name)
        }
        return {
            n: v if isinstance(v, bool | int | float | str) else str(v) for n, v in values.items()
        }

    @property
    def chooses_gradients(self) -> bool:
        """True if an option sets the gradient strategy; otherwise the learner keeps its own."""
        names = ("deterministic", "accumulate", "compute_dtype", "remat")
        return any(getattr(self, name) != getattr(type(self), name) for name in names)

    def gradients(self, mesh: "Mesh") -> "Gradients":
        """The strategy that takes the gradients."""
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


@dataclass(frozen=True)
class Validation:
    """Evaluation during training: the choice of the best parameters, early stopping, figures.

    Attributes:
      validate: `state -> metrics` on the validation split; without it nothing is selected.
      every: steps between evaluations; an epoch if None.
      select: name of the metric to minimise.
      patience: evaluations in a row without improvement after which training stops.
      on_evaluation: `(state, step) -> None`, called by process 0 at each evaluation (figures).
    """

    validate: Callable[[Any], Mapping[str, float]] | None = None
    every: int | None = None
    select: str = "loss"
    patience: int | None = None
    on_evaluation: Callable[[Any, int], None] | None = None

    def __post_init__(self):
        for name in ("every", "patience"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "must be at least 1", value)
