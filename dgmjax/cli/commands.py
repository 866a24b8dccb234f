"""Commands: `dgmjax list | train | evaluate | sample | report`.

Help and usage errors import no JAX. Each command ends in one `_dispatch_...` function, where the
work begins. Exit codes: 0 done, 2 invalid input, 130 interrupted.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dgmjax.cli import restarts
from dgmjax.cli.arguments import TrainRequest, parse, parse_train
from dgmjax.cli.streams import unfailing_streams
from dgmjax.errors import DgmjaxError, HardwareFault, NotConverged, TrainingDiverged
from dgmjax.lab import catalogue
from dgmjax.lazy import extras_named
from dgmjax.training.interrupt import Stopping

if TYPE_CHECKING:
    from dgmjax.lab.experiment import Supplement
    from dgmjax.runs.folder import RunFolder

USAGE = """\
usage: dgmjax COMMAND [arguments]

  list                 the experiments, each with the number it must reach
  train EXPERIMENT     train one, or resume it; EXPERIMENT is a name or a .py file of your own
  evaluate RUN         measure a trained run again and write its results.json
  sample RUN           draw samples from a trained run
  report RUN           write the run's report.html

RUN is the run folder that `train` prints. `dgmjax COMMAND --help` says more; `--traceback`
(or DGMJAX_TRACEBACK=1) shows where an error comes from."""


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
    elif name in _COMMANDS:
        _COMMANDS[name](arguments[1:])
    else:
        guess = catalogue.nearest(name, list(_COMMANDS))
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
        samples: Annotated[bool, "add metrics of samples of 28x28 images, and a figure"] = False,
        num_samples: Annotated[int, "samples to draw for them"] = 10_000,
    ) -> None:
        """Measures a trained run again and writes its results.json."""
        annealing = (images, chains, temperatures) if ais else None
        num = num_samples if samples else None
        _dispatch_evaluate(run, data_dir, experiment, other_data, out, annealing, num)

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


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": _list,
    "train": _train,
    "evaluate": _evaluate,
    "sample": _sample,
    "report": _report,
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
        data_dir = request.data_dir and str(Path(request.data_dir).absolute())
        place = _run_folder(request, data_dir).checkpoints("latest")
        return max(steps_at(place).committed(), default=None)

    command = [sys.executable, "-m", "dgmjax", "train", *arguments]
    code = restarts.supervise(command, request.restart, newest)
    if code:
        raise SystemExit(code)


def _train_here(request: TrainRequest) -> None:
    """Trains in this process, with the others if there are any."""
    from dgmjax.devices import processes
    from dgmjax.lab import runner
    from dgmjax.runs.report import write_report

    _stopping.check()
    processes.require_equal(_whole_command(request))
    data_dir = request.data_dir and str(Path(request.data_dir).absolute())
    if data_dir is not None and not Path(data_dir).is_dir():
        raise DgmjaxError(f"`--data-dir` must be an existing folder; got {request.data_dir}.")
    shared: dict[str, Any] = {"seed": request.seed, "tiny": request.tiny, "data_dir": data_dir}
    experiment = catalogue.build(request.function, request.arguments, **shared)
    with processes.main_first("run folder"):
        run = _run_folder(request, data_dir)
    with run, run.lock() if processes.is_main() else contextlib.nullcontext():
        runner.train(
            experiment, run, seed=request.seed, steps=request.steps, execution=request.execution
        )
    if processes.is_main():
        print(f"run     {run.path}\nreport  {write_report(run)}")


def _whole_command(request: TrainRequest) -> dict[str, Any]:
    """Settings that must be the same in every process, by the names of the options."""
    from dgmjax.runs.versions import package_versions

    return {
        "experiment": request.experiment,
        "seed": request.seed,
        "tiny": request.tiny,
        "steps": request.steps,
        **vars(request.execution),
        **package_versions(),
        **request.arguments,  # an experiment's own `steps` takes the place of the shared one
    }


def _run_folder(request: TrainRequest, data_dir: str | None) -> "RunFolder":
    """The run's folder, new or found again."""
    from dgmjax.runs.folder import RunFolder

    return RunFolder.create(
        "runs",
        request.experiment,
        request.arguments,
        request.seed,
        tiny=request.tiny,
        defaults=catalogue.own_defaults(request.function),
        options={
            "data_dir": data_dir,
            "steps": request.steps,
            "execution": request.execution.changed(),
        },
        run_dir=request.run_dir,
    )


def _dispatch_evaluate(
    run: Path,
    data_dir: str | None,
    experiment: str | None,
    other_data: bool,
    out: Path | None,
    annealing: tuple[int, int, int] | None,
    num_samples: int | None,
) -> None:
    _prepare()
    from dgmjax.lab import runner
    from dgmjax.runs.diagnostics import remarks
    from dgmjax.runs.folder import RunFolder

    supplements = _supplements(annealing, num_samples)
    loaded = runner.load_run(run, data_dir=data_dir, experiment=experiment)
    if supplements:
        records = runner.supplement(loaded, supplements, other_data=other_data)
    else:
        records = runner.evaluate(loaded, other_data=other_data)
    for line in (*(record.summary() for record in records), *remarks(records)):
        print(line)
    RunFolder(run).write_records(records, out)


def _supplements(
    annealing: tuple[int, int, int] | None, num_samples: int | None
) -> list["Supplement"]:
    """What the options ask for beside the experiment's own estimators."""
    found = []
    if annealing is not None:
        from dgmjax.evaluation.annealed import Annealing
        from dgmjax.lab.annealing import annealed_bounds

        images, chains, temperatures = annealing
        found.append(annealed_bounds(Annealing(chains, temperatures), images))
    if num_samples is not None:
        from dgmjax.lab.sampling import sample_quality

        found.append(sample_quality(num_samples))
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
