"""Rendezvous of processes: checks of the coordinator's address before JAX uses it.

If the port is taken, JAX ends process 0 with a segmentation fault; if there is no answer, it waits
for minutes without a message.
"""

import socket
import sys
import time

from dgmjax.errors import DgmjaxError

PATIENCE = 10.0
"""Seconds between messages that a process is still waiting."""


def require_free(coordinator: str, _seconds: float = 0.0) -> None:
    """Raises `DgmjaxError` unless process 0 can listen on the port of `host:port`."""
    port = int(coordinator.rpartition(":")[2])
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        dual = family == socket.AF_INET6
        socket.create_server(("", port), family=family, dualstack_ipv6=dual).close()
    except OSError as problem:
        raise DgmjaxError(
            f"`coordinator` must name a port that is free on the machine of process 0; got "
            f"{coordinator}: {problem.strerror or problem}. Choose another port, the same one in "
            "every process."
        ) from problem


def wait_for(coordinator: str, seconds: float, patience: float = PATIENCE) -> None:
    """Waits until a process listens at `host:port`; prints a note if that takes long.

    Raises:
      DgmjaxError: none does within the time allowed.
    """
    host, _, port = coordinator.rpartition(":")
    started = said = time.monotonic()
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=patience).close()
            return
        except OSError as problem:
            reason = problem.strerror or str(problem)
        now = time.monotonic()
        if now - started >= seconds:
            raise DgmjaxError(
                f"`coordinator` must be the address of process 0; got {coordinator}, where nobody "
                f"answered for {seconds:.0f} s: {reason}. Start process 0 within that time, and "
                "give all processes its address."
            )
        if now - said >= patience:
            said = now
            print(
                f"note: waiting for process 0 at {coordinator} since {now - started:.0f} s: "
                f"{reason}",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(min(0.2, seconds))
