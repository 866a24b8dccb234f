"""Experiments: everything that a published number depends on, as data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import numpy as np

from dgmjax.data.dataset import Dataset
from dgmjax.data.transforms import Binarise, Compose, Identity, Transform
from dgmjax.errors import require
from dgmjax.evaluation.averages import Measurement
from dgmjax.runs.record import Published
from dgmjax.training.learner import Learner, Player, gradient_learner
from dgmjax.types import Key, Objective, PyTree

if TYPE_CHECKING:
    from dgmjax.lab.trained import Trained


@dataclass(frozen=True)
class Estimator:
    """One number of the results: how it is measured, and its published counterpart.

    Attributes:
      metric: name in the records: `nll_nats`, `nll_bound_k5000`, `active_units`, ...
      estimator: how, in words: "exact", "importance-weighted bound", ...
      measure: `(trained, arrays) -> Measurement` on the transformed arrays of `split`.
      unit: of the value.
      split: the split it is measured on.
      published: the published number, or None.
      model: name of the model measured, where it is not the experiment's (a baseline).
    """

    metric: str
    estimator: str
    measure: Callable[["Trained", Mapping[str, np.ndarray]], Measurement]
    unit: str = "nats"
    split: str = "test"
    published: Published | None = None
    model: str | None = None


@dataclass(frozen=True)
class Supplement:
    """Measurements beside those of an experiment, which an option of `dgmjax evaluate` asks for.

    Attributes:
      estimators: those for a trained model; raises `DgmjaxError` for one that they do not fit.
      figures: file name (without .png) -> function of the trained model returning a figure.
    """

    estimators: Callable[["Trained"], Sequence[Estimator]]
    figures: Mapping[str, Callable[["Trained"], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """The result of an experiment function.

    Attributes:
      model: the model's name in the records.
      module: the Flax module.
      players: see `training.learner.Player`.
      dataset: raw data; transforms are applied to batches.
      steps: training steps.
      batch_size: examples per batch.
      quotas: how many of them are of each group of the training split's `group`, or None.
      transform: of training batches, with fresh randomness each step.
      evaluation_transform: of evaluation data, drawn once with a fixed seed; `transform` where
        None.
      validation: objective averaged over the validation split; its loss selects the best
        parameters. None keeps the last.
      estimators: the numbers of `results.json`.
      figures: file name (without .png) -> function of the trained model returning a figure.
      previews: names of the figures that are drawn at every evaluation, too.
      evaluate_every: steps between evaluations and checkpoints; an epoch if None.
      log_every: steps between logged metrics.
      evaluation_batch_size: examples per batch when validating.
      patience: evaluations without improvement before training stops.
      ema_decay: of the averaged parameters that are evaluated, or None.
      start: `(experiment, parameters, key) -> parameters`: what training begins with instead of
        the module's initial parameters, or None. See `fit` and `lab.pretraining`.
      published: metric -> the published number, of metrics that options of `dgmjax evaluate` add.
      make_learner: `experiment -> learner` where players that descend gradients on batches are not
        all of it (policies that act in environments), or None.
    """

    model: str
    module: nn.Module
    players: Mapping[str, Player]
    dataset: Dataset
    steps: int
    batch_size: int
    transform: Transform = field(default_factory=Identity)
    evaluation_transform: Transform | None = None
    validation: Objective | None = None
    estimators: tuple[Estimator, ...] = ()
    figures: Mapping[str, Callable[["Trained"], Any]] = field(default_factory=dict)
    previews: tuple[str, ...] = ()
    evaluate_every: int | None = None
    log_every: int = 100
    evaluation_batch_size: int = 500
    patience: int | None = None
    ema_decay: float | None = None
    start: Callable[["Experiment", PyTree, Key], PyTree] | None = None
    published: Mapping[str, Published] = field(default_factory=dict)
    quotas: tuple[int, ...] | None = None
    make_learner: Callable[["Experiment"], Learner] | None = None

    def check(self) -> None:
        """Checks that the data are as the transform, and through it the likelihood, expects."""
        require("train" in self.dataset.splits, "dataset", "must have a train split", "none")
        require(
            self.validation is None or "validation" in self.dataset.splits,
            "dataset",
            "must have a validation split, since the experiment selects by one",
            sorted(self.dataset.splits),
        )
        for split in self.dataset.splits:
            self.transform.check(self.dataset.splits[split])

    def learner(self) -> Learner:
        """A learner over the module and its players."""
        if self.make_learner is not None:
            return self.make_learner(self)
        return gradient_learner(self.module, self.players, ema_decay=self.ema_decay)

    @property
    def binarisation(self) -> str | None:
        """The binarisation of the data, as records name it, or None."""
        transform = self.transform
        parts = transform.transforms if isinstance(transform, Compose) else (transform,)
        modes = [part.mode for part in parts if isinstance(part, Binarise)]
        return modes[0] if modes else None
