"""Records that differ in one number of their estimator: curves of a metric against a setting."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dgmjax.runs.record import Record

LEAST = 3
"""Settings of a curve; two are two rows of a table."""

NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.])")


class Series(NamedTuple):
    """A metric at several settings, of one or more models.

    Attributes:
      metric, unit: of the records.
      setting: what the number counts, in the words of the estimator.
      curves: model -> setting and value, by rising settings; over seeds the mean.
    """

    metric: str
    unit: str
    setting: str
    curves: dict[str, list[tuple[float, float]]]

    @property
    def positive(self) -> bool:
        """Whether logarithmic axes can show it."""
        return all(min(point) > 0 for curve in self.curves.values() for point in curve)


def series(records: Mapping[str, Sequence[Record]]) -> list[Series]:
    """The curves in the records of each model.

    Records belong to one curve where their estimators are equal but for one number: "50 images, 4
    network calls" and "50 images, 8 network calls", but not "100 images, 8 network calls".
    """
    found: dict[tuple[str, ...], dict[str, dict[float, list[float]]]] = {}
    for model, each in records.items():
        for record in each:
            for number in NUMBER.finditer(record.estimator):
                before = record.estimator[: number.start()]
                after = record.estimator[number.end() :]
                key = (record.metric, record.unit, before, after, record.dataset, record.split)
                points = found.setdefault(key, {}).setdefault(model, {})
                points.setdefault(float(number[0]), []).append(record.value)
    made = []
    for (metric, unit, before, after, *_), models in found.items():
        curves = {
            model: [(setting, sum(values) / len(values)) for setting, values in sorted(at.items())]
            for model, at in models.items()
        }
        if max(map(len, curves.values())) >= LEAST:
            made.append(Series(metric, unit, _name(before, after), curves))
    return made


def _name(before: str, after: str) -> str:
    """What a number counts: the words after it, or those before it.

    >>> _name("100 images, ", " network calls (Heun)"), _name("of 100 images, guidance = ", "")
    ('network calls', 'guidance')
    """
    words = re.split(r"[,;()]", after)[0].strip()
    return words or re.split(r"[,;()]", before)[-1].strip(" =") or "setting"
