"""Workloads: sides that do the same work, and bounds on the ratios of their times.

It is imported in the peers' environments too, and so needs the standard library only.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Elapsed(NamedTuple):
    """Seconds of one measurement: of processor time over all threads, and of the clock."""

    cpu: float
    wall: float


Operation = Callable[[int], Elapsed | None]
"""`operation(n)` does n units of work; it may return its own time, setting-up left out."""


@dataclass(frozen=True)
class Prepared:
    """A side that is ready to run.

    Attributes:
      operations: name to operation. The first call of each, which may trace and compile, is timed
        by itself.
      facts: what goes into the record beside the times: parameters, errors, versions.
    """

    operations: Mapping[str, Operation]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One implementation, run in a process of its own that stays warm.

    Attributes:
      prepare: `prepare(tiny) -> Prepared`; imports what it needs itself.
      units: operation to units of work per measurement, enough for about a second.
      environment: "own", or the folder below `.peers/` whose interpreter runs it.
      packages: distributions whose versions are recorded.
    """

    prepare: Callable[[bool], Prepared]
    units: Mapping[str, int]
    environment: str = "own"
    packages: tuple[str, ...] = ("dgmjax", "jax", "jaxlib", "flax", "optax")


Measured = tuple[str, str]
"""Names of a side and of one of its operations."""


@dataclass(frozen=True)
class Target:
    """A bound on a ratio of processor times per unit, or on a time if `denominator` is None.

    Attributes:
      label: the meaning of the number, in words.
      at_least, at_most: the bound; one of the two.
    """

    label: str
    numerator: Measured
    denominator: Measured | None = None
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class FactTarget:
    """An upper bound on a fact that a side reports, such as a largest difference."""

    label: str
    side: str
    fact: str
    at_most: float


@dataclass(frozen=True)
class Growth:
    """An upper bound on the exponent a of time ~ size^a over operations of one side.

    Attributes:
      label: what grows with what, in words.
      sizes: operation to size, two or more.
    """

    label: str
    side: str
    sizes: Mapping[str, float]
    at_most: float


def slope(values: Mapping[float, float]) -> float:
    """The exponent a of value ~ size^a: the least-squares slope of log value against log size.

    >>> slope({1.0: 3.0, 2.0: 12.0, 4.0: 48.0})
    2.0
    """
    x, y = ([math.log(v) for v in part] for part in (values.keys(), values.values()))
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y))
    return round(above / sum((a - middle_x) ** 2 for a in x), 12)


@dataclass(frozen=True)
class Workload:
    """Sides, the unit of work, and the bounds.

    Attributes:
      unit: name of a unit of work; `scale` of `scale_name` make one.
      equal_facts: facts on which all sides must agree, such as the number of parameters.
      rounds: measurements of every operation; in each round all operations take a turn.
    """

    name: str
    title: str
    unit: str
    sides: Mapping[str, Side]
    targets: tuple[Target, ...]
    fact_targets: tuple[FactTarget, ...] = ()
    growths: tuple[Growth, ...] = ()
    scale: float = 1.0
    scale_name: str = ""
    equal_facts: tuple[str, ...] = ("parameters",)
    rounds: int = 7
