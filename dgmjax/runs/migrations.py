"""Migrations: run folders of earlier formats, read as this version writes them.

A run folder opens in every later version. A change that renames an experiment, one of its
arguments, a metric or a parameter raises `FORMAT`, adds a function from the previous format to
`MIGRATIONS` and renamed arrays to `RENAMED_ARRAYS`, and keeps a run folder of the previous format
as a fixture of the tests. A new argument needs no migration as long as its default does what
earlier runs did.

Opening a folder does not rewrite it, so that several versions may read the same run; continuing its
training may. Importing this file imports no JAX.
"""

from collections.abc import Callable, Mapping
from typing import Any

FORMAT = 2
"""The format that is written. A folder of a larger one is refused."""

RENAMED_ARRAYS: Mapping[int, Mapping[str, str]] = {
    1: {"sums.order": "sums.mask", "sums.nll_one_order": "sums.nll_one_mask"},
}
"""By the format of a checkpoint: today's name of an array, and the name it has there."""

RETIRED_ARRAYS: Mapping[int, frozenset[str]] = {1: frozenset({"sums.loss"})}
"""By the format of a checkpoint: arrays that it may hold and that are no longer read. The sum of
the losses of several players was one."""

Config = dict[str, Any]

RENAMED_ARGUMENTS_1: Mapping[str, Mapping[str, str]] = {
    "made_binarized_mnist": {"num_masks": "num_orders"},
    "nade_binarized_mnist": {"num_masks": "num_orders"},
}


def migrated(config: Config) -> Config:
    """`config` in the present format, from any format that it was written in.

    >>> config = {"format": 1, "experiment": "nade_binarized_mnist", "arguments": {"num_masks": 2}}
    >>> migrated({**config, "options": {}})["arguments"]
    {'num_orders': 2}
    """
    for version in range(config["format"], FORMAT):
        config = {**MIGRATIONS[version](config), "format": version + 1}
    return config


def saved_name(name: str, version: int) -> str:
    """The name that an array has in a checkpoint of format `version`.

    >>> saved_name("sums.order", 1), saved_name("sums.loss", 1)
    ('sums.mask', 'sums.loss')
    """
    for later in range(FORMAT - 1, version - 1, -1):
        name = RENAMED_ARRAYS.get(later, {}).get(name, name)
    return name


def is_retired(name: str, version: int) -> bool:
    """Whether checkpoints of format `version` hold an array that this version may not know.

    >>> is_retired("sums.loss", 1), is_retired("sums.loss", FORMAT)
    (True, False)
    """
    return any(name in RETIRED_ARRAYS.get(later, ()) for later in range(version, FORMAT))


def _from_1(config: Config) -> Config:
    """Orders of an ensemble of MADE or NADE were called masks."""
    names = RENAMED_ARGUMENTS_1.get(config["experiment"], {})
    changed = config["options"].get("changed")
    options = {**config["options"], "changed": _renamed(changed, names)} if changed else {}
    return {
        **config,
        "arguments": _renamed(config["arguments"], names),
        "options": options or config["options"],
    }


def _renamed(arguments: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in arguments.items()}


MIGRATIONS: Mapping[int, Callable[[Config], Config]] = {1: _from_1}
"""By the format that they read."""
