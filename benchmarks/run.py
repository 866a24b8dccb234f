"""Measures speed against peers, writes the records and the table, and prints the bounds.

    python -m benchmarks.run                     # everything, one to three minutes per workload
    python -m benchmarks.run --only vae_epoch    # one workload (may be repeated)
    python -m benchmarks.run --quick             # three rounds, writes nothing

The peers are installed once by `sh benchmarks/install_peers.sh`. The exit code is 1 if a bound is
not kept.
"""

import argparse
import json
import sys

from benchmarks import harness, speed_table, workloads
from dgmjax.errors import DgmjaxError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure speed against peers.")
    parser.add_argument("--only", action="append", choices=workloads.NAMES, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="three rounds; writes no record")
    parser.add_argument("--rounds", type=int, help="measurements of each side")
    parser.add_argument("--core", type=int, help="the core to run on; the last where left out")
    chosen = parser.parse_args(arguments)
    harness.pin(chosen.core)
    records = []
    try:
        for name in chosen.only or workloads.NAMES:
            records.append(record_of(name, chosen))
    except DgmjaxError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(speed_table.bounds(records))
    return 0 if all(row["met"] for record in records for row in record["targets"]) else 1


def record_of(name: str, chosen: argparse.Namespace) -> dict:
    """Measures one workload; stores it and renews the table unless in a hurry."""
    workload = workloads.load(name)
    rounds = chosen.rounds or (min(3, workload.rounds) if chosen.quick else workload.rounds)
    say = lambda text: print(text, file=sys.stderr, flush=True)
    with harness.workers(workload) as processes:
        record = harness.measure(workload, processes, rounds, say)
    if not chosen.quick:
        speed_table.RECORDS.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1) + "\n"
        (speed_table.RECORDS / f"{name}.json").write_text(text, encoding="utf-8")
        speed_table.write()
    return record


if __name__ == "__main__":
    sys.exit(main())
