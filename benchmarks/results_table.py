"""Writes the table of results in README.md from the records in `benchmarks/records/`.

    python benchmarks/results_table.py            # rewrite the table
    python benchmarks/results_table.py --check    # exit 1 if it is out of date

Each file of `benchmarks/records/` is a run's `results.json`. The table stands between the two
markers below and is never typed.
"""

import argparse
import sys
from pathlib import Path

from dgmjax.errors import DgmjaxError, RunError
from dgmjax.files import write_atomically
from dgmjax.training import record_table
from dgmjax.training.record import Record, read_records

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def collect(folder: Path) -> list[Record]:
    """The records of every `*.json` in `folder`, sorted by experiment; those order the rows."""
    records = [record for file in sorted(folder.glob("*.json")) for record in read_records(file)]
    return sorted(records, key=lambda record: record.experiment)


def markdown(records: list[Record]) -> str:
    """The records as a Markdown table."""
    if not records:
        return "No results have been recorded yet."
    lines = [record_table.COLUMNS, ("---",) * len(record_table.COLUMNS)]
    lines += [tuple(map(_escape, row)) for row in record_table.rows(records)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def replace_block(text: str, table: str) -> str:
    """`text` with `table` between the markers. Raises `RunError` unless both stand there once."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in before + after:
        raise RunError(f"README.md must hold the lines {BEGIN} and {END} once, in this order.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _escape(cell: str) -> str:
    """A cell's text as Markdown shows it literally, on one line."""
    text = " ".join(cell.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + letter if letter in "\\|*_`[]" else letter for letter in text)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Rewrites or checks the table; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the table of results in README.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    check = parser.parse_args(arguments).check
    readme = root / "README.md"
    try:
        old = readme.read_text(encoding="utf-8")
        new = replace_block(old, markdown(collect(root / "benchmarks" / "records")))
        if check and new != old:
            print("README.md is stale: run `python benchmarks/results_table.py`", file=sys.stderr)
            return 1
        if not check and new != old:
            write_atomically(readme, new)
            readme.chmod(0o644)
    except (OSError, DgmjaxError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
