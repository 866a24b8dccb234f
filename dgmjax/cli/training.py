"""Commands that train: `train`, `sweep`, `new`."""

import os
import re
import shlex
import sys
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

from dgmjax.cli import restarts
from dgmjax.cli.arguments import option, options_of_several, parse, parse_train
from dgmjax.cli.comparing import print_comparison
from dgmjax.cli.stopping import STOPPING
from dgmjax.errors import DgmjaxError, require
from dgmjax.files import write_atomically
from dgmjax.lab import catalogue
from dgmjax.lab.session import TrainRequest, carry_out_seeds

SWEEP_USAGE = """\
usage: dgmjax sweep EXPERIMENT --OPTION VALUE VALUE ... [--seeds N] [--random N] [--workers N]

Trains an experiment with every combination of the values, each with seeds 0 .. N - 1, and compares
the runs. Runs that are done are not trained again: the same command continues.

  --OPTION VALUE ...   options of `dgmjax train EXPERIMENT`; commas within a value: --hidden 200,200
  --seeds N            seeds of each combination
  --random N           N random draws in place of all; a value `1e-4:1e-2` is log-uniform between
  --workers N          runs at once, each with a device of its own
  --dry-run            print the commands only"""


def train_command(arguments: list[str]) -> None:
    """`dgmjax train`."""
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
    if request.dry_run:
        dispatch_forecast(request)
    elif request.restart and restarts.VARIABLE not in os.environ:
        dispatch_supervised(request, arguments)
    else:
        dispatch_train(request)


def sweep_command(arguments: list[str]) -> None:
    """`dgmjax sweep`."""
    if not arguments or arguments[0].startswith("-"):
        print(SWEEP_USAGE)
        return
    from dgmjax.cli import sweeps

    name, plan = arguments[0], sweeps.parse_sweep(arguments[1:])
    function = catalogue.load_experiment(name)
    # All of them before any is trained: the last may have a value that its option does not take.
    own = [option(argument) for argument in catalogue.own_defaults(function)]
    runs = [
        sweeps.with_own_places(options, parse_train(function, name, options).absolute(), plan, own)
        for options in sweeps.combinations(plan, options_of_several(function))
    ]
    if plan.dry_run:
        for options, _ in runs:
            print(shlex.join(["dgmjax", "train", name, *options]))
        return
    folders, failed = sweeps.carry_out_all(name, runs, plan.workers)
    if folders:
        print_comparison(folders)
    if failed:
        raise DgmjaxError(
            f"{failed} of {len(runs)} runs failed; the same command tries them again."
        )


def new_command(arguments: list[str]) -> None:
    """`dgmjax new`."""

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


def dispatch_train(request: TrainRequest) -> None:
    """Trains, as one of several processes if there are any."""
    prepare()
    from dgmjax.devices import processes

    with processes.session(**vars(request.processes)):
        _train_here(request)


def dispatch_forecast(request: TrainRequest) -> None:
    """Says what training would take, from a few steps of it."""
    prepare(start_devices=True)
    from dgmjax.lab.forecast import forecast

    for line in forecast(request).lines():
        print(line)


def dispatch_supervised(request: TrainRequest, arguments: list[str]) -> None:
    """Trains in a process that is started again after a crash."""
    from dgmjax.runs.checkpoint_steps import steps_at

    def newest() -> list[int | None]:
        folders = [one.folder() for one in request.absolute().of_each_seed() if one.exists()]
        steps = (steps_at(run.checkpoints("latest")).committed() for run in folders)
        return [max(found, default=None) for found in steps]

    command = [sys.executable, "-m", "dgmjax", "train", *arguments]
    code = restarts.supervise(command, request.restart, newest)
    if code:
        raise SystemExit(code)


def _train_here(request: TrainRequest) -> None:
    """Trains in this process, with the others if there are any."""
    from dgmjax.devices import processes
    from dgmjax.runs.seeds import seeds_lines, write_seeds

    STOPPING.check()
    processes.require_equal(_whole_command(request))
    found = carry_out_seeds(request)
    if processes.is_main():
        for _, run in found:
            print(f"run     {run.path}\nreport  {run.path / 'report.html'}")
        records = [run.read_records() for _, run in found]
        for line in seeds_lines(records):
            print(line)
        if request.run_dir is not None:
            write_seeds(request.run_dir, records)


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


def prepare(*, start_devices: bool = False) -> Any:
    """Preparations before JAX is imported; then devices may start, unless processes meet first."""
    from dgmjax.devices.environment import configure

    found = configure()
    if start_devices:
        from dgmjax.devices import processes

        processes.part()
    return found
