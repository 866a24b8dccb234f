"""Tests the bijectors of five JAX libraries against one numerics contract, and prints the table.

    python -m benchmarks.conformance                      # all, about five minutes
    python -m benchmarks.conformance --library distrax    # one (may be repeated)

`sh benchmarks/install_peers.sh` installs the other libraries. The exit code is 1 if a bijector of
this package breaks the contract or fails a use.
"""

import argparse
import json
import os
import subprocess
import sys

from benchmarks.harness import ENVIRONMENT, ROOT, BenchmarkError, interpreter
from dgmjax.errors import DgmjaxError

LIBRARIES = {
    "dgmjax": ("own", "own"),
    "distrax": ("own", "distrax_rows"),
    "flowjax": ("jax", "flowjax_rows"),
    "bijx": ("jax", "bijx_rows"),
    "numpyro": ("jax", "numpyro_rows"),
}
"""Environment and module of the rows of each."""

RECORDS = ROOT / "benchmarks" / "records" / "conformance"
TABLE = ROOT / "benchmarks" / "CONFORMANCE.md"
TITLE = """# Bijectors under one numerics contract

Made by `python -m benchmarks.conformance`. Each bijector is drawn three times with parameters of
standard deviation 1 and three times with 5 (weights of a library's own network divided by the
square root of their fan-in), in float32, and compared with itself in float64: `round_trip`,
`log_det`, `gradient` at eight random points; `*_special` at 0, integers, +-50, +-1e4, knots and
bounds, `*_data` at points of the data's domain with its ends. Named are the measurements that break
the contract of `dgmjax.evaluation.bijector_conformance`, with the worst error; "std 5" alone means
that the contract is kept at 1. Networks of other libraries read +-1e4 as they are; those written
here pass them through tanh first. A sigmoid that is infinite at the ends of its domain is right in
mathematics and breaks the contract, which requires finite values there.

The last column names the uses in `dgmjax.evaluation.bijector_uses` that fail with the bijector as
its library makes it and JAX's own transformations. Equinox's filters, with which bijections of
flowjax are meant to be used, would help some.
"""


def measure(library: str) -> dict:
    """The verdicts of a library's rows, from a process in its environment."""
    environment, module = LIBRARIES[library]
    command = [str(interpreter(environment)), "-m", "benchmarks.conformance.worker", module]
    variables = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise BenchmarkError(f"{library}: the worker ended with status {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def words(row: dict) -> str:
    """A row's verdict in one line."""
    if "error" in row:
        return row["error"]
    by_scale = row["broken"]
    if not any(by_scale.values()):
        return "keeps it"

    def one(name, value):
        plain = name.replace("_", " ")
        return f"{plain} not finite" if value == float("inf") else f"{plain} {value:.2g}"

    def told(broken):
        false = [name.replace("finite_", "") for name, v in broken.items() if v is False]
        infinite = [f"{' and '.join(false).replace('_', ' ')} not finite"] if false else []
        return ", ".join([*infinite, *(one(n, v) for n, v in broken.items() if v is not False)])

    parts = [f"std {scale}: {told(broken)}" for scale, broken in by_scale.items() if broken]
    return "; ".join(parts)


def table(records: dict[str, dict]) -> str:
    """All records as one Markdown table."""
    lines = [TITLE, "| library | bijector | numbers | uses that fail |", "|---|---|---|---|"]
    for library, record in records.items():
        for name, row in record["rows"].items():
            failed = ", ".join(row["unusable"]) or "none"
            lines.append(f"| {library} | {name} | {words(row)} | {failed} |")
    lines.append(
        "\n| library | rows | keep it | every use works | versions |\n|---|---|---|---|---|"
    )
    for library, record in records.items():
        kept = sum(words(row) == "keeps it" for row in record["rows"].values())
        usable = sum(not row["unusable"] for row in record["rows"].values())
        used = ", ".join(f"{name} {v}" for name, v in record["versions"].items())
        lines.append(f"| {library} | {len(record['rows'])} | {kept} | {usable} | {used} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Hold bijectors to one numerics contract.")
    parser.add_argument("--library", action="append", choices=list(LIBRARIES), metavar="NAME")
    chosen = parser.parse_args(arguments)
    RECORDS.mkdir(parents=True, exist_ok=True)
    try:
        for library in chosen.library or LIBRARIES:
            text = json.dumps(measure(library), indent=1) + "\n"
            (RECORDS / f"{library}.json").write_text(text, encoding="utf-8")
    except DgmjaxError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    paths = {library: RECORDS / f"{library}.json" for library in LIBRARIES}
    records = {
        library: json.loads(path.read_text(encoding="utf-8"))
        for library, path in paths.items()
        if path.exists()
    }
    text = table(records)
    TABLE.write_text(text, encoding="utf-8")
    print(text)
    own = records.get("dgmjax", {"rows": {}})["rows"].values()
    return 0 if all(words(row) == "keeps it" and not row["unusable"] for row in own) else 1


if __name__ == "__main__":
    sys.exit(main())
