"""Streaming: examples per second beside resident data and a plain loop, and memory over an epoch.

    python -m benchmarks.streaming                # about two minutes on two cores
    python -m benchmarks.streaming --gigabytes 0.1 --rounds 3

Three ways to the same batches (`data.Batches`, images of 64x64x3 bytes, 256 per batch), each with
the same compiled work on the device, a mean of each example:
  resident   the data are on the device, and rows are gathered in the compiled call
  numpy      `batches.batch(step)` in a loop, then to the device
  streamed   `data.streamed`: the same through Grain, read ahead in a thread
The ways take turns within a round; reported are medians over rounds. Then one epoch is streamed
from a sparse file of 5 GB, mapped into memory. `anonymous` memory is what the process needs; pages
of the file are the system's cache, which it reclaims when needed.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data import Batches, streamed
from dgmjax.data.reading.files import read_npy
from dgmjax.files import write_atomically
from dgmjax.runs.versions import device_description, package_versions

SHAPE, BATCH = (64, 64, 3), 256
RECORD = Path(__file__).parent / "records" / "streaming" / "streaming.json"


@jax.jit
def work(x: jax.Array) -> jax.Array:
    """The work on a batch: a mean of each example."""
    return x.astype(jnp.float32).mean(axis=(1, 2, 3))


@jax.jit
def gathered_work(data: jax.Array, rows: jax.Array) -> jax.Array:
    return work(data[rows])


def resident(batches: Batches, steps: int) -> float:
    data = jax.device_put(batches.arrays["x"])
    rows = jax.device_put(batches.indices_block(0, steps))
    gathered_work(data, rows[0]).block_until_ready()
    start = time.perf_counter()
    for step in range(steps):
        result = gathered_work(data, rows[step])
    result.block_until_ready()
    return time.perf_counter() - start


def numpy_loop(batches: Batches, steps: int) -> float:
    start = time.perf_counter()
    for step in range(steps):
        result = work(jax.device_put(batches.batch(step)["x"]))
    result.block_until_ready()
    return time.perf_counter() - start


def through_grain(batches: Batches, steps: int, prefetch: int) -> float:
    start = time.perf_counter()
    for batch in streamed(batches, 0, prefetch, num_steps=steps):
        result = work(jax.device_put(batch["x"]))
    result.block_until_ready()
    return time.perf_counter() - start


WAYS: dict[str, Callable[[Batches, int], float]] = {
    "resident": resident,
    "numpy": numpy_loop,
    "streamed, prefetch 2": partial(through_grain, prefetch=2),
    "streamed, prefetch 0": partial(through_grain, prefetch=0),
}


def compare(rounds: int, steps: int) -> dict[str, float]:
    """Examples per second of each way: medians over rounds."""
    x = np.random.default_rng(0).integers(0, 256, (BATCH * steps, *SHAPE), np.uint8)
    batches = Batches({"x": x}, BATCH, seed=0)
    numpy_loop(batches, 2)  # compiles
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            rates[name].append(BATCH * steps / way(batches, steps))
    return {name: statistics.median(values) for name, values in rates.items()}


def memory() -> dict[str, float]:
    """Resident memory of this process in MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    names = {"anonymous": "RssAnon", "of the file": "RssFile"}
    return {name: int(lines[key].split()[0]) / 1024 for name, key in names.items()}


def epoch(folder: Path, gigabytes: float) -> dict[str, Any]:
    """Streams an epoch of a sparse file, and watches memory at 20 moments of it."""
    rows = int(gigabytes * 1e9) // int(np.prod(SHAPE))
    path = folder / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (rows, *SHAPE))
    batches = Batches({"x": read_npy(path, mmap=True)}, BATCH, seed=0)
    steps, seen, start = batches.steps_per_epoch, [], time.perf_counter()
    for step, batch in enumerate(streamed(batches, 0, num_steps=steps)):
        work(jax.device_put(batch["x"])).block_until_ready()
        if step % max(1, steps // 20) == 0:
            seen.append(memory())
    seconds = time.perf_counter() - start
    return {
        "gigabytes": gigabytes,
        "steps": steps,
        "examples_per_second": BATCH * steps / seconds,
        "anonymous_mib": [round(m["anonymous"]) for m in seen],
        "of_the_file_mib": [round(m["of the file"]) for m in seen],
    }


def table(rates: dict[str, float], large: dict[str, Any]) -> str:
    base = rates["numpy"]
    lines = ["| way | examples/s | beside numpy |", "|---|---|---|"]
    lines += [f"| {name} | {rate:,.0f} | {rate / base:.2f} |" for name, rate in rates.items()]
    lines.append(
        f"| streamed from {large['gigabytes']:g} GB on disk | "
        f"{large['examples_per_second']:,.0f} | {large['examples_per_second'] / base:.2f} |"
    )
    used = large["anonymous_mib"][1:]
    return "\n".join(
        [
            *lines,
            f"anonymous memory over the epoch: {min(used)} to {max(used)} MiB; pages of the file "
            f"in the cache at its end: {large['of_the_file_mib'][-1]} MiB",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure streaming.")
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="batches a round")
    parser.add_argument("--folder", help="where the large file goes; the temporary folder if none")
    parser.add_argument("--record", action="store_true", help="write the record")
    options = parser.parse_args(arguments)
    rates = compare(options.rounds, options.steps)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        large = epoch(Path(folder), options.gigabytes)
    print(table(rates, large))
    if options.record:
        record = {
            "examples_per_second": {name: round(rate) for name, rate in rates.items()},
            "epoch": large,
            "rounds": options.rounds,
            "shape": SHAPE,
            "batch": BATCH,
            "device": device_description(),
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
            "load": os.getloadavg()[0],
            "versions": package_versions(),
        }
        write_atomically(RECORD, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
