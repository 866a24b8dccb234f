"""`fit` with the fields of `Execution` and `Validation` given as arguments of its own."""

import dataclasses

from dgmjax import training
from dgmjax.training import Execution, Validation


def fit(learner, data, **options):
    """`training.fit`; each option goes to the dataclass that has a field of its name."""
    groups = {}
    for group, kind in (("execution", Execution), ("validation", Validation)):
        names = {field.name for field in dataclasses.fields(kind)} & set(options)
        groups[group] = kind(**{name: options.pop(name) for name in names})
    return training.fit(learner, data, **groups, **options)
