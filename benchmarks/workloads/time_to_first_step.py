"""Time to the first training step, process start included, without and with a compile cache.

Every measurement is a new process; its processor time is that of all its threads, as the
operating system accounts it. "cold" starts with an empty compile cache, "warm" with the one that
an earlier process left behind. The installed packages must be byte-compiled, as pip leaves them (uv
needs `--compile-bytecode`): otherwise every process compiles some 2000 modules, 2.8 s.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.workload import Elapsed, Prepared, Side, Target, Workload


def prepare(tiny: bool) -> Prepared:
    folder = Path(tempfile.mkdtemp(prefix="dgmjax-first-step-"))

    def cold(n: int) -> Elapsed:
        return _total(_run(Path(tempfile.mkdtemp(dir=folder)), tiny) for _ in range(n))

    def warm(n: int) -> Elapsed:
        return _total(_run(folder / "warm", tiny) for _ in range(n))

    return Prepared({"cold": cold, "warm": warm})


def _run(cache: Path, tiny: bool) -> Elapsed:
    """One process; raises if it fails."""
    command = [sys.executable, "-m", "benchmarks.workloads.first_step"]
    environment = {**os.environ, "DGMJAX_CACHE": str(cache)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "PJRT_NPROC", "OPENBLAS_NUM_THREADS"):
        environment.pop(name, None)  # as dgmjax itself sets them
    before, started = os.times(), time.perf_counter()
    subprocess.run(command + ["--tiny"] * tiny, env=environment, check=True, stdout=2)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system
    return Elapsed(cpu - before.children_user - before.children_system, wall)


def _total(parts) -> Elapsed:
    parts = list(parts)
    return Elapsed(sum(part.cpu for part in parts), sum(part.wall for part in parts))


WORKLOAD = Workload(
    name="time_to_first_step",
    title="Time to the first step of the model of vae_mnist, process start included",
    unit="process",
    sides={"dgmjax": Side(prepare, {"cold": 1, "warm": 1})},
    targets=(
        Target("cold compile cache, s", ("dgmjax", "cold"), at_most=10.0),
        Target("warm compile cache, s", ("dgmjax", "warm"), at_most=4.0),
    ),
    equal_facts=(),
    rounds=3,
)
