"""Runs beside each other: a row for each set of arguments, a mean and its error over seeds."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgmjax.errors import require
from dgmjax.files import read_file
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Record
from dgmjax.runs.record_table import as_flags, describe_data, format_duration, mean_and_error
from dgmjax.runs.series import series
from dgmjax.runs.verdict import is_reference

Metric = tuple[str, str, str, str]
"""Name, estimator, unit, and the data that were measured."""
Measured = tuple[RunFolder, Record]
"""A record and the run that it is of."""


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed only, or one of the models that they compare.

    Attributes:
      settings: what tells the runs from the others: experiment, arguments, options.
      model: the one that the row is about, where a run measured several alike; else None.
      runs: the folders.
      records: by metric, those of the runs, without baselines.
    """

    settings: str
    model: str | None
    runs: tuple[RunFolder, ...]
    records: Mapping[Metric, tuple[Measured, ...]]

    @property
    def label(self) -> str:
        """The settings, and the model where it is one of several."""
        return self.settings if self.model is None else f"{self.settings}, {self.model}"

    def cell(self, metric: Metric) -> str:
        """The value: of one run with its error over examples, of several their mean and error."""
        found = [record for _, record in self.records.get(metric, ())]
        if not found:
            return "-"
        if len(found) == 1:
            return found[0].formatted_value()
        mean, error = mean_and_error([record.value for record in found])
        shown = dataclasses.replace(found[0], value=mean, standard_error=error)
        # Copies of one run, or runs of one seed on two machines, are no independent seeds.
        kind = "seeds" if len({record.seed for record in found}) == len(found) else "runs"
        return f"{shown.formatted_value()} ({len(found)} {kind})"

    @property
    def seconds(self) -> float:
        """The mean time of training."""
        by_run = {run: record.seconds for found in self.records.values() for run, record in found}
        return sum(by_run.values()) / len(by_run) if by_run else 0.0


@dataclass(frozen=True)
class Comparison:
    """The rows, and the metrics that they have, in the order in which they were found."""

    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells as text."""
        header = ["run", *self._headings(), "time"]
        cells = [
            [row.label, *map(row.cell, self.metrics), format_duration(row.seconds)]
            for row in self.rows
        ]
        return header, cells

    def _headings(self) -> list[str]:
        """Name and unit of each metric, with the estimator and the data where these do not do."""
        told = [f"{name} ({unit})" for name, _, unit, _ in self.metrics]
        longer = [f"{name} ({unit}; {how})" for name, how, unit, _ in self.metrics]
        whole = [f"{name} ({unit}; {how}; {of})" for name, how, unit, of in self.metrics]
        for more in (longer, whole):
            told = [new if told.count(old) > 1 else old for old, new in zip(told, more)]
        return told

    def csv(self) -> str:
        """One line for each run and metric."""
        out = io.StringIO()
        # All words in quotes: a carriage return within one would end the row elsewhere.
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        names = ("run", "folder", "seed", "metric", "estimator", "unit", "data", "value")
        writer.writerow((*names, "standard_error", "published", "seconds"))
        for row in self.rows:
            for metric, measured in row.records.items():
                for run, record in measured:
                    published = record.published.value if record.published else ""
                    error = "" if record.standard_error is None else record.standard_error
                    numbers = (record.value, error, published, record.seconds)
                    writer.writerow((row.label, str(run.path), record.seed, *metric, *numbers))
        return out.getvalue()

    def html(self) -> str:
        """A page: the table, the curves of all runs, metrics against settings, and pictures."""
        from dgmjax.runs.captions import place
        from dgmjax.runs.report import picture, template

        header, cells = self.table()
        shown = self._shown()
        names = {file.stem for run in shown.values() for file in _pictures(run)}
        side_by_side = [
            (
                name.replace("_", " "),
                [
                    picture(read_file(file), f"{name.replace('_', ' ')} of {label}", label)
                    for label, run in shown.items()
                    for file in _pictures(run)
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

    def _shown(self) -> dict[str, RunFolder]:
        """The run whose curves and pictures are shown for each setting: that of the first seed."""
        return {row.settings: row.runs[0] for row in self.rows}

    def _settings(self) -> list[dict[str, Any]]:
        """A figure for each metric that was measured at several settings, all rows in one."""
        from dgmjax.plotting import compared, to_png
        from dgmjax.runs.report import picture

        by_row = {
            row.label: [record for found in row.records.values() for _, record in found]
            for row in self.rows
        }
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

        metrics = {label: run.read_metrics() for label, run in self._shown().items()}
        lines = [
            {
                "step": line["step"],
                **{
                    f"{label}/{name.removeprefix('validation/')}": value
                    for name, value in line.items()
                    if name.startswith("validation/")
                },
            }
            for label, found in metrics.items()
            for line in found
            if any(name.startswith("validation/") for name in line)
        ]
        if not lines:
            return None
        text = "Validation curves, the first seed of each row."
        return picture(to_png(curves(lines, title="")), "curves", text)


def _pictures(run: RunFolder) -> list[Path]:
    return sorted((run.path / "figures").glob("*.png"))


def compare(folders: Sequence[Path]) -> Comparison:
    """The runs of the folders, those that differ in the seed only in one row.

    The numbers of a run whose training was interrupted, or still goes on, are of an earlier moment:
    its row says that it is unfinished.

    Raises:
      RunError: one of them is no run folder, or has damaged records.
    """
    require(len(folders) > 0, "runs", "must be at least one run folder", "none")
    runs = [RunFolder(folder) for folder in {path.resolve(): path for path in folders}.values()]
    groups: dict[tuple[str, str, bool], list[RunFolder]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        settings = dict(run.changed if run.changed is not None else run.arguments)
        settings.pop("checkpoint_dir", None)  # a place, in which no number lies
        key = run.experiment, as_flags(settings), run.is_under_way
        groups.setdefault(key, []).append(run)
    several = len({experiment for experiment, *_ in groups}) > 1
    found = []
    for (experiment, flags, under_way), members in groups.items():
        told = ("defaults" if flags == "-" else flags) + (", unfinished" if under_way else "")
        found.extend(_rows(f"{experiment} {told}" if several else told, members))
    metrics = dict.fromkeys(metric for row in found for metric in row.records)
    return Comparison(tuple(found), tuple(metrics))


def _rows(settings: str, runs: Sequence[RunFolder]) -> list[Row]:
    """One row, or one for each model where a run measured several by the same metric."""
    measured = [
        (run, record) for run in runs for record in run.read_records() if not is_reference(record)
    ]
    # A name of a model may depend on the seed, but not within a run.
    models: dict[tuple[RunFolder, Metric], set[str]] = {}
    for run, record in measured:
        models.setdefault((run, _metric(record)), set()).add(record.model)
    apart = any(len(names) > 1 for names in models.values())
    rows: dict[str | None, dict[Metric, list[Measured]]] = {}
    for run, record in measured:
        row = rows.setdefault(record.model if apart else None, {})
        row.setdefault(_metric(record), []).append((run, record))
    return [
        Row(settings, model, tuple(runs), {key: tuple(found) for key, found in row.items()})
        for model, row in (rows or {None: {}}).items()
    ]


def _metric(record: Record) -> Metric:
    return record.metric, record.estimator, record.unit, describe_data(record)
