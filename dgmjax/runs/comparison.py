"""Runs beside each other: a row for each set of arguments, a mean and its error over seeds."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgmjax.errors import require
from dgmjax.files import read_file
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Record
from dgmjax.runs.record_table import as_flags, format_duration
from dgmjax.runs.series import series
from dgmjax.runs.verdict import is_reference

Metric = tuple[str, str, str]
"""Name, estimator, unit."""


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed only.

    Attributes:
      label: what tells the row from the others: experiment, arguments, options.
      runs: the folders.
      records: by metric, those of the runs, without baselines.
    """

    label: str
    runs: tuple[RunFolder, ...]
    records: Mapping[Metric, tuple[Record, ...]]

    def cell(self, metric: Metric) -> str:
        """The value: of one run with its error over examples, of several their mean and error."""
        found = self.records.get(metric, ())
        if not found:
            return "-"
        if len(found) == 1:
            return found[0].formatted_value()
        mean, error = mean_and_error([record.value for record in found])
        shown = dataclasses.replace(found[0], value=mean, standard_error=error)
        return f"{shown.formatted_value()} ({len(found)} seeds)"

    @property
    def seconds(self) -> float:
        """The mean time of training."""
        times = [records[0].seconds for records in self.records.values()]
        return sum(times) / len(times) if times else 0.0


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation / sqrt(number), with one degree of freedom less.

    >>> mean_and_error([1.0, 2.0, 3.0])
    (2.0, 0.5773502691896257)
    """
    num = len(values)
    mean = sum(values) / num
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / max(num - 1, 1) / num)


@dataclass(frozen=True)
class Comparison:
    """The rows, and the metrics that they have, in the order in which they were found."""

    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells as text."""
        header = ["run", *(f"{name} ({unit})" for name, _, unit in self.metrics), "time"]
        cells = [
            [row.label, *map(row.cell, self.metrics), format_duration(row.seconds)]
            for row in self.rows
        ]
        return header, cells

    def csv(self) -> str:
        """One line for each run and metric."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = ("run", "folder", "seed", "metric", "estimator", "unit", "value")
        writer.writerow((*names, "standard_error", "published", "seconds"))
        for row in self.rows:
            for metric, records in row.records.items():
                for run, record in zip(row.runs, records):
                    published = record.published.value if record.published else ""
                    error = "" if record.standard_error is None else record.standard_error
                    numbers = (record.value, error, published, record.seconds)
                    writer.writerow((row.label, run.path, record.seed, *metric, *numbers))
        return out.getvalue()

    def html(self) -> str:
        """A page: the table, the curves of all runs, metrics against settings, and pictures."""
        from dgmjax.runs.captions import place
        from dgmjax.runs.report import picture, template

        header, cells = self.table()
        names = {file.stem for row in self.rows for file in _pictures(row.runs[0])}
        side_by_side = [
            (
                name.replace("_", " "),
                [
                    picture(read_file(file), f"{name.replace('_', ' ')} of {row.label}", row.label)
                    for row in self.rows
                    for file in _pictures(row.runs[0])
                    if file.stem == name
                ],
            )
            for name in sorted(names, key=place)
        ]
        return template("comparison.html.jinja").render(
            header=header,
            cells=cells,
            curves=self._curves(),
            settings=self._settings(),
            figures=side_by_side,
        )

    def _settings(self) -> list[dict[str, Any]]:
        """A figure for each metric that was measured at several settings, all rows in one."""
        from dgmjax.plotting import compared, to_png
        from dgmjax.runs.report import picture

        by_row = {row.label: [r for rs in row.records.values() for r in rs] for row in self.rows}
        models = [{record.model for record in records} for records in by_row.values()]
        # The model is the shorter name, where no two rows have the same.
        alone = sum(map(len, models)) == len(set().union(*models))
        named: dict[str, list[Record]] = {}
        for (label, records), several in zip(by_row.items(), models):
            for record in records:
                told = f"{label}, {record.model}" if len(several) > 1 else label
                named.setdefault(record.model if alone else told, []).append(record)
        figures = []
        for found in series(named):
            quantity = f"{found.metric} ({found.unit})"
            figure = compared(found.curves, found.setting, quantity, log=found.positive)
            text = f"Against {found.setting}, a line for each row."
            figures.append(picture(to_png(figure), found.metric.replace("_", " "), text))
        return figures

    def _curves(self) -> dict[str, Any] | None:
        from dgmjax.plotting import curves, to_png
        from dgmjax.runs.report import picture

        metrics = {row.label: row.runs[0].read_metrics() for row in self.rows}
        lines = [
            {
                "step": line["step"],
                **{f"{label}/{_last(n)}": v for n, v in line.items() if n != "step"},
            }
            for label, found in metrics.items()
            for line in found
            if any(name.startswith("validation/") for name in line)
        ]
        if not lines:
            return None
        text = "Validation curves, the first seed of each row."
        return picture(to_png(curves(lines, title="")), "curves", text)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _pictures(run: RunFolder) -> list[Path]:
    return sorted((run.path / "figures").glob("*.png"))


def compare(folders: Sequence[Path]) -> Comparison:
    """The runs of the folders, those that differ in the seed only in one row.

    Raises:
      RunError: one of them is no run folder, or has damaged records.
    """
    require(len(folders) > 0, "runs", "must be at least one run folder", "none")
    runs = [RunFolder(folder) for folder in dict.fromkeys(folders)]
    groups: dict[tuple[str, str], list[RunFolder]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        settings = run.changed if run.changed is not None else run.arguments
        groups.setdefault((run.experiment, as_flags(settings)), []).append(run)
    several = len({experiment for experiment, _ in groups}) > 1
    found = []
    for (experiment, flags), members in groups.items():
        told = "defaults" if flags == "-" else flags
        label = f"{experiment} {told}" if several else told
        found.append(Row(label, tuple(members), _records(members)))
    metrics = dict.fromkeys(metric for row in found for metric in row.records)
    return Comparison(tuple(found), tuple(metrics))


def _records(runs: Sequence[RunFolder]) -> dict[Metric, tuple[Record, ...]]:
    found: dict[Metric, list[Record]] = {}
    for run in runs:
        for record in run.read_records():
            if not is_reference(record):
                key = (record.metric, record.estimator, record.unit)
                found.setdefault(key, []).append(record)
    return {metric: tuple(records) for metric, records in found.items()}
