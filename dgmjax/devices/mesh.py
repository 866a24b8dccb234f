"""Meshes and shardings. No other file knows how many devices a run has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dgmjax.devices import processes
from dgmjax.errors import require
from dgmjax.types import PyTree

AXES = ("data", "fsdp")
"""Both divide the batch; `fsdp` also divides parameters and optimiser state."""

MIN_DIVIDED = 2**12
"""Smaller arrays are kept whole on every device: gathering them costs more than holding them."""

Rules = Sequence[tuple[str, PartitionSpec]]


def make_mesh(data: int | None = None, fsdp: int = 1, devices: list | None = None) -> Mesh:
    """A mesh with the axes `data` and `fsdp` over the first `data * fsdp` devices.

    Args:
      data: devices that share each batch and hold equal parameters; all if None.
      fsdp: devices that share each batch, the parameters and the optimiser state.
      devices: the devices to choose from; all of all processes if None.

    Raises:
      DgmjaxError: more devices than there are, or not all of the devices of several processes.
    """
    devices = jax.devices() if devices is None else devices
    for name, count in (("data", data), ("fsdp", fsdp)):
        require(count is None or count >= 1, name, "must be at least 1", count)
    data = max(1, len(devices) // fsdp) if data is None else data
    count = data * fsdp
    require(
        1 <= count <= len(devices),
        "mesh",
        f"must have between 1 and {len(devices)} devices, which is how many there are",
        f"data={data},fsdp={fsdp}",
        "On a CPU, XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of them.",
    )
    chosen = devices[:count]
    # A process without a device in the mesh would wait for ever in the first collective operation.
    missing = {device.process_index for device in devices} - {d.process_index for d in chosen}
    require(
        not missing,
        "mesh",
        "must have devices of every process",
        f"data={data},fsdp={fsdp}",
        f"There are {len(devices)} devices: use data={len(devices) // fsdp}.",
    )
    types = (AxisType.Auto,) * len(AXES)
    return Mesh(np.array(chosen).reshape(data, fsdp), AXES, axis_types=types)


def default_mesh() -> Mesh:
    """One device, or all of several processes; in a process that is `alone`, one of its own."""
    if processes.part()[1] == 1:
        return make_mesh(1, devices=jax.local_devices())
    return make_mesh()


def is_accelerated(mesh: Mesh) -> bool:
    """Whether the devices of the mesh are other than CPUs: for choices made before tracing."""
    return mesh.devices.flat[0].platform != "cpu"


def parse_mesh(text: str) -> dict[str, int]:
    """The sizes of the axes in a text such as `data=4,fsdp=2`; imports no devices.

    >>> parse_mesh("data=4,fsdp=2")
    {'data': 4, 'fsdp': 2}
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = part.strip().partition("=")
        sound = name in AXES and name not in sizes and size.isdecimal() and int(size) >= 1
        require(sound, "mesh", "must look like data=4 or data=4,fsdp=2", repr(text))
        sizes[name] = int(size)
    return sizes


def num_devices(mesh: Mesh) -> int:
    """Number of devices that share each batch."""
    return mesh.size


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The batch axis, `axis`, is divided over all devices; other axes are whole."""
    return NamedSharding(mesh, PartitionSpec(*([None] * axis), AXES))


@dataclass(frozen=True)
class StateLayout:
    """Layout of a learner's state: division of arrays over `fsdp` by their paths and shapes.

    An array takes the first rule whose expression is found in its path, such as
    `optimisers/model/0/mu/encoder/dense_0/kernel`, which has no more axes than it, and whose
    divided axes `fsdp` divides. With no rule, its longest axis that `fsdp` divides is divided, if
    it has `MIN_DIVIDED` elements.

    Attributes:
      mesh: with the axis `fsdp`.
      rules: pairs of a regular expression and a `PartitionSpec` that names `"fsdp"`.
    """

    mesh: Mesh
    rules: tuple[tuple[str, PartitionSpec], ...] = ()

    def spec(self, path: str, shape: tuple[int, ...]) -> PartitionSpec:
        """The division of the array at `path`."""
        size = self.mesh.shape["fsdp"]
        if size == 1:
            return PartitionSpec()
        for pattern, spec in self.rules:
            if re.search(pattern, path) and len(spec) <= len(shape):
                divided = [shape[axis] for axis, name in enumerate(spec) if name is not None]
                if all(length % size == 0 for length in divided):
                    return spec
        axes = [axis for axis, length in enumerate(shape) if length % size == 0 and length > 0]
        if not axes or int(np.prod(shape)) < MIN_DIVIDED:
            return PartitionSpec()
        longest = max(axes, key=lambda axis: shape[axis])
        return PartitionSpec(*([None] * longest), "fsdp")

    def shardings(self, state: PyTree) -> PyTree:
        """A `NamedSharding` for each array (or shape) of `state`."""

        def one(path, leaf) -> NamedSharding:
            return NamedSharding(self.mesh, self.spec(_text(path), tuple(leaf.shape)))

        return jax.tree_util.tree_map_with_path(one, state)

    def constrain(self, state: PyTree) -> PyTree:
        """Inside `jit`: `state` with these shardings."""
        if self.mesh.shape["fsdp"] == 1:
            return state
        return jax.lax.with_sharding_constraint(state, self.shardings(state))


def _text(path) -> str:
    """The names along a path, joined by `/`."""
    names = (getattr(k, "key", getattr(k, "name", getattr(k, "idx", k))) for k in path)
    return "/".join(str(name) for name in names)
