"""Records as rows of text: the one table that the report and the results show."""

import dataclasses
import math
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dgmjax.runs.record import Record
from dgmjax.runs.verdict import is_reference, verdict

COLUMNS = (
    "experiment",
    "model",
    "arguments",
    "data",
    "metric",
    "value",
    "published",
    "reached",
    "source",
    "device",
    "time",
)


def row(record: Record) -> tuple[str, ...]:
    """The cells of `COLUMNS` for one record, as plain text."""
    published = record.published
    return (
        record.experiment,
        record.model,
        as_flags(record.arguments),
        describe_data(record),
        f"{record.metric} ({record.unit}; {record.estimator})",
        record.formatted_value(),
        f"{published.value:g}" if published else "-",
        verdict(record),
        published.source if published else "-",
        record.device,
        format_duration(record.seconds),
    )


def rows(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """One row for each record, or for each group of `runs_alike`.

    The value of a group is the mean over the runs, its error their standard deviation /
    sqrt(number of runs), and the arguments are those in common.
    """
    return [row_of_runs(group) for group in runs_alike(records)]


def runs_alike(records: Iterable[Record]) -> list[list[Record]]:
    """The records in groups of runs that measured the same thing.

    The records of a group agree in experiment, model, data, split, metric, estimator, device and
    arguments, and differ in the seed, or in an argument that is a seed ("order_seed"). Baselines
    and references, which are not trained, may differ in any argument.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = (record.experiment, record.model, describe_data(record), record.metric)
        others = (record.estimator, record.device, _settings(record))
        groups.setdefault((*key, *others), []).append(record)
    return list(groups.values())


def _settings(record: Record) -> str:
    """The arguments by which runs are told apart, seeds left out."""
    if is_reference(record):
        return ""
    arguments = record.arguments
    if arguments is None:
        return as_flags(None)
    return as_flags({name: arguments[name] for name in sorted(arguments) if "seed" not in name})


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation / sqrt(number), with one degree of freedom less.

    No error where a value is infinite.

    Sums are exact: equal values have an error of zero on every version of Python.

    >>> mean_and_error([1.0, 2.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    (2.0, 0.16666666666666666)
    """
    if not all(map(math.isfinite, values)):
        both = math.inf in values and -math.inf in values  # which have no mean
        return (math.inf if both else sum(values)), None
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.mean(values), deviation / math.sqrt(len(values))


def row_of_runs(group: list[Record]) -> tuple[str, ...]:
    """The cells of one of `runs_alike`: a mean, and what its runs have in common."""
    if len(group) == 1:
        return row(group[0])
    num = len(group)
    mean, error = mean_and_error([record.value for record in group])
    seconds = statistics.fmean(record.seconds for record in group)
    whole = dataclasses.replace(
        group[0], value=mean, standard_error=error, seconds=seconds, arguments=_common(group)
    )
    cells = dict(zip(COLUMNS, row(whole), strict=True))
    return tuple((cells | {"value": f"{cells['value']} ({num} runs)"}).values())


def _common(group: list[Record]) -> dict[str, Any] | None:
    """The arguments that all runs have, or None if one of them is unknown."""
    each = [record.arguments for record in group]
    noted = [arguments for arguments in each if arguments is not None]
    if len(noted) < len(each):
        return None
    same = lambda name, value: all(name in a and a[name] == value for a in noted)
    return {name: value for name, value in noted[0].items() if same(name, value)}


def as_flags(arguments: Mapping[str, Any] | None) -> str:
    """Arguments as flags of `dgmjax train EXPERIMENT`.

    >>> as_flags({"epochs": 40, "batch_norm": False, "hidden": [100, 100]})
    '--epochs 40 --no-batch-norm --hidden 100 100'
    >>> as_flags({}), as_flags(None)
    ('-', 'not noted')
    """
    if not arguments:
        return "not noted" if arguments is None else "-"
    return " ".join(_as_flag(name.replace("_", "-"), value) for name, value in arguments.items())


def _as_flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    values = value if isinstance(value, list | tuple) else [value]
    return " ".join([f"--{name}", *(shlex.quote(str(value)) for value in values)])


def describe_data(record: Record) -> str:
    """The data set, its binarisation, and the split that was measured."""
    binarised = f", {record.binarisation} binarisation" if record.binarisation else ""
    return f"{record.dataset}{binarised}, {record.split} ({record.num_examples})"


def format_duration(seconds: float) -> str:
    """
    >>> format_duration(42), format_duration(90), format_duration(7380)
    ('42 s', '1 min 30 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
