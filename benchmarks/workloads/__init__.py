"""The workloads: each file holds our side, the peers' sides, and the bounds to keep."""

from importlib import import_module

from benchmarks.workload import Workload

NAMES = (
    "vae_epoch",
    "iwae_step",
    "small_maf_epoch",
    "maf_sampling",
    "fit_overhead",
    "time_to_first_step",
    "pixelcnn_sampling",
    "wavenet_generation",
)


def load(name: str) -> Workload:
    """The workload of that name; imports neither JAX nor torch."""
    return import_module(f"benchmarks.workloads.{name}").WORKLOAD
