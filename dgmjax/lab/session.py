"""A run from Python: what `dgmjax train` does, as a function. Importing it imports no JAX."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dgmjax.devices.cluster import Processes
from dgmjax.errors import require
from dgmjax.lab import catalogue
from dgmjax.runs.loggers import loggers_named
from dgmjax.training.execution import Execution
from dgmjax.training.progress import busy

if TYPE_CHECKING:
    from dgmjax.lab.experiment import Experiment
    from dgmjax.lab.trained import Trained
    from dgmjax.runs.folder import RunFolder


@dataclass(frozen=True)
class TrainRequest:
    """The request to train, from the command line or from Python.

    Attributes:
      experiment: its name; the file's name, with `.py`, for a file of the user's own.
      function: the experiment function.
      arguments: its arguments, without the shared ones.
      seed: of the run.
      tiny: whether to shrink the experiment to seconds.
      steps: stop after this many steps; None for the experiment's own number.
      execution: devices, precision, treatment of faults.
      processes: the other processes, if any.
      run_dir: the run's folder, or None for one under `runs`.
      data_dir: the folder of data sets, or None for the default.
      restart: how often training may be started again after a crash.
      seeds: number of seeds, from `seed` on, each with a run folder of its own; those are in
        `run_dir` where that is given.
      seeds_together: "yes" trains the seeds in one compiled program (`training.fit_together`), "no"
        one after the other; "auto" is "yes" on an accelerator.
      dry_run: whether to say what training would take, only.
      profile: whether to write a trace of a few steps (`lab.forecast.write_profile`).
      log: names of further loggers, see `runs.loggers.LOGGERS`.
    """

    experiment: str
    function: Callable[..., Any]
    arguments: dict[str, Any]
    seed: int = 0
    tiny: bool = False
    steps: int | None = None
    execution: Execution = field(default_factory=Execution)
    processes: Processes = field(default_factory=Processes)
    run_dir: Path | None = None
    data_dir: str | None = None
    restart: int = 0
    seeds: int = 1
    seeds_together: Literal["auto", "yes", "no"] = "auto"
    dry_run: bool = False
    profile: bool = False
    log: tuple[str, ...] = ()

    def absolute(self) -> "TrainRequest":
        """The same with a data folder that means the same everywhere."""
        if self.data_dir is None:
            return self
        rule = "must be an existing folder"
        require(Path(self.data_dir).is_dir(), "--data-dir", rule, self.data_dir)
        return replace(self, data_dir=str(Path(self.data_dir).absolute()))

    def of_each_seed(self) -> "list[TrainRequest]":
        """The same request for every seed by itself."""
        require(self.seeds >= 1, "--seeds", "must be at least 1", self.seeds)
        if self.seeds == 1:
            return [self]

        def of(seed: int) -> TrainRequest:
            name, place = f"seed_{seed}", self.execution.checkpoint_dir
            folder = None if self.run_dir is None else self.run_dir / name
            own = None if place is None else f"{place.rstrip('/')}/{name}"
            execution = replace(self.execution, checkpoint_dir=own)
            return replace(self, seed=seed, run_dir=folder, execution=execution, seeds=1)

        return [of(self.seed + number) for number in range(self.seeds)]

    def build(self) -> Any:
        """The experiment."""
        shared: dict[str, Any] = {"seed": self.seed, "tiny": self.tiny, "data_dir": self.data_dir}
        return catalogue.build(self.function, self.arguments, **shared)

    def place(self) -> Path:
        """The path of the run's folder, which may not exist."""
        from dgmjax.runs.folder import run_name

        defaults = catalogue.own_defaults(self.function)
        name = run_name(self.arguments, defaults, self.seed, self.tiny)
        return self.run_dir or Path("runs") / self.experiment / name

    def exists(self) -> bool:
        """Whether the run's folder has been made."""
        return (self.place() / "config.json").is_file()

    def _options(self) -> dict[str, Any]:
        return {
            "data_dir": self.data_dir,
            "steps": self.steps,
            "execution": self.execution.changed(),
            "in_code": self.execution.changed_in_code() or None,
        }

    def folder(self) -> "RunFolder":
        """The run's folder, new or found again, in which nothing is changed."""
        from dgmjax.runs.folder import RunFolder

        return RunFolder.create(
            "runs",
            self.experiment,
            self.arguments,
            self.seed,
            tiny=self.tiny,
            defaults=catalogue.own_defaults(self.function),
            options=self._options(),
            run_dir=self.run_dir,
        )

    def claim(self, run: "RunFolder", experiment: "Experiment") -> None:
        """Keeps the options of this request in a folder that is locked, if it may go on so.

        Raises:
          RunError: the run has more steps behind it, or is done and was trained with others.
        """
        run.refresh()
        steps = experiment.steps if self.steps is None else self.steps
        run.check_steps(steps)
        if run.is_trained(steps):  # the record names what the parameters were trained with
            run.check_numbers(self.execution.changed())
            return
        run.note_options(self._options())


def carry_out(
    request: TrainRequest, quiet: bool = False, *, one_of_many: bool = False
) -> "tuple[Trained, RunFolder]":
    """Trains in this process, with the others if there are any; the first writes the report."""
    from dgmjax.devices import processes
    from dgmjax.lab import runner
    from dgmjax.lab.forecast import write_profile
    from dgmjax.runs.report import write_report

    request = request.absolute()
    with busy("reading the data and building the model", quiet=quiet):
        experiment = request.build()
    with processes.main_first("run folder"):
        run = request.folder()
    with run, run.lock() if processes.is_main() else contextlib.nullcontext():
        with processes.main_first("options"):
            request.claim(run, experiment)
        if processes.is_main():
            run.log_to(request.log)
        if request.profile:
            write_profile(experiment, run.path / "profile", request.execution)
        trained = runner.train(
            experiment,
            run,
            seed=request.seed,
            steps=request.steps,
            execution=request.execution,
            quiet=quiet,
            one_of_many=one_of_many,
        )
    if processes.is_main():
        with runner.on_disk_error(request.execution.on_disk_error):
            write_report(run)
    return trained, run


def carry_out_seeds(request: TrainRequest) -> "list[tuple[Trained, RunFolder]]":
    """`carry_out` of every seed; together where the experiment and the machine allow it."""
    requests = request.absolute().of_each_seed()
    if len(requests) == 1 or not _together(request):
        return [carry_out(one, one_of_many=len(requests) > 1) for one in requests]
    from dgmjax.lab import runner
    from dgmjax.runs.report import write_report

    devices = request.execution.make_mesh().size
    require(devices == 1, "mesh", "must be one device for seeds together", devices)
    experiment = requests[0].build()
    runs = {one.seed: one.folder() for one in requests}
    with contextlib.ExitStack() as opened:
        for one in requests:
            run = opened.enter_context(runs[one.seed])
            opened.enter_context(run.lock())
            one.claim(run, experiment)
            run.log_to(request.log)
        trained = runner.train_together(
            experiment, runs, steps=request.steps, execution=request.execution
        )
    for run in runs.values():
        with runner.on_disk_error(request.execution.on_disk_error):
            write_report(run)
    return list(zip(trained, runs.values(), strict=True))


def _together(request: TrainRequest) -> bool:
    """Whether seeds are one program: as asked, and else on an accelerator.

    On a CPU a product of matrices keeps a core busy already, and seeds together take as long.
    """
    depends = "seed" in {option.name for option in catalogue.options(request.function)}
    several = request.processes != Processes()
    if request.seeds_together == "yes":
        rule = "must be no for an experiment that makes its data or its model by the seed"
        require(not depends, "--seeds-together", rule, request.experiment)
        require(not several, "--seeds-together", "must be no with several processes", "yes")
        return True
    from dgmjax.devices.mesh import is_accelerated

    possible = request.seeds_together == "auto" and not depends and not several
    return possible and is_accelerated(request.execution.make_mesh())


def train(
    experiment: str | Callable[..., Any],
    *,
    run: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    tiny: bool = False,
    data_dir: str | None = None,
    execution: Execution | None = None,
    log: tuple[str, ...] = (),
    quiet: bool = False,
    **arguments: Any,
) -> "Trained":
    """Trains an experiment, or resumes it, as `dgmjax train` does; returns the trained model.

    Measures it, draws its figures and writes `report.html` into the run folder.

    Args:
      experiment: a name of the catalogue, the path of a `.py` file, or an experiment function: its
        keyword arguments have types and defaults, and it returns a `lab.Experiment`.
      run: the run folder; one under `runs/` if None. The same call on the same folder resumes.
      seed: of parameters, batches and noise.
      steps: training steps, in place of the experiment's own. Schedules go by the latter: a rate
        that falls to 0 stays there in the steps beyond.
      tiny: shrink the experiment to seconds.
      data_dir: folder of data sets, in place of `$DGMJAX_DATA`.
      execution: devices, precision, treatment of faults.
      log: names of further loggers: "csv", "tensorboard", "wandb", "mlflow".
      quiet: print nothing.
      **arguments: of the experiment, in place of their defaults.

    Raises:
      DgmjaxError: an unknown experiment or argument, or data that do not fit.
      RunError: the folder belongs to a run with other arguments.
    """
    if isinstance(experiment, str):
        name, function = Path(experiment).name, catalogue.load_experiment(experiment)
    else:
        name, function = catalogue.name_of(experiment), experiment
    request = TrainRequest(
        name,
        function,
        catalogue.own_defaults(function) | arguments,
        seed=seed,
        tiny=tiny,
        steps=steps,
        execution=execution or Execution(),
        run_dir=None if run is None else Path(run),
        data_dir=data_dir,
        log=loggers_named(",".join(log)),
    )
    return carry_out(request, quiet)[0]
