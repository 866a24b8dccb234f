"""Writes the tables of results from the records in `benchmarks/records/`.

    python benchmarks/results_table.py            # rewrite the tables
    python benchmarks/results_table.py --check    # exit 1 if one is out of date

Each file of `benchmarks/records/` is a run's `results.json`. `benchmarks/RESULTS.md` lists all of
them, and README.md, between the two markers below, those that `benchmarks/readme_rows.toml` names.
No result is typed by hand.
"""

import argparse
import itertools
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dgmjax.errors import DgmjaxError, RunError, require
from dgmjax.files import write_atomically
from dgmjax.lab import catalogue
from dgmjax.runs import record_table
from dgmjax.runs.record import Record, read_records
from dgmjax.runs.verdict import is_reference

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NONE_YET = "No results have been recorded yet."
COMPARED = ("command", "metric", "value", "published", "reached", "epochs: ours / theirs", "time")
MOST_ROWS, MOST_COLUMNS = 8, 7
INTRODUCTION = """\
# Results

Generated from `benchmarks/records` by `make results`. A row's command is `dgmjax train EXPERIMENT
ARGUMENTS` (`--seed`, and `--data-dir DATA`), and its time that of training. `±` is the standard
error over test examples of one trained model, or, where a number of runs is given, that of their
mean (other seeds, or other missing entries). A published number is reached where the value is no
worse by more than two standard errors; misses of at most 2% say by how much. Where the published
number is of other networks or other data, the column says so instead. Many numbers without a
published one stand in a grid of models and metrics.
"""


def collect(folder: Path) -> list[Record]:
    """The records of every `*.json` in `folder`, sorted by experiment; those order the rows."""
    records = [record for file in sorted(folder.glob("*.json")) for record in read_records(file)]
    return sorted(records, key=lambda record: record.experiment)


def markdown(records: list[Record], columns: Sequence[str]) -> str:
    """These columns of the records as a Markdown table."""
    places = [record_table.COLUMNS.index(column) for column in columns]
    lines = [tuple(columns), ("---",) * len(columns)]
    rows = record_table.rows(records)
    lines += [tuple(_shown(record_table.COLUMNS[at], row[at]) for at in places) for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def comparison(folder: Path) -> str:
    """The table of the README: the rows of `readme_rows.toml`, of the records in `folder`."""
    path = folder.parent / "readme_rows.toml"
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["row"] if path.is_file() else []
    lines = [COMPARED, ("---",) * len(COMPARED)]
    for row in rows:
        command, *cells = _compared(folder, **row)
        lines += [(_code(command), *map(_escape, cells))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) if rows else NONE_YET


def _compared(
    folder: Path,
    record: str,
    metric: str,
    train_examples: int,
    published_epochs: str = "not stated",
) -> tuple[str, ...]:
    """A row: the record of a file that measures `metric` and has a published number."""
    found = [one for one in read_records(folder / record) if one.metric == metric and one.published]
    rule = "must have one record of the metric with a published number"
    require(len(found) == 1, record, rule, len(found), error=RunError)
    one, cells = found[0], record_table.row(found[0])
    flags = record_table.as_flags(one.arguments)
    command = f"{one.experiment} {'' if flags == '-' else flags}".strip()
    defaults = catalogue.own_defaults(catalogue.load_experiment(one.experiment))
    batch_size = {**defaults, **(one.arguments or {})}["batch_size"]
    epochs = f"{one.step * batch_size / train_examples:.0f} / {published_epochs}"
    published = cells[record_table.COLUMNS.index("published")]
    told = cells[record_table.COLUMNS.index("reached")]
    taken = record_table.format_duration(one.seconds)
    return (command, one.metric, one.formatted_value(), published, told, epochs, taken)


def page(records: list[Record]) -> str:
    """All of them, a section for each experiment."""
    sections = [
        f"## {experiment}\n\n{section(list(group))}\n"
        for experiment, group in itertools.groupby(records, lambda record: record.experiment)
    ]
    return "\n".join([INTRODUCTION, *share_reached(records), *(sections or [f"{NONE_YET}\n"])])


def section(records: list[Record]) -> str:
    """A row each; but where many have no published number, these in a grid of models and metrics.

    The published numbers stay in rows of their own, with their verdicts.
    """
    plain = [one for one in records if not one.published]
    if len(record_table.runs_alike(plain)) <= MOST_ROWS:
        return markdown(records, record_table.COLUMNS[1:])
    published = [one for one in records if one.published]
    tables = [markdown(published, record_table.COLUMNS[1:])] if published else []
    return "\n\n".join([*tables, *grids(plain)])


def grids(records: list[Record]) -> list[str]:
    """Tables with a row for each metric and a column for each model, or the other way around.

    Whichever are fewer are the columns, `MOST_COLUMNS` at a time. A heading holds what is the same
    in all of its cells: arguments and time of a model; unit, estimator and data of a metric.
    """
    groups = record_table.runs_alike(records)
    pairs = Counter((_trained(group), group[0].metric) for group in groups)
    twice = {metric for (_, metric), times in pairs.items() if times > 1}
    # A metric that a model has twice is told apart by all that may differ: no number is lost.
    apart = lambda one: (one[0].estimator, _cell(one, "data"), one[0].device)
    measured = lambda one: (one[0].metric, apart(one) if one[0].metric in twice else ())
    values = {(_trained(group), measured(group)): _cell(group, "value") for group in groups}
    models = _headings(groups, _trained, lambda one: one.model, ("arguments", "device", "time"))
    metrics = _headings(groups, measured, lambda one: one.metric, ("metric", "data"))
    flat = len(models) > len(metrics)
    (down, across) = (models, metrics) if flat else (metrics, models)
    tables, columns = [], list(across)
    for start in range(0, len(columns), MOST_COLUMNS):
        part = columns[start : start + MOST_COLUMNS]
        lines = [("", *(across[column] for column in part)), ("---",) * (len(part) + 1)]
        for row, heading in down.items():
            keys = [(row, column) if flat else (column, row) for column in part]
            cells = [values.get(key, "") for key in keys]
            lines += [(heading, *map(_escape, cells))] if any(cells) else []
        tables.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return tables


def _headings(groups, key, name, columns) -> dict:
    """A heading for each key: its name, and the cells that its groups have in common."""
    found: dict = {}
    for group in groups:
        found.setdefault(key(group), []).append(group)
    headings = {}
    for of, these in found.items():
        title = name(these[0][0])
        cells = {column: {_cell(group, column) for group in these} for column in columns}
        same = [(column, *found) for column, found in cells.items() if len(found) == 1]
        shared = [(column, cell.removeprefix(title).strip()) for column, cell in same]
        small = [_shown(*one) for one in shared if one[1] not in ("", "-")]
        headings[of] = "<br>".join([f"**{_escape(title)}**", *small])
    return headings


def _trained(group: list[Record]) -> tuple[str, str]:
    """The model and its arguments, which for a baseline are those of any run."""
    return group[0].model, "" if is_reference(group[0]) else _cell(group, "arguments")


def _cell(group: list[Record], column: str) -> str:
    return record_table.row_of_runs(group)[record_table.COLUMNS.index(column)]


def share_reached(records: list[Record]) -> list[str]:
    """A sentence on how many published numbers are reached, if there are any to be judged by."""
    place = record_table.COLUMNS.index("reached")
    words = [row[place] for row in record_table.rows(records)]
    judged = [word for word in words if word in ("yes", "no") or word.startswith("within")]
    near = len(judged) - judged.count("no")
    told = f"{near} are reached or missed by at most 2%"
    return [f"Of {len(judged)} published numbers of the same size, {told}.\n"] if judged else []


def recorded(records: list[Record]) -> str:
    """Data sets and seconds of training of each experiment, which `dgmjax list` shows, as JSON."""
    found: dict[str, dict] = {}
    for name, group in itertools.groupby(records, lambda record: record.experiment):
        own = [record for record in group if not is_reference(record)]
        if own:
            data = ", ".join(sorted({record.dataset for record in own}))
            seconds = min(record.seconds for record in own)
            found[name] = {"data": data, "seconds": seconds}
    return json.dumps(found, indent=1) + "\n"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def replace_block(text: str, table: str) -> str:
    """`text` with `table` between the markers. Raises `RunError` unless both stand there once."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in before + after:
        raise RunError(f"README.md must hold the lines {BEGIN} and {END} once, in this order.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _shown(column: str, cell: str) -> str:
    """A cell as Markdown: arguments as code, whose dashes stay what they are on every page."""
    return _code(cell) if column == "arguments" and cell.startswith("--") else _escape(cell)


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _escape(cell: str) -> str:
    """A cell's text as Markdown shows it literally, on one line."""
    text = " ".join(cell.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + letter if letter in "\\|*_`[]" else letter for letter in text)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Rewrites or checks the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the tables of results from the records.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    check = parser.parse_args(arguments).check
    readme, results = root / "README.md", root / "benchmarks" / "RESULTS.md"
    try:
        records = collect(root / "benchmarks" / "records")
        new = {readme: replace_block(_text(readme), comparison(root / "benchmarks" / "records"))}
        new[results] = page(records)
        new[root / "experiments" / "recorded.json"] = recorded(records)
        stale = [path for path, text in new.items() if text != _text(path)]
        if check and stale:
            names = " and ".join(path.name for path in stale)
            print(f"stale: {names}; run `python benchmarks/results_table.py`", file=sys.stderr)
            return 1
        for path in stale:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, new[path])
    except (OSError, DgmjaxError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
