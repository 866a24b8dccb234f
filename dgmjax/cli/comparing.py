"""Command `compare`: runs beside each other, and families of models."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from dgmjax.cli.arguments import parse, parse_train, refuse_without
from dgmjax.errors import require
from dgmjax.files import write_atomically
from dgmjax.lab import catalogue
from dgmjax.lab.session import TrainRequest


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


def measured_families(
    names: list[str], minutes: float | None, num_samples: int, data_dir: str | None
) -> Any:
    """The models of run folders, and of experiments that are trained for so many minutes."""
    from dgmjax.devices.environment import configure

    configure()
    from dgmjax.lab import families
    from dgmjax.lab.runner import load_run

    is_run = lambda name: (Path(name) / "config.json").is_file()
    # The commands are read before any is carried out: the last may be mistyped.
    subjects = [name if is_run(name) else _request(name, minutes, data_dir) for name in names]
    trained = [
        families.trained_for(subject, float(minutes or 0.0))
        if isinstance(subject, TrainRequest)
        else load_run(subject, data_dir=data_dir)
        for subject in subjects
    ]
    return families.measure_families(trained, num_samples)


def _request(command: str, minutes: float | None, data_dir: str | None) -> TrainRequest:
    """An experiment with options, as they follow `dgmjax train`."""
    rule = "must be given to train experiments, in place of run folders"
    require(minutes is not None and minutes > 0, "--minutes", rule, f"{minutes}, with {command}")
    name, *options = shlex.split(command)
    request = parse_train(catalogue.load_experiment(name), name, options)
    place = request.data_dir if data_dir is None else data_dir
    return dataclasses.replace(request, data_dir=place)


def compare_command(arguments: list[str]) -> None:
    """`dgmjax compare`."""

    def compare(
        runs: Annotated[
            tuple[Path, ...], "run folders; with --families also experiments, options quoted"
        ],
        *,
        families: Annotated[bool, "likelihood, samples and features of each model"] = False,
        minutes: Annotated[float | None, "train each experiment for so long, first"] = None,
        num_samples: Annotated[int, "samples of each model for --families"] = 10_000,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        html: Annotated[Path | None, "page to write: table, curves, figures side by side"] = None,
        csv: Annotated[Path | None, "file to write, a line for each run and metric"] = None,
    ) -> None:
        """Runs in one table: a row for each set of arguments, a mean and error over seeds."""
        from dgmjax.runs import comparison

        if families:
            found: Any = measured_families(list(map(str, runs)), minutes, num_samples, data_dir)
        else:
            given = {"minutes": minutes, "num_samples": num_samples, "data_dir": data_dir}
            refuse_without("--families", compare, **given)
            found = comparison.compare(runs)
        print_table(*found.table())
        for path, make in ((html, found.html), (csv, found.csv)):
            if path is not None:
                write_atomically(path, make())
                print(path)

    parse(compare, "compare", arguments)
