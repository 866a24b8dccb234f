"""Measures the rows of one library, in its own environment: one line of JSON on standard output.

python -m benchmarks.conformance.worker MODULE
"""

import contextlib
import importlib
import json
import sys
import time

from benchmarks.conformance.row import Row, failed_uses, measured
from benchmarks.worker import versions


def verdict(row: Row) -> dict:
    """What breaks the contract, by scale, or the error that the library raised; uses that fail."""
    uses = failed_uses(row)
    try:
        return {"broken": measured(row), "unusable": uses}
    except Exception as problem:  # any library's own
        text = str(problem).strip().splitlines()
        return {"error": f"{type(problem).__name__}: {text[0] if text else ''}", "unusable": uses}


def main(module: str) -> None:
    rows = importlib.import_module(f"benchmarks.conformance.{module}")
    found = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name, row in rows.rows().items():
            started = time.perf_counter()
            found[name] = verdict(row)
            print(f"{module} {name}: {time.perf_counter() - started:.0f} s", flush=True)
    print(json.dumps({"versions": versions(rows.PACKAGES), "rows": found}))


if __name__ == "__main__":
    main(sys.argv[1])
