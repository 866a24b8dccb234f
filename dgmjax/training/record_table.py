"""Records as rows of text: the one table that the report and the README show."""

from dgmjax.training.record import Record

COLUMNS = (
    "experiment",
    "model",
    "data",
    "metric",
    "value",
    "published",
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
        describe_data(record),
        f"{record.metric} ({record.unit}; {record.estimator})",
        record.formatted_value(),
        f"{published.value:g}" if published else "-",
        published.source if published else "-",
        record.device,
        format_duration(record.seconds),
    )


def describe_data(record: Record) -> str:
    """The data set, what was done to it, and the part that was measured."""
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
