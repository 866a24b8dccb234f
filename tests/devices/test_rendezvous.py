"""Rendezvous: a port in use, a wrong address and a wrong cluster are named."""

import os
import socket
import subprocess
import sys
import time

import pytest

from dgmjax.devices import rendezvous
from dgmjax.errors import DgmjaxError


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        with pytest.raises(DgmjaxError, match="`coordinator` must name a port that is free"):
            rendezvous.require_free(address)
    rendezvous.require_free(address)


@pytest.mark.parametrize("host", ["localhost", "nobody.invalid"])
def test_a_wrong_address_is_named_and_waiting_is_not_silent(host, capsys):
    started = time.monotonic()
    with pytest.raises(DgmjaxError, match="`coordinator` must be the address of process 0"):
        rendezvous.wait_for(f"{host}:{free_port()}", seconds=1.0, patience=0.3)
    assert time.monotonic() - started < 10
    assert "waiting for process 0" in capsys.readouterr().err


def test_a_listening_process_ends_the_wait():
    with socket.create_server(("localhost", 0)) as server:
        rendezvous.wait_for(f"localhost:{server.getsockname()[1]}", seconds=1.0)


OUTSIDE = """
from dgmjax.devices import processes
from dgmjax.errors import DgmjaxError

for cluster in ("slurm", "ompi", "mpi4py", "k8s", "auto"):
    try:
        processes.initialise(cluster=cluster, start_seconds=5)
    except DgmjaxError as problem:
        print(problem)
"""


def test_a_cluster_that_this_process_does_not_run_under_is_named():
    """In a process of its own: JAX must not have been used before."""
    of_clusters = ("SLURM_", "OMPI_", "KUBERNETES_", "DGMJAX_", "TPU_")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(of_clusters)}
    # Hides mpi4py where it is installed.
    program = "import sys; sys.modules['mpi4py'] = None\n" + OUTSIDE
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=120
    )
    said = done.stdout.splitlines()
    rule = "`cluster` must be one that this process runs under; got "
    remedy = "Give --coordinator, --num-processes and --process-id in its place."
    assert all(line.startswith(rule) and line.endswith(remedy) for line in said)
    reasons = [line.removeprefix(rule).removesuffix(f". {remedy}") for line in said]
    assert reasons[:2] == [
        "slurm: SLURM_JOB_ID is not set",
        "ompi: OMPI_MCA_orte_hnp_uri is not set",
    ]
    assert [reason.partition(":")[0] for reason in reasons[2:]] == ["mpi4py", "k8s", "auto"]
