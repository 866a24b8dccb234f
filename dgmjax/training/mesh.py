"""Meshes and shardings: the only place that knows on how many devices a run runs."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dgmjax.errors import require


def make_mesh(data: int | None = None, devices: list | None = None) -> Mesh:
    """A mesh with one axis, `data`, over the first `data` devices (all where None).

    Args:
      data: number of devices that share each batch.
      devices: the devices to choose from; all of this process's backend where None.

    Raises:
      DgmjaxError: more devices than there are.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices) if data is None else data
    require(
        1 <= count <= len(devices),
        "devices",
        f"must be between 1 and the number of devices, {len(devices)}",
        count,
        "On a CPU, XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of them.",
    )
    return Mesh(np.array(devices[:count]), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The batch axis, `axis`, is divided over `data`; other axes are whole."""
    return NamedSharding(mesh, PartitionSpec(*([None] * axis), "data"))


def check_divides(mesh: Mesh, batch_size: int) -> None:
    """Raises `DgmjaxError` unless the devices divide the batch."""
    count = mesh.shape["data"]
    divisors = [n for n in range(1, count + 1) if batch_size % n == 0]
    require(
        batch_size % count == 0,
        "devices",
        f"must divide batch_size={batch_size}",
        count,
        f"Use --devices {divisors[-1]}, or a batch size that is a multiple of {count}.",
    )
