"""Run folder: arguments, metrics, checkpoints and results of one training run.

    runs/<experiment>/<run>/
      config.json      the request, and the system that it ran on
      metrics.jsonl    one line per log step
      events/          the same for TensorBoard
      checkpoints/
      results.json     a list of records
      figures/*.png
      report.html

A folder belongs to one experiment, one set of arguments and one seed: the same command finds it
again and resumes. Importing this file imports no JAX.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dgmjax.errors import RunError, require
from dgmjax.files import (
    make_folder,
    make_own_folder,
    open_file,
    write_atomically,
    write_output,
)
from dgmjax.runs import strict_json
from dgmjax.runs.checkpoint_steps import steps_at
from dgmjax.runs.configuration import (
    check_same,
    check_seed,
    check_unused,
    new_configuration,
    plain,
    read_configuration,
)
from dgmjax.runs.loggers import Loggers
from dgmjax.runs.metrics import MetricsFile
from dgmjax.runs.record import Published, Record, read_records

__all__ = ["Published", "Record", "RunFolder", "run_name"]


NOTED = ("steps", "execution", "in_code")
"""Options that may differ from one call to the next; each difference is kept."""
OF_NUMBERS = ("compute_dtype", "accumulate", "deterministic")
"""Options of an execution that change the numbers of a run."""


def run_name(
    arguments: Mapping[str, Any], defaults: Mapping[str, Any], seed: int, tiny: bool = False
) -> str:
    """`seed<N>`, `-tiny`, and eight hexadecimal digits of the non-default arguments.

    >>> run_name({"latent": 20}, {"latent": 20}, seed=3)
    'seed3'
    >>> run_name({"latent": 30}, {"latent": 20}, seed=3)
    'seed3-170959ea'
    """
    changed = changed_arguments(arguments, defaults)
    digest = hashlib.sha256(strict_json.dumps(changed).encode()).hexdigest()[:8]
    return f"seed{seed}" + ("-tiny" if tiny else "") + (f"-{digest}" if changed else "")


def changed_arguments(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that differ from their defaults, as JSON, by name."""
    given, usual = plain(arguments), plain(defaults)
    absent = object()
    return {name: given[name] for name in sorted(given) if given[name] != usual.get(name, absent)}


class RunFolder:
    """An existing run folder; `RunFolder.create` makes one.

    Attributes:
      path: the folder.
      config: the content of `config.json`.

    Raises:
      RunError: there is no run at `path`, or a newer dgmjax wrote it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config = read_configuration(self.path)
        self._metrics = MetricsFile(self.path / "metrics.jsonl", self.path / "events")
        self._loggers: Loggers | None = None

    @classmethod
    def create(
        cls,
        root: str | os.PathLike,
        experiment: str,
        arguments: Mapping[str, Any],
        seed: int,
        *,
        tiny: bool = False,
        defaults: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        run_dir: str | os.PathLike | None = None,
    ) -> "RunFolder":
        """Makes the folder `root/<experiment>/<run_name>`, or opens it if the same run made it.

        One that is there is not changed: another process may be training in it (`lock`).

        Args:
          root: the folder of all runs, usually `runs`.
          experiment: the experiment's name; the file's, with `.py`, for one of the user's own.
          arguments: its arguments, with which it can be built again.
          seed: of the run.
          tiny: whether this is the experiment in miniature.
          defaults: the arguments' defaults, left out of the run's name.
          options: further facts that a new folder keeps; `note_options` changes them.
          run_dir: the run's folder itself, in place of one under `root`.

        Raises:
          RunError: the folder belongs to something else, or cannot be written. Nothing in it has
            been touched.
        """
        named = experiment.removesuffix(".py").isidentifier()
        require(named, "experiment", "must be a name", repr(experiment), error=RunError)
        check_seed(seed)
        asked = {"experiment": experiment, "arguments": plain(arguments), "seed": seed}
        asked["tiny"] = tiny
        name = run_name(arguments, defaults or {}, seed, tiny)
        path = Path(run_dir or Path(root) / experiment / name)
        # Compared before anything is written: a folder of another run stays as it is.
        if (path / "config.json").exists():
            run = cls(path)
            check_same(path, run.config, asked, plain(defaults or {}))
            if options and "execution" in options:
                run.check_place((options["execution"] or {}).get("checkpoint_dir"))
            return run
        check_unused(path)
        changed = changed_arguments(arguments, defaults or {})
        config = new_configuration(asked, {**(options or {}), "changed": changed})
        make_folder(path)
        write_atomically(path / "config.json", strict_json.dumps(config, indent=2) + "\n")
        return cls(path)

    @property
    def experiment(self) -> str:
        return self.config["experiment"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def tiny(self) -> bool:
        return self.config["tiny"]

    @property
    def options(self) -> dict[str, Any]:
        """The options kept beside the arguments, such as the data folder."""
        return self.config["options"]

    def note_options(self, options: Mapping[str, Any]) -> None:
        """Keeps options that differ from those stored; the former ones move to `earlier`."""
        now = {name: plain(options[name]) for name in NOTED if name in options}
        if "execution" in now:
            self.check_place((now["execution"] or {}).get("checkpoint_dir"))
        before = {name: self.options.get(name) for name in now}
        if all((before[name] or None) == (now[name] or None) for name in now):
            return
        kept = {name: before[name] for name in before if before[name] or name != "in_code"}
        earlier = [*self.options.get("earlier", []), kept]
        self._update_options({**now, "earlier": earlier})

    def refresh(self) -> None:
        """Reads `config.json` again, which another process may have changed."""
        self.config = read_configuration(self.path)

    def note_begin(self, steps: int) -> None:
        """Keeps that the run is being trained until this step, unless it was already."""
        if self.options.get("trained") != steps:
            self._update_options({"trained": None, "measured": None})

    def note_trained(self, steps: int) -> None:
        """Keeps that training until this step came to its end, perhaps early, of its own accord."""
        self._update_options({"trained": steps})

    def note_measured(self) -> None:
        """Keeps that `results.json` holds the numbers of the training that ended."""
        self._update_options({"measured": self.options.get("trained")})

    def is_trained(self, steps: int) -> bool:
        """Whether training until this step came to its end."""
        return self.options.get("trained") == steps or self.reached == steps

    @property
    def is_under_way(self) -> bool:
        """Whether its last training was interrupted, or still goes on."""
        return "trained" in self.options and self.options["trained"] is None

    @property
    def has_results(self) -> bool:
        """Whether `results.json` holds the numbers of a training that came to its end."""
        there = (self.path / "results.json").is_file()
        return there and ("trained" not in self.options or self.options.get("measured") is not None)

    @property
    def reached(self) -> int:
        """The steps that the run has behind it."""
        return max(steps_at(self.checkpoints("latest")).committed(), default=0)

    def check_steps(self, steps: int) -> None:
        """Raises `RunError` if the run has more steps behind it already.

        Its record would name a number of steps that no parameters of it have seen.
        """
        reached = self.reached
        rule = f"must be at least {reached}, the steps that the run {self.path} has behind it"
        remedy = "Give another `--run-dir` for a shorter run; nothing has been changed."
        require(steps >= reached, "steps", rule, steps, remedy, RunError)

    def numbers_differ(self, execution: Mapping[str, Any]) -> list[str]:
        """The options of the execution that change numbers and are not those of the last call."""
        before = self.options.get("execution") or {}
        return [name for name in OF_NUMBERS if before.get(name) != execution.get(name)]

    def check_numbers(self, execution: Mapping[str, Any]) -> None:
        """Raises `RunError` if a run that is done was trained with other options."""
        for name in self.numbers_differ(execution):
            before = (self.options.get("execution") or {}).get(name, "left out")
            rule = f"must be {before}, as the run {self.path} was trained to its end"
            given = execution.get(name, "left out")
            remedy = "Give another `--run-dir`; nothing has been changed."
            require(False, name, rule, given, remedy, RunError)

    def note_data(self, fingerprint: Mapping[str, str]) -> None:
        """Keeps the fingerprint of the data, by split, if there is none yet.

        Raises:
          RunError: the run was made with other data.
        """
        there = self.options.get("data")
        if there is None:
            self._update_options({"data": dict(fingerprint)})
            return
        self.check_data(fingerprint)

    def check_data(self, fingerprint: Mapping[str, str], remedy: str = "") -> None:
        """Raises `RunError` where a split differs from that of the run."""
        there = self.options.get("data") or {}
        differing = [name for name in there if fingerprint.get(name) != there[name]]
        require(
            not differing,
            "data_dir",
            f"must hold the data that the run {self.path} was made with",
            f"others in {' and '.join(differing)}",
            remedy or "Give the folder of the same data, or another `--run-dir` for a new run.",
            RunError,
        )

    def note_training(self, known: Mapping[str, Any]) -> None:
        """Keeps the batch size, key and data of a training, if there are none yet.

        Raises:
          RunError: the run was made with others.
        """
        there = self.options.get("training")
        if there is None:
            self._update_options({"training": dict(known)})
            return
        for name, value in known.items():
            rule = f"must be that of the run {self.path}, {there.get(name)}"
            remedy = "Give another folder for a new run; nothing has been changed."
            require(there.get(name) == value, name, rule, value, remedy, RunError)

    def _update_options(self, options: Mapping[str, Any]) -> None:
        self.config["options"] = {**self.options, **options}
        text = strict_json.dumps(self.config, indent=2) + "\n"
        write_atomically(self.path / "config.json", text)

    @property
    def arguments(self) -> dict[str, Any]:
        """The experiment's arguments; sequences are tuples."""
        return {name: _tuples(value) for name, value in self.config["arguments"].items()}

    @property
    def changed(self) -> dict[str, Any] | None:
        """What differs from the defaults: arguments, `tiny`, steps, execution options.

        None in a folder made by an older version.
        """
        changed = self.options.get("changed")
        if changed is None:
            return None
        asked = {"steps": self.options.get("steps"), "tiny": self.tiny or None}
        asked |= self.options.get("execution") or {}
        return {**changed, **{name: value for name, value in asked.items() if value is not None}}

    @property
    def identity(self) -> str:
        """A digest of experiment, arguments and seed, as they were named when the run was made."""
        return self.config["identity"]

    def checkpoints(self, name: str) -> Path | str:
        """The place of the checkpoints `latest` or `best`: by the options, or in the folder."""
        place = (self.options.get("execution") or {}).get("checkpoint_dir")
        if place:
            return f"{place.rstrip('/')}/{name}"
        return make_own_folder(self.path / "checkpoints") / name

    def check_place(self, given: str | None) -> None:
        """Raises `RunError` if the run would continue with checkpoints of another place.

        There it would silently begin at step 0. A place that only the folder names is never written
        to, since the folder may come from somebody else.
        """
        place = (self.options.get("execution") or {}).get("checkpoint_dir")
        require(
            given == place,
            "checkpoint_dir",
            f"must be the place where the run {self.path} keeps its checkpoints",
            given,
            f"Give `--checkpoint-dir {place}`." if place else "Leave it out.",
            RunError,
        )

    @property
    def figures(self) -> Path:
        """The folder of `*.png`, created when first asked for."""
        return make_own_folder(self.path / "figures")

    def write_metrics(self, step: int, **values: Any) -> None:
        """Appends a line to `metrics.jsonl` and the TensorBoard events; values are scalars."""
        numbers = self._metrics.write(step, values)
        if self._loggers is not None:
            self._loggers.tell("metrics", step, numbers)

    def log_to(self, names: tuple[str, ...]) -> None:
        """Tells further loggers, see `runs.loggers`, of arguments, metrics and figures.

        Raises:
          MissingExtra: a logger's package is not installed.
        """
        self._loggers = Loggers(names, self) if names else None
        if self._loggers is not None:
            asked = {"seed": self.seed, "tiny": self.tiny, "steps": self.options.get("steps")}
            execution = self.options.get("execution") or {}
            self._loggers.tell("arguments", {**self.arguments, **asked, **execution})

    def note_figure(self, name: str, path: Path, step: int) -> None:
        """Tells the loggers of a figure that was written."""
        if self._loggers is not None:
            self._loggers.tell("figure", name, path, step)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, each with its `step`."""
        return self._metrics.read()

    def truncate_metrics(self, step: int) -> None:
        """Removes the metrics of steps after `step`, from which the run is being resumed."""
        self._metrics.truncate(step)

    def write_records(self, records: Sequence[Record], out: Path | None = None) -> None:
        """Replaces `results.json`, or the file `out`."""
        entries = [record.to_json() for record in records]
        text = strict_json.dumps(entries, indent=2) + "\n"
        write_output(out, self.path / "results.json", text)

    def read_records(self) -> list[Record]:
        """The records of `results.json`, or [] before there are any."""
        path = self.path / "results.json"
        return read_records(path) if path.exists() else []

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for this process while it trains; even a kill releases it.

        Raises:
          RunError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        try:
            descriptor = open_file(self.path / ".lock", os.O_WRONLY | os.O_CREAT)
        except OSError as problem:
            raise RunError(
                f"`run_dir` must be a folder that can be written; got {self.path}: "
                f"{problem.strerror}. Choose another folder with `--run-dir`."
            ) from problem
        with open(descriptor, "wb") as file:
            try:
                # A lock of the system, not a file that says so: it ends with the process, however
                # that ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"Another process is training in {self.path}. Wait for it, or choose another "
                    "folder with `--run-dir` or another `--seed`."
                ) from None
            yield

    def close(self) -> None:
        """Closes the TensorBoard events, which writing opens again, and the loggers."""
        self._metrics.close()
        if self._loggers is not None:
            self._loggers.close()
            self._loggers = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
