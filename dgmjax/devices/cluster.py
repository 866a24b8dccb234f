"""Cluster options: the processes that train together. Importing this file imports no JAX."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Processes:
    """Processes that train together; see `devices.processes.initialise`.

    Attributes:
      coordinator: host:port of process 0, to train with several processes
      num_processes: how many processes there are
      process_id: which of them this is, from 0
      cluster: slurm, tpu, k8s, ompi, mpi4py or auto, to find the three above
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    cluster: str | None = None
