"""A worker: one side of one workload in a process of its own, controlled by lines of JSON.

    python -m benchmarks.worker WORKLOAD SIDE [--tiny]

It answers each line on standard input with one on standard output:
    {"do": "prepare"}     -> {"facts": {...}, "seconds": {"cpu", "wall"}, "first_calls": {...}}
    {"do": "run", "operation": "...", "n": 3}     -> {"cpu": 1.02, "wall": 1.03}
An error is answered by {"error": "..."} and ends the worker. Output of libraries goes to standard
error. Standard library only, since it runs in the peers' environments too.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping

from benchmarks.workload import Elapsed, Operation, Side


def stopwatch() -> Elapsed:
    """Processor time of this process and the clock; subtract two of them."""
    return Elapsed(time.process_time(), time.perf_counter())


def since(start: Elapsed) -> Elapsed:
    now = stopwatch()
    return Elapsed(now.cpu - start.cpu, now.wall - start.wall)


def timed(operation: Operation, n: int) -> Elapsed:
    """The time of n units of work, by the operation's own account where it gives one."""
    start = stopwatch()
    own = operation(n)
    return since(start) if own is None else own


def first_call(operation: Operation) -> Elapsed:
    """The whole time of a first call: tracing, compiling, setting up, and one unit of work."""
    start = stopwatch()
    operation(1)
    return since(start)


def memory() -> dict[str, float]:
    """The most memory that this process held; nothing where the system does not tell."""
    try:
        import resource
    except ImportError:
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"gigabytes_resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Worker:
    """Answers requests about one side."""

    def __init__(self, side: Side, tiny: bool):
        self.side, self.tiny = side, tiny
        self.operations: Mapping[str, Operation] = {}

    def answer(self, request: dict) -> dict:
        if request["do"] == "prepare":
            return self._prepare()
        return timed(self.operations[request["operation"]], request["n"])._asdict()

    def _prepare(self) -> dict:
        start = stopwatch()
        prepared = self.side.prepare(self.tiny)
        self.operations = prepared.operations
        first_calls = {name: first_call(op)._asdict() for name, op in self.operations.items()}
        facts = {"versions": versions(self.side.packages), **prepared.facts, **memory()}
        answer = {"facts": facts, "seconds": since(start)._asdict(), "first_calls": first_calls}
        return answer | self._work()

    def _work(self) -> dict:
        """What a unit of each operation computes, and the speed of matrix products alone."""
        counted = {n: op.work for n, op in self.operations.items() if hasattr(op, "work")}
        if not counted or self.tiny:
            return {}
        from benchmarks.flops import matrix_peak

        return {"work": {n: work() for n, work in counted.items()}, "peak": matrix_peak()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="One side of a workload, driven by JSON lines.")
    parser.add_argument("workload")
    parser.add_argument("side")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a test")
    chosen = parser.parse_args(arguments)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from benchmarks import workloads

    worker = Worker(workloads.load(chosen.workload).sides[chosen.side], chosen.tiny)
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as problem:
            traceback.print_exc()
            print(json.dumps({"error": f"{type(problem).__name__}: {problem}"}), file=answers)
            return 1
        print(json.dumps(answer), file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
