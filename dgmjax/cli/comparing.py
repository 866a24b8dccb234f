"""Command `compare`: runs beside each other, and families of models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from dgmjax.cli.arguments import parse
from dgmjax.files import write_atomically


def print_comparison(folders: Sequence[Path]) -> None:
    """Runs in one table: a row for each set of arguments."""
    from dgmjax.runs.comparison import compare

    print_table(*compare(folders).table())


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of texts, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def compare_command(arguments: list[str]) -> None:
    """`dgmjax compare`."""

    def compare(
        runs: Annotated[tuple[Path, ...], "run folders"],
        *,
        html: Annotated[Path | None, "page to write: table, curves, figures side by side"] = None,
        csv: Annotated[Path | None, "file to write, a line for each run and metric"] = None,
    ) -> None:
        """Runs in one table: a row for each set of arguments, a mean and error over seeds."""
        from dgmjax.runs import comparison

        print_comparison(runs)
        found = comparison.compare(runs)
        for path, make in ((html, found.html), (csv, found.csv)):
            if path is not None:
                write_atomically(path, make())
                print(path)

    parse(compare, "compare", arguments)
