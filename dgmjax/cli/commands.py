"""Commands: `dgmjax list | train | evaluate | sample | report`.

Help and usage errors import no JAX. Each command ends in one `_dispatch_...` function, where the
work begins. Exit codes: 0 done, 2 invalid input, 130 interrupted.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from dgmjax.cli import restarts
from dgmjax.cli.arguments import parse, parse_train
from dgmjax.cli.streams import unfailing_streams
from dgmjax.errors import DgmjaxError, HardwareFault, NotConverged, TrainingDiverged, require
from dgmjax.files import write_atomically
from dgmjax.lab import catalogue
from dgmjax.lab.session import TrainRequest, carry_out_seeds
from dgmjax.lazy import extras_named
from dgmjax.training.interrupt import Stopping

if TYPE_CHECKING:
    from dgmjax.lab.experiment import Supplement

USAGE = """\
usage: dgmjax COMMAND [arguments]

  list                 the experiments, each with the number it must reach
  train EXPERIMENT     train one, or resume it; EXPERIMENT is a name or a .py file of your own
  evaluate RUN         measure a trained run again and write its results.json
  sample RUN           draw samples from a trained run
  report RUN           write the run's report.html
  sweep EXPERIMENT     train it over values of its arguments and seeds
  compare RUN RUN ...  runs in one table, as a page or as CSV
  export RUN           write a trained model to share: safetensors, JSON, compiled functions
  push, pull           copy an exported model to or from a folder or a model hub
  new FILE.py          write an experiment of your own, commented, that trains as it stands
  data get NAME        download the original files of a public data set
  data check PATH      read data of your own and say what they are

RUN is the run folder that `train` prints. `dgmjax COMMAND --help` says more; `--traceback`
(or DGMJAX_TRACEBACK=1) shows where an error comes from."""


DATA_USAGE = """\
usage: dgmjax data COMMAND [arguments]

  get NAME      download the original files of a public data set, by checksum
  check PATH    read data of your own, say what was found and what can be trained on it

`dgmjax data COMMAND --help` says more."""


SWEEP_USAGE = """\
usage: dgmjax sweep EXPERIMENT --OPTION VALUE VALUE ... [--seeds N] [--random N] [--workers N]

Trains an experiment with every combination of the values, each with seeds 0 .. N - 1, and compares
the runs. Runs that are done are not trained again: the same command continues.

  --OPTION VALUE ...   options of `dgmjax train EXPERIMENT`; commas within a value: --hidden 200,200
  --seeds N            seeds of each combination
  --random N           N random draws in place of all; a value `1e-4:1e-2` is log-uniform between
  --workers N          runs at once, each with a device of its own
  --dry-run            print the commands only"""


_stopping = Stopping()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Failures to print do not end it."""
    with unfailing_streams():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments or bool(os.environ.get("DGMJAX_TRACEBACK"))
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        with _stopping, extras_named():
            _command(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        number = _stopping.received
        by = "" if number in (None, signal.SIGINT) else f" by {number.name}"
        print(
            f"interrupted{by}; the same command continues from the last checkpoint", file=sys.stderr
        )
        return 130
    except (DgmjaxError, HardwareFault, TrainingDiverged, NotConverged) as problem:
        if traceback:
            raise
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def _command(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(USAGE)
    elif name == "--version":
        from dgmjax import __version__

        print(f"dgmjax {__version__}")
    elif name in COMMANDS:
        COMMANDS[name](arguments[1:])
    else:
        guess = catalogue.nearest(name, list(COMMANDS))
        raise DgmjaxError(f"There is no command `{name}`. {guess}`dgmjax --help` shows them all.")


def _list(arguments: list[str]) -> None:
    def list_experiments() -> None:
        """The experiments, each with the first line of its file: the number it must reach."""

    parse(list_experiments, "list", arguments)
    from rich.console import Console
    from rich.table import Table

    table = Table("experiment", "what it is and must reach", box=None, pad_edge=False)
    for entry in catalogue.catalogue():
        table.add_row(entry.name, entry.summary)
    Console().print(table)


def _train(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        names = "\n".join(f"  {entry.name}" for entry in catalogue.catalogue())
        print(
            "usage: dgmjax train EXPERIMENT [options]\n\n"
            "Trains an experiment, or resumes it where the same command left off.\n"
            "`dgmjax train EXPERIMENT --help` shows its options, their units and defaults.\n\n"
            f"EXPERIMENT is the path of a .py file of your own, or one of\n{names}"
        )
        return
    name = arguments[0]
    if name.startswith("-"):
        raise DgmjaxError(f"The experiment comes first: `dgmjax train EXPERIMENT {name} ...`.")
    function = catalogue.load_experiment(name)
    request = parse_train(function, name, arguments[1:])
    if request.restart and restarts.VARIABLE not in os.environ:
        _dispatch_supervised(request, arguments)
    else:
        _dispatch_train(request)


def _sweep(arguments: list[str]) -> None:
    if not arguments or arguments[0].startswith("-"):
        print(SWEEP_USAGE)
        return
    from dgmjax.cli import sweeps

    name, plan = arguments[0], sweeps.parse_sweep(arguments[1:])
    function = catalogue.load_experiment(name)
    # All of them before any is trained: the last may have a value that its option does not take.
    runs = [
        (options, parse_train(function, name, options).absolute())
        for options in sweeps.combinations(plan)
    ]
    if plan.dry_run:
        for options, _ in runs:
            print(f"dgmjax train {name} {' '.join(options)}")
        return
    folders, failed = sweeps.carry_out_all(name, runs, plan.workers)
    if folders:
        _print_comparison(folders)
    if failed:
        raise DgmjaxError(
            f"{failed} of {len(runs)} runs failed; the same command tries them again."
        )


def _print_comparison(folders: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    from dgmjax.runs.comparison import compare

    header, cells = compare(folders).table()
    table = Table(*header, box=None, pad_edge=False)
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def _compare(arguments: list[str]) -> None:
    def compare(
        runs: Annotated[tuple[Path, ...], "run folders"],
        *,
        html: Annotated[Path | None, "page to write: table, curves, figures side by side"] = None,
        csv: Annotated[Path | None, "file to write, a line for each run and metric"] = None,
    ) -> None:
        """Runs in one table: a row for each set of arguments, a mean and error over seeds."""
        from dgmjax.runs import comparison

        _print_comparison(runs)
        found = comparison.compare(runs)
        for path, make in ((html, found.html), (csv, found.csv)):
            if path is not None:
                write_atomically(path, make())
                print(path)

    parse(compare, "compare", arguments)


def _new(arguments: list[str]) -> None:
    def new(
        path: Annotated[Path, "the file to write, ending in .py"],
    ) -> None:
        """Writes a commented experiment that trains as it stands, to be changed."""
        from dgmjax.cli import template

        named = path.suffix == ".py" and path.stem.isidentifier() and not iskeyword(path.stem)
        require(named, "path", "must be the name of a function, ending in .py", path)
        require(not path.exists(), "path", "must be a new file", path)
        text = Path(template.__file__).read_text(encoding="utf-8")
        write_atomically(path, re.sub(r"\btemplate\b", path.stem, text))
        print(f"wrote {path}; train it with: dgmjax train {path}")

    parse(new, "new", arguments)


def _evaluate(arguments: list[str]) -> None:
    def evaluate(
        run: Annotated[Path, "the run folder"],
        *,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
        other_data: Annotated[bool, "measure although the data are not those of the run"] = False,
        out: Annotated[Path | None, "file of results, in place of the run's results.json"] = None,
        ais: Annotated[bool, "add bounds by annealed importance sampling, and a figure"] = False,
        images: Annotated[int, "test images to anneal"] = 100,
        chains: Annotated[int, "annealed chains of an image"] = 16,
        temperatures: Annotated[int, "temperatures of a chain"] = 1000,
        schedule: Annotated[
            Literal["geometric", "sigmoid", "linear"], "of the temperatures from 0 to 1"
        ] = "geometric",
        start: Annotated[
            Literal["prior", "posterior"],
            "where chains start: the prior, or the encoder's q(z | x)",
        ] = "prior",
        samples: Annotated[bool, "add metrics of samples of 28x28 images, and a figure"] = False,
        num_samples: Annotated[int, "samples to draw for them"] = 10_000,
        chosen_by: Annotated[
            Literal["rejection", "metropolis"] | None,
            "measure again with samples that the run's critic chooses",
        ] = None,
    ) -> None:
        """Measures a trained run again and writes its results.json."""
        annealing = (images, chains, temperatures, schedule, start) if ais else None
        num = num_samples if samples else None
        supplements = partial(_supplements, annealing, num, chosen_by)
        _dispatch_evaluate(run, data_dir, experiment, other_data, out, supplements)

    parse(evaluate, "evaluate", arguments)


def _sample(arguments: list[str]) -> None:
    def sample(
        run: Annotated[Path, "the run folder"],
        *,
        num: Annotated[int, "number of samples"] = 64,
        out: Annotated[Path | None, "file: .png, .txt (text), .npy or .npz"] = None,
        seed: Annotated[int, "seed of the draws"] = 0,
        temperature: Annotated[float, "of flows and autoregressive models; below 1, sharper"] = 1.0,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
    ) -> None:
        """Draws samples from a trained run."""
        _dispatch_sample(run, num, out, seed, temperature, data_dir, experiment)

    parse(sample, "sample", arguments)


def _report(arguments: list[str]) -> None:
    def report(
        run: Annotated[Path, "the run folder"],
        *,
        draw: Annotated[bool, "draw the figures again, from the trained parameters"] = False,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
        out: Annotated[Path | None, "HTML file, in place of the run's report.html"] = None,
    ) -> None:
        """Writes the run's report.html: arguments, curves, figures and results in one file."""
        _dispatch_report(run, draw, data_dir, experiment, out)

    parse(report, "report", arguments)


def _export(arguments: list[str]) -> None:
    def export(
        run: Annotated[Path, "the run folder"],
        *,
        out: Annotated[
            Path | None, "folder to write; `export` in the run folder if left out"
        ] = None,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
    ) -> None:
        """Writes a trained model to share: safetensors, JSON, a card, compiled functions."""
        _prepare()
        from dgmjax import lab

        loaded = lab.load_run(run, data_dir=data_dir, experiment=experiment)
        folder = lab.export(loaded, run / "export" if out is None else out)
        for file in sorted(folder.iterdir()):
            print(f"{file}  {file.stat().st_size} bytes")

    parse(export, "export", arguments)


def _push(arguments: list[str]) -> None:
    def push(
        folder: Annotated[Path, "an exported model"],
        place: Annotated[str, "a folder, or hf:owner/name"],
    ) -> None:
        """Copies an exported model to a folder or to a model hub."""
        from dgmjax.lab.sharing import push as copy

        print(copy(folder, place))

    parse(push, "push", arguments)


def _pull(arguments: list[str]) -> None:
    def pull(
        place: Annotated[str, "a folder, or hf:owner/name"],
        folder: Annotated[Path, "where to write it"],
    ) -> None:
        """Copies an exported model from a folder or a model hub and compares its checksums."""
        from dgmjax.lab.sharing import pull as copy

        print(copy(place, folder))

    parse(pull, "pull", arguments)


def _data(arguments: list[str]) -> None:
    commands = {"get": _data_get, "check": _data_check}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(DATA_USAGE)
        return
    name = arguments[0]
    guess = catalogue.nearest(name, list(commands))
    if name not in commands:
        raise DgmjaxError(f"There is no command `data {name}`. {guess}It is `get` or `check`.")
    commands[name](arguments[1:])


def _data_get(arguments: list[str]) -> None:
    def get(
        name: Annotated[str, "mnist, binarized_mnist, fashion_mnist or tinyshakespeare"],
        *,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        mirror: Annotated[
            str | None, "address (http, https or file) of a copy of the files"
        ] = None,
    ) -> None:
        """Downloads the original files of a public data set; the same command continues."""
        from dgmjax.data.reading.folders import data_dir as folder_of
        from dgmjax.data.sources.downloads import get as download

        folder = folder_of(data_dir)
        download(name, folder, base=mirror)
        print(f"read by `--data-dir {folder}`, or `export DGMJAX_DATA={folder}` once and for all")

    parse(get, "data get", arguments)


def _data_check(arguments: list[str]) -> None:
    def check(
        path: Annotated[str, "a file, a folder, or the name of a data set"],
        *,
        size: Annotated[int | None, "side to which the pictures of a folder are resized"] = None,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
    ) -> None:
        """Reads a data set and prints what it found, and what can be trained on it."""
        _prepare()
        from dgmjax.data import load
        from dgmjax.data.summaries import summary

        options: dict[str, Any] = {} if size is None else {"size": size}
        print(summary(load(path, data_dir=data_dir, **options), path))

    parse(check, "data check", arguments)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": _list,
    "train": _train,
    "evaluate": _evaluate,
    "sample": _sample,
    "report": _report,
    "sweep": _sweep,
    "compare": _compare,
    "export": _export,
    "push": _push,
    "pull": _pull,
    "new": _new,
    "data": _data,
}


def _dispatch_train(request: TrainRequest) -> None:
    _prepare()
    from dgmjax.devices import processes

    with processes.session(**vars(request.processes)):
        _train_here(request)


def _dispatch_supervised(request: TrainRequest, arguments: list[str]) -> None:
    """Trains in a process that is started again after a crash."""
    from dgmjax.runs.checkpoint_steps import steps_at

    def newest() -> int | None:
        place = request.absolute().folder().checkpoints("latest")
        return max(steps_at(place).committed(), default=None)

    command = [sys.executable, "-m", "dgmjax", "train", *arguments]
    code = restarts.supervise(command, request.restart, newest)
    if code:
        raise SystemExit(code)


def _train_here(request: TrainRequest) -> None:
    """Trains in this process, with the others if there are any."""
    from dgmjax.devices import processes
    from dgmjax.runs.seeds import seeds_lines

    _stopping.check()
    processes.require_equal(_whole_command(request))
    found = carry_out_seeds(request)
    if processes.is_main():
        for _, run in found:
            print(f"run     {run.path}\nreport  {run.path / 'report.html'}")
        for line in seeds_lines([run.read_records() for _, run in found]):
            print(line)


def _whole_command(request: TrainRequest) -> dict[str, Any]:
    """Settings that must be the same in every process, by the names of the options."""
    from dgmjax.runs.versions import package_versions

    return {
        "experiment": request.experiment,
        "seed": request.seed,
        "seeds": request.seeds,
        "seeds_together": request.seeds_together,
        "tiny": request.tiny,
        "steps": request.steps,
        **vars(request.execution),
        **package_versions(),
        **request.arguments,  # an experiment's own `steps` takes the place of the shared one
    }


def _dispatch_evaluate(
    run: Path,
    data_dir: str | None,
    experiment: str | None,
    other_data: bool,
    out: Path | None,
    make_supplements: Callable[[], list["Supplement"]],
) -> None:
    _prepare()
    from dgmjax.lab import runner
    from dgmjax.runs.diagnostics import remarks
    from dgmjax.runs.folder import RunFolder

    supplements = make_supplements()
    loaded = runner.load_run(run, data_dir=data_dir, experiment=experiment)
    if supplements:
        records = runner.supplement(loaded, supplements, other_data=other_data)
    else:
        records = runner.evaluate(loaded, other_data=other_data)
    for line in (*(record.summary() for record in records), *remarks(records)):
        print(line)
    RunFolder(run).write_records(records, out)


def _supplements(
    annealing: tuple[int, int, int, str, str] | None,
    num_samples: int | None,
    chosen_by: Literal["rejection", "metropolis"] | None,
) -> list["Supplement"]:
    """What the options ask for beside the experiment's own estimators."""
    found = []
    if annealing is not None:
        from dgmjax.evaluation.annealed import Annealing
        from dgmjax.lab.annealing import annealed_bounds

        images, chains, temperatures, schedule, start = annealing
        how = Annealing(chains, temperatures, schedule, start=start)
        found.append(annealed_bounds(how, images))
    if num_samples is not None:
        from dgmjax.lab.sampling import sample_quality

        found.append(sample_quality(num_samples))
    if chosen_by is not None:
        from dgmjax.lab.chosen import chosen_samples

        found.append(chosen_samples(chosen_by))
    return found


def _dispatch_sample(
    run: Path,
    num: int,
    out: Path | None,
    seed: int,
    temperature: float,
    data_dir: str | None,
    experiment: str | None,
) -> None:
    _prepare()
    from dgmjax.lab import runner

    loaded = runner.load_run(run, data_dir=data_dir, experiment=experiment)
    print(runner.sample(loaded, num=num, out=out, seed=seed, temperature=temperature))


def _dispatch_report(
    run: Path, draw: bool, data_dir: str | None, experiment: str | None, out: Path | None
) -> None:
    from dgmjax.runs.folder import RunFolder
    from dgmjax.runs.report import write_report

    folder = RunFolder(run)
    if draw:
        _prepare()
        from dgmjax.lab import runner

        loaded = runner.load_run(run, data_dir=data_dir, experiment=experiment)
        for name in loaded.experiment.figures:
            runner.draw_figure(loaded, folder, name)
    print(write_report(folder, out))


def _prepare() -> Any:
    """Preparations before JAX is imported."""
    from dgmjax.devices.environment import configure

    return configure()
