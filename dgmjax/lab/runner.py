"""Commands: train, evaluate, load and sample an experiment."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax

from dgmjax.data.fingerprints import fingerprint
from dgmjax.devices import processes
from dgmjax.devices.mesh import make_mesh, replicated
from dgmjax.errors import CheckpointError, RunError, require
from dgmjax.lab import catalogue
from dgmjax.lab.experiment import Estimator, Experiment, Supplement
from dgmjax.lab.trained import Trained, transformed
from dgmjax.runs.checkpoints import Checkpoints
from dgmjax.runs.diagnostics import remarks
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Record
from dgmjax.runs.versions import device_description, package_versions
from dgmjax.training.execution import Execution, Validation
from dgmjax.training.fit import FitResult, Job, fit, fit_together
from dgmjax.training.learner import Learner, State
from dgmjax.training.progress import busy
from dgmjax.types import Key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


def train(
    experiment: Experiment,
    run: RunFolder,
    *,
    seed: int = 0,
    steps: int | None = None,
    execution: Execution | None = None,
    quiet: bool = False,
    one_of_many: bool = False,
) -> Trained:
    """Trains (or resumes) an experiment in a run folder, then measures it and draws its figures.

    Each of several processes trains and measures its share; process 0 writes records and figures.

    Args:
      one_of_many: of several seeds, whose records are told together: here they are not printed.

    Raises:
      KeyboardInterrupt: training was interrupted; everything is saved.
    """
    seeding = _Seeding(experiment, run, seed, steps, execution, quiet, one_of_many)
    return seeding.finish(fit(**seeding.shared(), **vars(seeding.job())))


def train_together(
    experiment: Experiment,
    runs: Mapping[int, RunFolder],
    *,
    steps: int | None = None,
    execution: Execution | None = None,
    quiet: bool = False,
) -> list[Trained]:
    """`train` of several seeds, each in its run folder, whose steps are one compiled program.

    See `training.fit_together`. The experiment must not depend on the seed itself.
    """
    require(len(runs) >= 1, "runs", "must name at least one seed", "none")
    shared = (steps, execution, quiet, len(runs) > 1)
    seedings = [_Seeding(experiment, run, seed, *shared) for seed, run in runs.items()]
    results = fit_together(jobs=[one.job() for one in seedings], **seedings[0].shared())
    return [one.finish(result) for one, result in zip(seedings, results, strict=True)]


class _Seeding:
    """What comes before and after the training of one seed."""

    def __init__(
        self,
        experiment: Experiment,
        run: RunFolder,
        seed: int,
        steps: int | None,
        execution: Execution | None,
        quiet: bool,
        one_of_many: bool,
    ):
        experiment.check()
        self.experiment, self.run, self.seed, self.quiet = experiment, run, seed, quiet
        self.one_of_many = one_of_many
        self.execution = replace(execution or Execution(), quiet=quiet)
        self.steps = experiment.steps if steps is None else steps
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)
        if self.steps > experiment.steps and processes.is_main():
            logger.warning(
                "Schedules of rates and weights end at the experiment's own %d steps: most rates "
                "are 0 in the other %d. Its own options, such as --epochs, make them longer.",
                experiment.steps,
                self.steps - experiment.steps,
            )
        if processes.is_main():
            run.note_data(fingerprint(experiment.dataset))
            run.note_begin(self.steps)
        self.learner = experiment.learner()
        self.shell = partial(Trained, experiment, self.learner, seed=seed, folder=run)

    def shared(self) -> dict[str, Any]:
        """Arguments of `fit` that are the same for all seeds."""
        experiment = self.experiment
        log_every = min(experiment.log_every, self.steps)
        return {
            "learner": self.learner,
            "data": experiment.dataset.splits["train"],
            "steps": self.steps,
            "batch_size": experiment.batch_size,
            "quotas": experiment.quotas,
            "transform": experiment.transform,
            "execution": replace(self.execution, log_every=log_every),
        }

    def job(self) -> Job:
        """The arguments of this seed."""
        experiment = self.experiment
        return Job(
            jax.random.key(self.seed),
            self.run,
            Validation(
                _validation(experiment, self.shell),
                every=experiment.evaluate_every,
                patience=experiment.patience,
                on_evaluation=self._preview if experiment.previews else None,
            ),
            _start(experiment, self.seed),
        )

    def _preview(self, state: State, step: int) -> None:
        self._draw(self.shell(state, step=step), self.experiment.previews, draft=True)

    def _draw(self, trained: Trained, names: Iterable[str], *, draft: bool = False) -> None:
        for name in names:
            with on_disk_error(self.execution.on_disk_error):
                draw_figure(trained, self.run, name, draft=draft)

    def finish(self, result: FitResult) -> Trained:
        """The trained model, measured and drawn."""
        if result.interrupted:
            raise KeyboardInterrupt
        # A collective operation: all processes take part before process 0 goes on alone.
        state = processes.to_host(result.state) if processes.part()[1] > 1 else result.state
        trained = self.shell(state, step=result.best_step, seconds=result.seconds)
        if processes.is_main():
            with on_disk_error(self.execution.on_disk_error):
                self.run.note_trained(self.steps)
        started = time.perf_counter()
        with busy("measuring", quiet=self.quiet or not processes.is_main()):
            records = evaluate(trained)
        if processes.is_main():
            with processes.alone():
                with on_disk_error(self.execution.on_disk_error):
                    self.run.write_records(records)
                    self.run.note_measured()
                self._draw(trained, self.experiment.figures)
        if not self.quiet and processes.is_main():
            told = [] if self.one_of_many else [record.summary() for record in records]
            for line in (*told, *remarks(records)):
                print(line)
            took, compiled = f"trained {result.seconds:.1f} s", f"{result.compile_seconds:.1f} s"
            measured = f"evaluated in {time.perf_counter() - started:.1f} s"
            which = f"seed {self.seed}: " if self.one_of_many else ""
            print(f"{which}{took} (compiled in {compiled}), {measured}")
        return trained


@contextlib.contextmanager
def on_disk_error(action: Literal["stop", "continue"]) -> Iterator[None]:
    """Inside, a failure to write ends the run, or is logged and ignored."""
    try:
        yield
    except RunError as problem:
        if action == "stop":
            raise
        logger.warning("Not written, and the run continues: %s", problem)


def _start(experiment: Experiment, seed: int) -> Callable | None:
    """`parameters -> parameters` of the run, or None."""
    start = experiment.start
    if start is None:
        return None
    return lambda params: start(experiment, params, jax.random.key(seed))


def _validation(experiment: Experiment, shell: Callable) -> Callable | None:
    """`state -> metrics` averaged over the validation split, or None."""
    objective = experiment.validation
    if objective is None:
        return None
    arrays = transformed(experiment, "validation")

    def validate(state: State) -> dict[str, float]:
        values = shell(state).per_example(objective, arrays, experiment.evaluation_batch_size)
        return {name: float(value.mean()) for name, value in values.items() if value.ndim == 1}

    return validate


def draw_figure(trained: Trained, run: RunFolder, name: str, *, draft: bool = False) -> Path:
    """Draws one figure of the experiment into the run folder.

    A draft, of a run that goes on, has fewer pixels and no PDF: it takes a third of the time.
    """
    figure = trained.experiment.figures[name](trained)
    return _save_figure(figure, run, name, trained.step, draft=draft)


def _save_figure(
    figure: "Figure", run: RunFolder, name: str, step: int, *, draft: bool = False
) -> Path:
    from dgmjax.plotting import save, save_vectors

    path = run.figures / f"{name}.png"
    figure.suptitle("")  # in a paper and in the report, the caption says it
    save(figure, path, dpi=100 if draft else 200)
    vectors = path.with_suffix(".pdf")
    if draft:
        vectors.unlink(missing_ok=True)  # of an earlier step
    else:
        save_vectors(figure, vectors)
    run.note_figure(name, path, step)
    return path


def evaluate(
    trained: Trained,
    *,
    other_data: bool = False,
    estimators: Sequence[Estimator] | None = None,
) -> list[Record]:
    """Every estimator of the experiment, as records.

    Args:
      other_data: the data may differ from those of the run; the records then say so.
      estimators: others than the experiment's.

    Raises:
      RunError: the data differ from those that the run was made with.
    """
    experiment, dataset = trained.experiment, trained.experiment.dataset.name
    if trained.folder is not None and not other_data:
        remedy = "`--other-data` measures on these data anyway."
        trained.folder.check_data(fingerprint(experiment.dataset), remedy)
    if other_data:
        dataset = f"{dataset} (other data)"
    # Other data than those of the published number, unless their density is known.
    other = other_data or bool(experiment.dataset.info.get("own"))
    other |= trained.folder is not None and trained.folder.tiny
    other |= trained.folder is not None and shortened(trained.folder, experiment)
    elsewhere = other and experiment.dataset.entropy is None
    records = []
    for estimator in experiment.estimators if estimators is None else estimators:
        measured = estimator.measure(trained, trained.arrays(estimator.split))
        published = estimator.published or experiment.published.get(estimator.metric)
        records.append(
            Record(
                experiment=trained.folder.experiment if trained.folder else experiment.model,
                model=estimator.model or experiment.model,
                dataset=dataset,
                binarisation=experiment.binarisation,
                split=estimator.split,
                num_examples=measured.num_examples,
                metric=estimator.metric,
                estimator=estimator.estimator,
                value=measured.value,
                standard_error=measured.standard_error,
                unit=estimator.unit,
                published=None if elsewhere else published,
                seed=trained.seed,
                step=trained.step,
                device=device_description(),
                versions=package_versions(),
                seconds=round(trained.seconds, 1),
                arguments=trained.folder.changed if trained.folder else None,
            )
        )
    return records


def shortened(run: RunFolder, experiment: Experiment) -> bool:
    """Whether a run has fewer steps than its experiment, by request or since it is under way."""
    if run.is_under_way:
        return True
    given = run.options.get("steps")
    if given is not None:
        return given < experiment.steps
    own = (run.changed or {}).get("steps")
    if not isinstance(own, int) or run.experiment.endswith(".py"):
        return False
    usual = catalogue.own_defaults(catalogue.load_experiment(run.experiment)).get("steps")
    return isinstance(usual, int) and own < usual


def supplement(
    trained: Trained, supplements: Sequence[Supplement], *, other_data: bool = False
) -> list[Record]:
    """Records of supplements beside those that the run has, and their figures.

    Records of the same kind are replaced.
    """
    # All of them before any is measured: the last may not fit the model.
    estimators = [one for part in supplements for one in part.estimators(trained)]
    new = evaluate(trained, other_data=other_data, estimators=estimators)
    if trained.folder is None:
        return new
    for part in supplements:
        for name, figure in part.figures.items():
            _save_figure(figure(trained), trained.folder, name, trained.step)
    kind = lambda record: (
        record.metric,
        record.estimator,
        record.model,
        record.dataset,
        record.split,
    )
    replaced = {kind(record) for record in new}
    kept = trained.folder.read_records()
    return [record for record in kept if kind(record) not in replaced] + new


def load_run(
    path: str | Path,
    *,
    data_dir: str | None = None,
    experiment: str | catalogue.ExperimentFunction | None = None,
) -> Trained:
    """The trained model of a run folder: `load_run("runs/vae_mnist/seed0").model`.

    The experiment is rebuilt from the stored arguments by its name in the catalogue; nothing stored
    is executed.

    Args:
      path: run folder.
      data_dir: where the data are now; the stored folder if None.
      experiment: path of the experiment's file, or its function, for a run of the user's own.

    Raises:
      RunError: no run folder, or one of another version.
      CheckpointError: no valid checkpoint.
    """
    folder = RunFolder(path)
    function = catalogue.experiment_of(folder.experiment, experiment)
    built = catalogue.build(
        function,
        folder.arguments,
        seed=folder.seed,
        tiny=folder.tiny,
        data_dir=data_dir or folder.options.get("data_dir"),
    )
    learner = built.learner()
    state, host, step = _restore(built, learner, folder)
    return Trained(
        built,
        learner,
        state,
        seed=folder.seed,
        step=step,
        seconds=host.get("seconds", 0.0),
        folder=folder,
    )


def _restore(experiment: Experiment, learner: Learner, folder: RunFolder):
    """The best checkpoint if the experiment validates, otherwise the newest."""
    raw = experiment.dataset.splits["train"]
    batch = {name: array[: experiment.batch_size] for name, array in raw.items()}

    def initial(key: Key) -> State:
        return learner.init(key, experiment.transform(batch, key))

    sharding = replicated(make_mesh(1))
    template = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding),
        # Shapes are enough to read a checkpoint; no parameter is drawn only to be overwritten.
        jax.eval_shape(initial, jax.random.key(0)),
    )
    name = "latest" if experiment.validation is None else "best"
    checkpoints = Checkpoints(folder.checkpoints(name), identity=folder.identity, read_only=True)
    try:
        restored = checkpoints.restore(template, prefix="" if name == "best" else "state")
    finally:
        checkpoints.close()
    require(
        restored is not None,
        "run",
        "must have a checkpoint",
        folder.path,
        "Train it first: `dgmjax train` with the same arguments.",
        CheckpointError,
    )
    return restored
