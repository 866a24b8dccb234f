"""Families beside each other: likelihood, samples and features of trained models on one page.

The three desiderata that a generative model is judged by; no family has them all.
"""

import csv
import io
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from dgmjax import data
from dgmjax.data.transforms import Binarise, apply_once
from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement
from dgmjax.evaluation.features import features
from dgmjax.evaluation.probe import linear_probe
from dgmjax.evaluation.samples.frechet import frechet_distance
from dgmjax.lab import catalogue
from dgmjax.lab.forecast import forecast
from dgmjax.lab.sampling import Comparison
from dgmjax.lab.session import TrainRequest, carry_out
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.runs.record import Record
from dgmjax.runs.record_table import format_duration
from dgmjax.runs.verdict import is_reference

BATCH = 500
PROBED = 10_000
"""Training examples that a probe is fitted to, the first of the split."""

COLUMNS = (
    *("model", "family", "data", "nats", "distance", "samples/s", "probe", "training", "nats by"),
)


class Row(NamedTuple):
    """A model, or a reference, in the table; what it does not have is None.

    Attributes:
      model: in a word or two.
      family: of the catalogue; "reference" for what stands for the data themselves.
      data: data set and binarisation; likelihoods compare within equal ones only.
      likelihood: the record of the tightest value of -log p(x), or bound on it, on the test split.
      distance: Frechet distance of samples, less is better.
      distance_of: the features that it is taken in.
      samples_per_second: of compiled calls of `BATCH` samples, on the device at hand.
      probe: test accuracy of a linear classifier on features.
      seconds: of training.
      picture: samples, as PNG.
    """

    model: str
    family: str
    data: str
    likelihood: Record | None
    distance: Measurement | None
    distance_of: str
    samples_per_second: float | None
    probe: Measurement | None
    seconds: float | None
    picture: bytes | None = None

    def cells(self) -> list[str]:
        """The cells of `COLUMNS` as text."""
        likelihood, distance = self.likelihood, self.distance
        return [
            self.model,
            self.family,
            self.data,
            "n/a" if likelihood is None else likelihood.formatted_value(),
            "n/a" if distance is None else f"{distance.value:.4g}",
            "n/a" if self.samples_per_second is None else f"{self.samples_per_second:,.0f}",
            "n/a" if self.probe is None else f"{100 * self.probe.value:.1f}%",
            "n/a" if self.seconds is None else format_duration(self.seconds),
            "none measured" if likelihood is None else likelihood.estimator,
        ]


class Families(NamedTuple):
    """The rows of all models, references last."""

    rows: tuple[Row, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells as text."""
        return list(COLUMNS), [row.cells() for row in self.rows]

    def csv(self) -> str:
        """The table, a line for each row."""
        out = io.StringIO()
        header, cells = self.table()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([header, *cells])
        return out.getvalue()

    def html(self) -> str:
        """One page: the table and samples of each model."""
        from dgmjax.runs.report import picture, template

        header, cells = self.table()
        pictures = [
            picture(row.picture, row.model, f"samples, {row.family}")
            for row in self.rows
            if row.picture is not None
        ]
        told = sorted({row.distance_of for row in self.rows if row.distance is not None})
        return template("families.html.jinja").render(
            header=header, cells=cells, pictures=pictures, distances=told, probed=PROBED
        )


class _Subject:
    """A trained model under measurement."""

    def __init__(self, trained: Trained, num_samples: int):
        self.trained, self.num = trained, num_samples

    def likelihood(self) -> Record | None:
        """Exact before a bound, a bound of more samples before one of fewer, all in nats.

        Of two that are alike, such as a bound and the same beside annealing, that of more examples.
        """
        folder = self.trained.folder
        records = [] if folder is None else folder.read_records()
        # A run may also measure another model, such as the same VAE with a simpler prior.
        own = [r for r in records if r.model == self.trained.experiment.model]
        known = {rank: r for r in own if (rank := _rank(r)) is not None}
        size = math.prod(self.trained.experiment.dataset.event_shape)
        return _in_nats(known[max(known)], size) if known else None

    def speed(self) -> float:
        """Samples per second of the second call; the first compiles."""
        num = min(BATCH, self.num)
        self.trained.sample(num, seed=1)
        started = time.perf_counter()
        self.trained.sample(num, seed=2)
        return num / (time.perf_counter() - started)

    @cached_property
    def comparison(self) -> Comparison | None:
        """Features of samples and test images by the feature net, for images that it reads."""
        try:
            found = Comparison(self.trained, self.num)
            return found if found.samples.shape[1:] == (28, 28, 1) else None
        except (DataError, KeyError):
            return None

    def distance(self) -> tuple[Measurement, str]:
        """Frechet distance of samples and test examples, and the features it is taken in."""
        found = self.comparison
        if found is not None:
            net = f"{found.net.description}, {found.sizes()}"
            return frechet_distance(found.real, found.generated.vectors), net
        test = self._seen("test")
        num = min(self.num, len(test))
        drawn = self._flat(self.trained.sample(num, EVALUATION_SEED))
        return frechet_distance(test[:num], drawn), f"values of the data, {num} of each"

    def floor(self) -> Measurement:
        """The same with training examples in place of samples."""
        found = self.comparison
        if found is not None:
            return found.floor(frechet_distance)
        test, train = self._seen("test"), self._seen("train")
        num = min(self.num, len(test), len(train))
        return frechet_distance(test[:num], train[:num])

    def _seen(self, split: str) -> np.ndarray:
        """The examples of a split as the model sees them, in the units of its samples."""
        experiment = self.trained.experiment
        transform: Any = experiment.evaluation_transform or experiment.transform
        return self._flat(transform.inverse(self.trained.arrays(split)["x"]))

    def _flat(self, x: Any) -> np.ndarray:
        array = np.asarray(x, np.float64)
        return array.reshape(len(array), -1)

    def probe(self) -> Measurement | None:
        """Accuracy of a linear classifier on the model's features; None without any."""
        return self._probe(lambda x: self.trained.call(features, x))

    def probe_of_pixels(self) -> Measurement | None:
        """The same on the values that the model sees."""
        return self._probe(lambda x: x)

    def _probe(self, of: Callable[[Any], Any]) -> Measurement | None:
        splits = [self._labelled(split) for split in ("train", "test")]
        if any(split is None for split in splits):
            return None
        found = []
        for arrays in splits:
            x = arrays["x"][:PROBED]
            parts = [of(x[i : i + BATCH]) for i in range(0, len(x), BATCH)]
            if parts[0] is None:
                return None
            codes = np.concatenate([self._flat(part) for part in parts])
            found.append((codes, np.asarray(arrays["label"][:PROBED])))
        (train, labels), (test, test_labels) = found
        return linear_probe(train, labels, test, test_labels)

    def _labelled(self, split: str) -> Any:
        """The arrays of a split with classes; those of MNIST for its static binarisation."""
        if "label" in self.trained.experiment.dataset.splits[split]:
            return self.trained.arrays(split)
        if self.trained.experiment.dataset.name != "binarized_mnist":
            return None
        folder = self.trained.folder
        place = None if folder is None else folder.options.get("data_dir")
        try:
            grey = data.load("mnist", data_dir=place)
        except DataError:
            return None
        return apply_once(Binarise("dynamic"), grey.splits[split], EVALUATION_SEED)

    def picture(self) -> bytes | None:
        """Samples, or None for what has no picture."""
        from dgmjax.lab.figures import picture
        from dgmjax.plotting import to_png

        try:
            figure = picture(self.trained, self.trained.sample(36, EVALUATION_SEED))
        except DataError:
            return None
        figure.suptitle("")
        return to_png(figure)


def _rank(record: Record) -> tuple[int, int, int] | None:
    """Exact values first, then by samples of a bound and examples; None for other metrics."""
    if is_reference(record) or record.split != "test":
        return None
    if record.metric in ("nll_nats", "bits_per_dim"):
        return (2 if record.estimator.startswith("exact") else 1, 0, record.num_examples)
    bound = re.fullmatch(r"(?:nll|bits_per_dim)_bound_k(\d+)", record.metric)
    return (0, int(bound[1]), record.num_examples) if bound else None


def _in_nats(record: Record, size: int) -> Record:
    """A record in nats an example; bits per dimension are those of `size` numbers."""
    if record.unit == "nats":
        return record
    factor, error = size * math.log(2.0), record.standard_error
    return replace(
        record,
        metric="nll_nats",
        unit="nats",
        value=factor * record.value,
        standard_error=None if error is None else factor * error,
    )


def family_of(trained: Trained) -> str:
    """The family of the catalogue; "own" for an experiment of the user's."""
    name = "" if trained.folder is None else trained.folder.experiment
    return {entry.name: entry.family for entry in catalogue.catalogue()}.get(name, "own")


def measure_families(runs: Sequence[Trained], num_samples: int = 10_000) -> Families:
    """The three measurements of each model, and of the data themselves as references.

    Args:
      runs: trained models, usually one of each family, on one data set.
      num_samples: for the distance of samples; distances compare at equal numbers only.
    """
    require(len(runs) >= 1, "runs", "must be at least one", "none")
    require(num_samples >= 100, "num_samples", "must be at least 100", num_samples)
    subjects = [_Subject(trained, num_samples) for trained in runs]
    rows = [_row(subject) for subject in subjects]
    references: dict[str, Row] = {}
    for subject, row in zip(subjects, rows, strict=True):
        if row.data not in references:
            references[row.data] = _reference(subject, row)
    return Families((*rows, *references.values()))


def _row(subject: _Subject) -> Row:
    trained = subject.trained
    experiment = trained.experiment
    distance, how = subject.distance()
    return Row(
        experiment.model,
        family_of(trained),
        " ".join(filter(None, [experiment.dataset.name, experiment.binarisation])),
        subject.likelihood(),
        distance,
        how,
        subject.speed(),
        subject.probe(),
        trained.seconds,
        subject.picture(),
    )


def _reference(subject: _Subject, row: Row) -> Row:
    """Training examples in place of samples, and a probe of the values themselves."""
    floor, probe = subject.floor(), subject.probe_of_pixels()
    return Row(
        "training data", "reference", row.data, None, floor, row.distance_of, None, probe, None
    )


def trained_for(request: TrainRequest, minutes: float) -> Trained:
    """Trains an experiment for about so many minutes, compilation and measurement apart.

    The number of steps comes from the time of a few of them (`lab.forecast`). Where the experiment
    has an argument `steps` or `epochs`, that is set, so that its schedule ends with the training.
    """
    require(minutes > 0, "--minutes", "must be positive", minutes)
    jax.clear_caches()  # of the model before
    found = forecast(request)
    steps = max(1, int(60 * minutes / found.step_seconds))
    arguments, experiment = dict(request.arguments), request.absolute().build()
    if "steps" in arguments:
        return carry_out(replace(request, arguments=arguments | {"steps": steps}))[0]
    if "epochs" in arguments:
        # Where the default depends on other arguments, it is counted from the steps.
        epoch = len(experiment.dataset.splits["train"]["x"]) // experiment.batch_size
        epochs = arguments["epochs"] or experiment.steps / epoch
        arguments["epochs"] = max(1, round(epochs * steps / experiment.steps))
    return carry_out(replace(request, arguments=arguments, steps=steps))[0]
