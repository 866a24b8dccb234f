"""What is said about records, by table."""

import pytest

from dgmjax.runs import Record
from dgmjax.runs.diagnostics import remarks


def record(metric, value):
    fields = {"experiment": "e", "model": "m", "dataset": "d", "binarisation": None}
    unit = "count" if metric.startswith("active_units") else "nats"
    measured = {"metric": metric, "estimator": "averaged", "value": float(value), "unit": unit}
    run = {"seed": 0, "step": 1, "device": "cpu x 1", "versions": {}, "seconds": 1.0}
    rest = {"split": "test", "num_examples": 1, "standard_error": None, "published": None}
    return Record(**fields, **measured, **run, **rest)


HIERARCHY = {"active_units_z1": 9, "active_units_z2": 0, "active_units_z3": 0}

TABLE = {
    "well": ({"kl_nats": 25.0, "active_units": 16}, [], []),
    "no latents": ({"nll_nats": 25.0}, [], []),
    "no rate": ({"kl_nats": 0.01, "active_units": 2}, ["collapsed", "0.01 nats"], ["no dimension"]),
    "no units": ({"active_units": 0}, ["collapsed", "no dimension of z is", "DeltaVAE"], []),
    "neither": (
        {"kl_nats": 0.01, "active_units": 0},
        ["collapsed", "no dimension of z is active and", "0.01 nats", "models.DeltaVAE"],
        [],
    ),
    "committed rate": (
        {"kl_nats": 5.4, "active_units": 0},
        ["not used", "no dimension of z is active although", "5.4 nats", "commits a rate"],
        ["models.DeltaVAE", "collapsed"],
    ),
    "dead layers": (
        {"kl_nats": 20.0, **HIERARCHY},
        ["no dimension of z2 or z3 is active", "DenseHierarchicalVAE"],
        ["collapsed", "z1", "DeltaVAE"],
    ),
    "dead layers, no rate known": (HIERARCHY, ["no dimension of z2 or z3 is active"], ["z1"]),
    "all layers": (
        {"kl_nats": 0.1, "active_units_z1": 0, "active_units_z2": 0},
        ["collapsed", "no dimension of z1 or z2 is active"],
        [],
    ),
    "little in few layers": (
        {"kl_nats": 0.1, "active_units_z1": 1, "active_units_z2": 0},
        ["collapsed", "0.1 nats"],
        [],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_remarks(name):
    values, said, unsaid = TABLE[name]
    found = remarks([record(metric, value) for metric, value in values.items()])
    assert len(found) == (1 if said else 0)
    assert all(text in found[0] for text in said)
    assert not any(text in found[0] for text in unsaid)
