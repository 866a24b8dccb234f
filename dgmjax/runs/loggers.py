"""Loggers: where metrics, arguments and figures of a run go beside its own files.

A logger that fails is named once and then left alone; it never ends a run.
"""

import csv
import hashlib
import io
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dgmjax.errors import require
from dgmjax.files import open_file, read_file, write_atomically
from dgmjax.lazy import extras_named

logger = logging.getLogger(__name__)


class Logger(Protocol):
    """A place for what a run measures. Steps of a resumed run may come again."""

    def arguments(self, values: Mapping[str, Any]) -> None:
        """The arguments and options of the run, once, before anything else."""
        ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by name; some may not be finite."""
        ...

    def figure(self, name: str, path: Path, step: int) -> None:
        """A picture that was written to the file `path`."""
        ...

    def close(self) -> None:
        """Writes what is waiting."""
        ...


class CSV:
    """`metrics.csv` in the run folder: a column for each metric, a line for each step."""

    def __init__(self, run: Any):
        self.run, self.path = run, run.path / "metrics.csv"
        self.columns: list[str] = []
        self.last = -1

    def arguments(self, values: Mapping[str, Any]) -> None:
        """Nothing: they are in `config.json`."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a line; with a new column, or a step that comes again, all are written anew."""
        if step <= self.last or not set(values) <= set(self.columns):
            self._write_all()
            return
        text = self._lines([{"step": step, **values}])
        with open(open_file(self.path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(text.encode())
        self.last = step

    def _write_all(self) -> None:
        """The lines of `metrics.jsonl`, those of one step as one."""
        merged: dict[int, dict[str, Any]] = {}
        for line in self.run.read_metrics():
            merged.setdefault(line["step"], {}).update(line)
        self.columns = list(dict.fromkeys(name for row in merged.values() for name in row))
        self.last = max(merged, default=-1)
        write_atomically(self.path, ",".join(self.columns) + "\n" + self._lines(merged.values()))

    def _lines(self, rows: Iterable[Mapping[str, Any]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.columns, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def figure(self, name: str, path: Path, step: int) -> None:
        """Nothing: figures are files already."""

    def close(self) -> None:
        """Nothing is waiting."""


class TensorBoard:
    """Arguments and figures as events of TensorBoard, beside the metrics that every run has."""

    def __init__(self, run: Any):
        from dgmjax.runs.events import Events

        self.events = Events(run.path / "events" / "figures")

    def arguments(self, values: Mapping[str, Any]) -> None:
        """A text."""
        self.events.write_text("arguments", "\n".join(f"    {n} = {v}" for n, v in values.items()))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing: every run writes them."""

    def figure(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self.events.write_image(name, read_file(path), step)

    def close(self) -> None:
        """Closes the file of events."""
        self.events.close()


class WandB:
    """A run of Weights & Biases; `WANDB_MODE=offline` keeps it on this disk."""

    def __init__(self, run: Any):
        import wandb

        name = f"{run.experiment}-{run.path.name}"
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "dgmjax"),
            name=name,
            # Runs of the same arguments in two folders are two runs.
            id=hashlib.sha256(f"{run.identity} {run.path.absolute()}".encode()).hexdigest()[:16],
            resume="allow",
            dir=str(run.path),
        )

    def arguments(self, values: Mapping[str, Any]) -> None:
        """The configuration of the run."""
        self._run.config.update(dict(values), allow_val_change=True)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """A row of the history."""
        self._run.log(dict(values), step=step)

    def figure(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self._run.log({f"figures/{name}": self._wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class MLflow:
    """A run of MLflow at `MLFLOW_TRACKING_URI`; `file:mlruns` is a folder on this disk."""

    def __init__(self, run: Any):
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(run.experiment)
        mlflow.start_run(run_name=run.path.name, tags={"identity": run.identity})

    def arguments(self, values: Mapping[str, Any]) -> None:
        """Parameters of the run."""
        self._mlflow.log_params({name: str(value)[:500] for name, value in values.items()})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """The finite numbers."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._mlflow.log_metrics(finite, step=step)

    def figure(self, name: str, path: Path, step: int) -> None:
        """An artefact."""
        self._mlflow.log_artifact(str(path), "figures")

    def close(self) -> None:
        """Ends the run."""
        self._mlflow.end_run()


LOGGERS: dict[str, Callable[[Any], Logger]] = {
    "csv": CSV,
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}
"""Loggers by name, each made of the run folder; a logger of your own is one more row."""


def loggers_named(names: str | None) -> tuple[str, ...]:
    """The names in a text with commas.

    >>> loggers_named("csv,wandb"), loggers_named(None)
    (('csv', 'wandb'), ())

    Raises:
      DgmjaxError: one that there is not.
    """
    found = tuple(name.strip() for name in (names or "").split(",") if name.strip())
    for name in found:
        require(name in LOGGERS, "--log", f"must name loggers among {', '.join(LOGGERS)}", name)
    return found


class Loggers:
    """Several loggers as one, none of which can end a run.

    Args:
      names: of `LOGGERS`.
      run: the run folder.

    Raises:
      MissingExtra: a logger's package is not installed.
    """

    def __init__(self, names: tuple[str, ...], run: Any):
        with extras_named():
            self._loggers = {name: LOGGERS[name](run) for name in names}

    def tell(self, method: str, *values: Any) -> None:
        """Calls `method` of each; one that raises is named and left out from then on."""
        for name, one in list(self._loggers.items()):
            try:
                getattr(one, method)(*values)
            except Exception as problem:
                del self._loggers[name]
                kind = type(problem).__name__
                logger.warning("No more of the logger %s: %s: %s", name, kind, problem)

    def close(self) -> None:
        """Closes them."""
        self.tell("close")
