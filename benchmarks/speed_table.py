"""`benchmarks/SPEED.md`, generated from the records in `benchmarks/records/speed/`, never by hand.

python -m benchmarks.speed_table
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.workloads import NAMES

FOLDER = Path(__file__).resolve().parent
RECORDS, PAGE = FOLDER / "records" / "speed", FOLDER / "SPEED.md"
HEAD = """# Speed

Generated from `benchmarks/records/speed/` by `python -m benchmarks.run`; do not edit. One core,
one thread, every side in a process of its own, taking turns within one run. Times are processor
time; numbers are medians over the rounds with the least and the most in brackets, and ratios are
taken within a round. "First call" is the processor time of an operation's first call: tracing,
compiling and one unit of work. "Ready after" is that of the whole process until every operation
has run once, imports and checks included. GFLOP are the matrix products and convolutions of a unit,
counted in the program, loops as often as they run; "of peak" is their speed over that of the
fastest float32 matrix product in the same process; MB are XLA's account of memory traffic, which
takes a loop once. In tables that have these columns PyTorch runs with denormals flushed, fused
optimisers and, where a row says so, under bfloat16 autocast; in older ones with its defaults.
An exponent is the slope of the logarithm of time or memory against that of a size.
The peers are installed by
`sh benchmarks/install_peers.sh`.
"""


def page(records: list[dict[str, Any]]) -> str:
    """The whole page."""
    parts = [HEAD, "## Bounds\n", bounds(records)]
    for record in records:
        parts += [f"\n## {record['title']}\n", times(record), "\n" + conditions(record)]
    return "\n".join(parts) + "\n"


def bounds(records: list[dict[str, Any]]) -> str:
    rows = [
        (
            record["workload"],
            row["label"],
            bracket(row),
            bound(row),
            "yes" if row["met"] else "**no**",
        )
        for record in records
        for row in record["targets"]
    ]
    return table(("workload", "ratio or time", "measured", "bound", "kept"), rows)


def times(record: dict[str, Any]) -> str:
    """Times of one workload; the rate where it has one."""
    rated = any("rate" in row for row in record["times"])
    rate_unit = next((row["rate"]["unit"] for row in record["times"] if "rate" in row), "")
    worked = any("flops" in row for row in record["times"])
    header = (
        "side",
        "operation",
        f"CPU-s per {record['unit']}",
        "wall-s",
        *([rate_unit] if rated else []),
        *(["GFLOP", "of peak", "MB"] if worked else []),
    )
    rows = [
        (
            row["side"],
            row["operation"],
            bracket(row["cpu"]),
            number(row["wall"]["median"]),
            *([bracket(row["rate"])] if rated else []),
            *(work(row) if worked else []),
            first_call(record, row),
            f"{record['preparation'][row['side']]['cpu']:.1f} CPU-s",
            versions(record["facts"][row["side"]]),
        )
        for row in record["times"]
    ]
    return table((*header, "first call", "ready after", "versions"), rows)


def work(row: dict[str, Any]) -> tuple[str, str, str]:
    """Operations of a unit, the share of the matrix peak, memory traffic; or dashes."""
    if "flops" not in row:
        return "-", "-", "-"
    share = f"{row['share_of_peak']:.0%}"
    return number(row["flops"] / 1e9), share, number(row["megabytes"])


def first_call(record: dict[str, Any], row: dict[str, Any]) -> str:
    """Its processor time; a dash where a record has none."""
    calls = record.get("first_calls", {}).get(row["side"], {})
    return f"{number(calls[row['operation']]['cpu'])} CPU-s" if calls else "-"


def conditions(record: dict[str, Any]) -> str:
    """Machine, date and facts, in a line."""
    machine = record["machine"]
    facts = {
        f"{side} {name.replace('_', ' ')}": value
        for side, found in record["facts"].items()
        for name, value in found.items()
        if name != "versions"
    }
    listed = "; ".join(f"{name} {number(value)}" for name, value in facts.items())
    return (
        f"{record['rounds']} rounds on {record['date']}, {machine['processor']}, {machine['used']} "
        f"of {machine['cores']} cores, load {machine['load']}." + (f" {listed}." if listed else "")
    )


def versions(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())


def bound(row: dict[str, Any]) -> str:
    least, most = row.get("at_least"), row.get("at_most")
    return f"≥ {least:g}" if least is not None else f"≤ {most:g}"


def bracket(row: dict[str, Any]) -> str:
    if row["least"] == row["most"]:
        return number(row["median"])
    return f"{number(row['median'])} ({number(row['least'])}-{number(row['most'])})"


def number(value: Any) -> str:
    """Three figures, and thousands as whole numbers.

    >>> number(0.012345), number(12345.6), number(2.0)
    ('0.0123', '12,346', '2')
    """
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def read(folder: Path = RECORDS) -> list[dict[str, Any]]:
    """The stored records, in the order of the workloads."""
    files = {name: folder / f"{name}.json" for name in NAMES}
    return [json.loads(file.read_text("utf-8")) for file in files.values() if file.exists()]


def write(folder: Path = RECORDS, target: Path = PAGE) -> None:
    target.write_text(page(read(folder)), encoding="utf-8")


if __name__ == "__main__":
    write()
