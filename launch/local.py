"""Starts n processes on this machine that train one model together.

    python launch/local.py -n 4 -- dgmjax train vae_digits
    python launch/local.py -n 2 --devices 4 -- python my_script.py

Every process gets `DGMJAX_COORDINATOR`, `DGMJAX_NUM_PROCESSES` and `DGMJAX_PROCESS_ID`, from which
`dgmjax.devices.processes.initialise()` connects them. On a CPU each has `--devices` virtual
devices. Lines of output begin with the number of their process. When one process fails, the others
are given time to end by themselves and are then killed. Standard library only.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import IO, Any


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def environment(index: int, count: int, port: int, devices: int | None) -> dict[str, str]:
    """The environment of process `index`."""
    settings = {
        "DGMJAX_COORDINATOR": f"localhost:{port}",
        "DGMJAX_NUM_PROCESSES": str(count),
        "DGMJAX_PROCESS_ID": str(index),
        "PYTHONUNBUFFERED": "1",
    }
    defaults = {"PJRT_NPROC": "32", "OPENBLAS_NUM_THREADS": "1"}
    if devices is not None:
        flags = os.environ.get("XLA_FLAGS", "").split()
        name = "--xla_force_host_platform_device_count"
        flags = [flag for flag in flags if not flag.startswith(name)]
        settings |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join([*flags, f"{name}={devices}"])}
    return {**defaults, **os.environ, **settings}


def describe(code: int) -> str:
    """An exit code in words.

    >>> describe(-9), describe(3)
    ('was ended by SIGKILL', 'failed with exit code 3')
    """
    if code >= 0:
        return f"failed with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Launch:
    """The running processes."""

    def __init__(self, command: list[str], count: int, devices: int | None):
        port = free_port()
        self.processes = [
            subprocess.Popen(
                command,
                env=environment(index, count, port, devices),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that Ctrl-C comes once, from here
            )
            for index in range(count)
        ]
        self._readers = [
            threading.Thread(target=_copy, args=(index, process.stdout), daemon=True)
            for index, process in enumerate(self.processes)
        ]
        for reader in self._readers:
            reader.start()

    def send(self, number: int, _frame: FrameType | None = None) -> None:
        """Passes a signal on to every process that is still there."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def wait(self, grace: float) -> int:
        """The exit code: 0, or that of the first process that failed."""
        first: tuple[int, int] | None = None
        deadline = float("inf")
        while any(process.poll() is None for process in self.processes):
            if first is None:
                first = self._first_failure()
                if first is not None:
                    deadline = time.monotonic() + grace
                    _say(f"process {first[0]} {describe(first[1])}; waiting for the others")
            elif time.monotonic() > deadline:
                _say(f"the others have not ended after {grace:g} s and are killed")
                self.send(signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.05)
        for reader in self._readers:
            reader.join(timeout=5)
        first = first or self._first_failure()
        if first is None:
            return 0
        _say(f"process {first[0]} {describe(first[1])}. The same command resumes the run.")
        return first[1] if first[1] > 0 else 128 - first[1]

    def _first_failure(self) -> tuple[int, int] | None:
        """The process that failed; one that only lost another (75) is not the cause."""
        codes = [(index, process.poll()) for index, process in enumerate(self.processes)]
        failed = [(index, code) for index, code in codes if code]
        return min(failed, key=lambda pair: pair[1] == 75) if failed else None


def _copy(index: int, stream: IO[str] | None) -> None:
    for line in stream or ():
        print(f"[{index}] {line}", end="", flush=True)


def _say(text: str) -> None:
    print(f"launch: {text}", file=sys.stderr, flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--processes", type=int, required=True, help="how many to start")
    parser.add_argument("--devices", type=int, help="virtual CPU devices a process")
    parser.add_argument(
        "--grace", type=float, default=30.0, help="seconds before the rest is killed"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")
    options = parser.parse_args(arguments)
    options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if options.processes < 1 or (options.devices or 1) < 1:
        parser.error("-n and --devices must be at least 1")
    if not options.command or shutil.which(options.command[0]) is None:
        parser.error(f"no such command: {' '.join(options.command) or '(none was given)'}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options: Any = parse(arguments)
    launch = Launch(options.command, options.processes, options.devices)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, launch.send)
    return launch.wait(options.grace)


if __name__ == "__main__":
    sys.exit(main())
