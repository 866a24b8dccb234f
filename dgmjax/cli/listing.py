"""Command `list`: the experiments, with the data and the time of recorded runs."""

import json
from typing import Annotated

from dgmjax.cli.arguments import parse
from dgmjax.errors import require
from dgmjax.lab import catalogue
from dgmjax.lab.catalogue import Entry


def list_command(arguments: list[str]) -> None:
    """`dgmjax list`. Reads files, and runs none of them."""

    def list_experiments(
        *,
        family: Annotated[str | None, "only this family: latent, flows, ..."] = None,
        data: Annotated[str | None, "only data sets whose name has this in it"] = None,
        time: Annotated[float | None, "only those recorded to train in so many minutes"] = None,
        json: Annotated[bool, "as JSON, for programs"] = False,
    ) -> None:
        """The experiments, each with the first line of its file: the number it must reach."""
        print_entries(_chosen(family, data, time), json)

    parse(list_experiments, "list", arguments)


def _chosen(family: str | None, data: str | None, minutes: float | None) -> list[Entry]:
    entries = catalogue.catalogue()
    families = sorted({entry.family for entry in entries})
    rule = f"must be one of {', '.join(families)}"
    require(family is None or family in families, "--family", rule, family)
    return [
        entry
        for entry in entries
        if (family is None or entry.family == family)
        and (data is None or data in entry.data)
        and (minutes is None or (entry.seconds is not None and entry.seconds <= 60 * minutes))
    ]


def print_entries(entries: list[Entry], as_json: bool) -> None:
    """A table, or a JSON list of objects."""
    if as_json:
        print(json.dumps([vars(entry) for entry in entries], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("experiment", "what it is and must reach", "time", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(entry.name, entry.summary, _duration(entry.seconds))
    Console().print(table)


def _duration(seconds: float | None) -> str:
    """Whole minutes, or seconds below two of them; "" where no run is recorded.

    >>> _duration(45.2), _duration(3725.0), _duration(None)
    ('45 s', '62 min', '')
    """
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
