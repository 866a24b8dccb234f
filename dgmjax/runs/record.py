"""Records: measured numbers, each with everything needed to judge it."""

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgmjax.errors import RunError, require
from dgmjax.runs import strict_json

BINARISATIONS = ("static", "dynamic", "threshold")

_UNITS = (  # the first pattern that matches the metric's name fixes its unit
    (r"nll_nats|nll_bound_k\d+", "nats"),
    (r"bits_per_dim|bits_per_dim_bound_k\d+", "bits/dim"),
    (r".*_nats", "nats"),
    (r".*_bits", "bits"),
    (r"active_units", "count"),
)
_VAGUE = {
    "nll": "`nll_nats` for an exact likelihood or `nll_bound_k5000` for a bound of 5000 samples",
    "nll_bound": "`nll_bound_k1` for the ELBO, `nll_bound_k5000` for a bound of 5000 samples",
    "elbo": "`nll_bound_k1`, the negative ELBO",
    "bpd": "`bits_per_dim` or, for a bound of K samples, `bits_per_dim_bound_k1`",
}


@dataclass(frozen=True)
class Published:
    """The number in the literature with which a record is compared.

    Attributes:
      value: the published value, in the record's unit.
      source: reference: authors, title, year, table or equation.
      differs: what makes it another measurement, in a few words, such as "larger networks": the
        record is then shown beside it, but not judged by it. None for one of the same size.
    """

    value: float
    source: str
    differs: str | None = None

    def __post_init__(self):
        _check_number("published.value", self.value)
        _check_text("published.source", self.source)
        if self.differs is not None:
            _check_text("published.differs", self.differs)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number.

    Attributes:
      experiment: the experiment's name.
      model: the model, in a word or two.
      dataset: the data set's name.
      binarisation: `static`, `dynamic` or `threshold`; None where data are not binarised.
      split: the part of the data that was measured, such as `test`.
      num_examples: the number of examples averaged over.
      metric: the quantity: `nll_nats` (exact), `nll_bound_k5000` (a bound, with its K),
        `bits_per_dim`, `active_units`, ... in snake_case.
      estimator: how, in a few words, such as `exact` or `importance-weighted bound`.
      value: the number; may be infinite but not NaN.
      standard_error: of the mean over examples; None where there is none.
      unit: `nats`, `bits/dim`, `count`, ...; some metrics' names fix it.
      published: the number in the literature, or None.
      seed: the run's seed.
      step: the training step of the parameters measured.
      device: kind and count of devices, such as `cpu x 1`.
      versions: package name to version.
      seconds: wall-clock time from the start of training to these parameters.
      arguments: of the experiment, those that are not the default; None if they were not recorded.
    """

    experiment: str
    model: str
    dataset: str
    binarisation: str | None
    split: str
    num_examples: int
    metric: str
    estimator: str
    value: float
    standard_error: float | None
    unit: str
    published: Published | None
    seed: int
    step: int
    device: str
    versions: Mapping[str, str]
    seconds: float
    arguments: Mapping[str, Any] | None = None

    def __post_init__(self):
        for name in ("experiment", "model", "dataset", "split", "estimator", "unit", "device"):
            _check_text(name, getattr(self, name))
        _check_metric(self.metric, self.unit)
        require(
            self.binarisation is None or self.binarisation in BINARISATIONS,
            "binarisation",
            f"must be None or one of {', '.join(BINARISATIONS)}",
            repr(self.binarisation),
            error=RunError,
        )
        for name, least in (("num_examples", 1), ("seed", 0), ("step", 0)):
            _check_integer(name, getattr(self, name), least)
        _check_number("value", self.value)
        _check_number("seconds", self.seconds, least=0.0)
        if self.standard_error is not None:
            _check_number("standard_error", self.standard_error, least=0.0)
        require(
            isinstance(self.versions, Mapping)
            and all(isinstance(x, str) for pair in self.versions.items() for x in pair),
            "versions",
            "must map package names to versions",
            repr(self.versions),
            error=RunError,
        )
        require(
            self.arguments is None
            or (isinstance(self.arguments, Mapping) and all(map(_is_flag, self.arguments))),
            "arguments",
            "must map the names of arguments to values, or be None",
            repr(self.arguments),
            error=RunError,
        )
        require(
            self.published is None or isinstance(self.published, Published),
            "published",
            "must be a `Published` or None",
            repr(self.published),
            error=RunError,
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON types; `Record.from_json` turns it back."""
        arguments = None if self.arguments is None else dict(self.arguments)
        return dataclasses.asdict(self) | {"versions": dict(self.versions), "arguments": arguments}

    def summary(self) -> str:
        """One line to print: the measurement, its error, and the published number."""
        what = f"{self.experiment}: {self.metric} on {self.dataset} {self.split}"
        published = f", published {self.published.value:g}" if self.published else ""
        if self.published and self.published.differs:
            published += f" ({self.published.differs})"
        number = f"{self.formatted_value()} {self.unit}"
        return f"{what}, {self.model}: {number} (n = {self.num_examples}){published}"

    def formatted_value(self) -> str:
        """The value with its standard error, to the digits that the error leaves.

        Two significant digits of the error, four decimals at most. A small value has more: as far
        as the error's first digit, four significant ones and six decimals at most. Where all of
        them are zeros, both are powers of ten.
        """
        finite = math.isfinite(self.value) and math.isfinite(self.standard_error or 0.0)
        if not self.standard_error or not finite:
            return f"{self.value:.6g}"
        first = -math.floor(math.log10(self.standard_error))
        fourth = 3 - math.floor(math.log10(abs(self.value) or 1.0))
        decimals = max(min(first + 1, 4), min(first, fourth, 6), 0)
        if max(abs(self.value), self.standard_error) < 0.5 * 10**-decimals:
            return f"{self.value:.2g} ± {self.standard_error:.1g}"
        return f"{self.value:.{decimals}f} ± {self.standard_error:.{decimals}f}"

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Record":
        """The record that `to_json` wrote. Raises `RunError` for absent or unknown fields."""
        require(isinstance(entry, Mapping), "record", "must be an object", entry, error=RunError)
        published = entry.get("published")
        if published is not None:
            published = Published(**_fields(Published, published, "published"))
        return cls(**_fields(cls, entry, "record") | {"published": published})


def read_records(path: str | os.PathLike) -> list[Record]:
    """The list of records in a JSON file. Raises `RunError` if it is anything else."""
    entries = strict_json.read(Path(path))
    require(isinstance(entries, list), "path", "must hold a list of records", path, "", RunError)
    try:
        return [Record.from_json(entry) for entry in entries]
    except RunError as problem:
        raise RunError(f"{path}: {problem}") from problem


def _fields(cls: type, entry: Any, name: str) -> dict[str, Any]:
    """`entry` as keyword arguments of the dataclass `cls`, if it has its fields and no others."""
    fields = dataclasses.fields(cls)
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    given = set(entry) if isinstance(entry, Mapping) else set()
    absent, unknown = needed - given, given - {field.name for field in fields}
    require(
        not absent and not unknown,
        name,
        "must have exactly the fields of dgmjax's records",
        f"absent: {sorted(absent)}, unknown: {sorted(unknown)}",
        error=RunError,
    )
    return dict(entry)


def _check_metric(metric: str, unit: str) -> None:
    _check_text("metric", metric)
    remedy = _VAGUE.get(metric)
    sound = isinstance(metric, str) and re.fullmatch(r"[a-z][a-z0-9_]*", metric)
    require(
        bool(sound) and remedy is None,
        "metric",
        "must be a name in snake_case of what was measured",
        repr(metric),
        f"Use {remedy}." if remedy else "",
        RunError,
    )
    for pattern, expected in _UNITS:
        if re.fullmatch(pattern, metric):
            rule = f"must be {expected!r} for the metric `{metric}`"
            require(unit == expected, "unit", rule, repr(unit), error=RunError)
            return


def _is_flag(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier()


def _check_text(name: str, value: Any) -> None:
    sound = isinstance(value, str) and value.strip() != ""
    require(sound, name, "must be a non-empty text", repr(value), error=RunError)


def _check_integer(name: str, value: Any, least: int) -> None:
    sound = isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63
    require(sound, name, f"must be an integer of at least {least}", repr(value), error=RunError)


def _check_number(name: str, value: Any, least: float = -math.inf) -> None:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and value >= least
    sound = sound and (isinstance(value, float) or abs(value) < 2**63)
    rule = "must be a Python number" + ("" if least == -math.inf else f" of at least {least:g}")
    require(sound, name, rule, repr(value), "Use `float(...)` on an array.", RunError)
