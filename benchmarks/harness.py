"""Runs the sides of a workload in turn, A B A B ..., each warm in a process of its own.

All workers are pinned to one core and told to use one thread; only one works at a time. Ratios
are taken within a round, so that a slow spell of the machine slows both sides.
"""

import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.workload import Growth, Measured, Target, Workload, slope
from dgmjax.errors import DgmjaxError

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PJRT_NPROC": "1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "DGMJAX_CACHE": "off",  # so that what compiling costs is seen
}
Times = dict[Measured, list[dict[str, float]]]


class BenchmarkError(DgmjaxError):
    """A peer that is not installed, or a worker that failed."""


def interpreter(environment: str) -> Path:
    """The Python of "own" or a peers' environment.

    Raises:
      BenchmarkError: it is not installed.
    """
    if environment == "own":
        return Path(sys.executable)
    path = ROOT / ".peers" / environment / "bin" / "python"
    if not path.exists():
        raise BenchmarkError(f"{path} does not exist. Run `sh benchmarks/install_peers.sh` first.")
    return path


def pin(core: int | None) -> int | None:
    """Pins this process and its children to one core; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


class WorkerProcess:
    """A worker, controlled by lines of JSON; its other output is kept for an error."""

    def __init__(self, command: list[str], name: str):
        self.name = name
        self.output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed below)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.output,
            text=True,
        )
        self.requests = cast(IO[str], self.process.stdin)
        self.answers = cast(IO[str], self.process.stdout)

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request; raises `BenchmarkError` with what went wrong."""
        try:
            self.requests.write(json.dumps(request) + "\n")
            self.requests.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"ended with {self.process.wait()}"}
        if "error" in answer:
            self.output.seek(0)
            said = "".join(self.output.readlines()[-15:])
            raise BenchmarkError(f"The worker {self.name} failed: {answer['error']}.\n{said}")
        return answer

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.requests.close()
        self.answers.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()


def command_of(python: str, workload: str, side: str) -> list[str]:
    """What starts a worker."""
    return [python, "-m", "benchmarks.worker", workload, side]


@contextlib.contextmanager
def workers(workload: Workload, tiny: bool = False) -> Iterator[dict[str, WorkerProcess]]:
    """A process for every side, closed in the end."""
    interpreters = {name: interpreter(side.environment) for name, side in workload.sides.items()}
    started: dict[str, WorkerProcess] = {}
    try:
        for name, python in interpreters.items():
            command = command_of(str(python), workload.name, name)
            label = f"{workload.name}/{name}"
            started[name] = WorkerProcess(command + ["--tiny"] * tiny, label)
        yield started
    finally:
        for worker in started.values():
            worker.close()


def measure(
    workload: Workload,
    processes: dict[str, WorkerProcess],
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Prepares every side and lets them take turns; returns the record."""
    prepared = {}
    for name, worker in processes.items():
        prepared[name] = worker.ask(do="prepare")
        say(f"{workload.name}: {name} is ready after {prepared[name]['seconds']['cpu']:.1f} CPU-s")
    facts = {name: answer["facts"] for name, answer in prepared.items()}
    check_equal(workload, facts)
    operations = [(side, op) for side, s in workload.sides.items() for op in s.units]
    times: Times = {measured: [] for measured in operations}
    for turn in range(rounds):
        # Every other round backwards, so that nobody always follows the same neighbour.
        for side, operation in operations if turn % 2 == 0 else reversed(operations):
            n = workload.sides[side].units[operation]
            took = processes[side].ask(do="run", operation=operation, n=n)
            times[side, operation].append({clock: took[clock] / n for clock in ("cpu", "wall")})
    return {
        "workload": workload.name,
        "title": workload.title,
        "unit": workload.unit,
        "rounds": rounds,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "preparation": {name: answer["seconds"] for name, answer in prepared.items()},
        "first_calls": {name: answer["first_calls"] for name, answer in prepared.items()},
        "facts": facts,
        "times": [
            time_row(workload, measured, times[measured]) | work_row(measured, times, prepared)
            for measured in operations
        ],
        "targets": [ratio_row(target, times) for target in workload.targets]
        + [growth_row(growth, times) for growth in workload.growths]
        + [fact_row(target, facts) for target in workload.fact_targets],
    }


def check_equal(workload: Workload, facts: dict[str, dict[str, Any]]) -> None:
    """All sides must train the same model."""
    for fact in workload.equal_facts:
        values = {name: found.get(fact) for name, found in facts.items()}
        if len(set(values.values())) > 1 or None in values.values():
            raise BenchmarkError(f"The sides of {workload.name} differ in {fact}: {values}.")


def time_row(workload: Workload, measured: Measured, times: list[dict[str, float]]) -> dict:
    cpu, wall = ([time[clock] for time in times] for clock in ("cpu", "wall"))
    row = {"side": measured[0], "operation": measured[1], "cpu": spread(cpu), "wall": spread(wall)}
    if workload.scale_name:
        row["rate"] = {"unit": f"{workload.scale_name}/CPU-s"} | spread(
            [workload.scale / seconds for seconds in cpu]
        )
    return row


def work_row(measured: Measured, times: Times, prepared: dict[str, dict]) -> dict[str, Any]:
    """Operations and bytes of a unit, and the share of the fastest matrix product's speed."""
    side, operation = measured
    work = prepared[side].get("work", {}).get(operation)
    if work is None:
        return {}
    seconds = statistics.median(time["cpu"] for time in times[measured])
    return {**work, "share_of_peak": work["flops"] / seconds / prepared[side]["peak"]}


def ratio_row(target: Target, times: Times) -> dict[str, Any]:
    """The median over rounds of the ratio of processor times, and whether the bound is kept."""
    values = [time["cpu"] for time in times[target.numerator]]
    if target.denominator is not None:
        values = [a / b["cpu"] for a, b in zip(values, times[target.denominator])]
    found = spread(values)
    sides = {"numerator": target.numerator, "denominator": target.denominator}
    bounds = {"at_least": target.at_least, "at_most": target.at_most}
    return {"label": target.label, **found, **sides, **bounds, "met": target.met(found["median"])}


def growth_row(growth: Growth, times: Times) -> dict[str, Any]:
    """The median over rounds of the exponent of time, and whether the bound is kept."""
    measured = {size: times[growth.side, name] for name, size in growth.sizes.items()}
    rounds = range(min(map(len, measured.values())))
    found = spread([slope({s: t[turn]["cpu"] for s, t in measured.items()}) for turn in rounds])
    return {
        "label": growth.label,
        **found,
        "at_most": growth.at_most,
        "met": found["median"] <= growth.at_most,
    }


def fact_row(target, facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    value = facts[target.side][target.fact]
    found = {"median": value, "least": value, "most": value}
    return {
        "label": target.label,
        **found,
        "at_most": target.at_most,
        "met": value <= target.at_most,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def machine() -> dict[str, Any]:
    """Processor, system, and how busy the machine was."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "used": 1,
        "load": load,
        "system": platform.system(),
        "flags": ENVIRONMENT,
    }
