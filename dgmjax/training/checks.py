"""Whether data fit the model that will be trained on them, before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dgmjax.data.checks import validate
from dgmjax.data.missing import check_observed
from dgmjax.data.transform import Transform
from dgmjax.errors import DataError, require

NUM_CHECKED = 256
"""Rows that are transformed and compared with what the likelihood covers."""


def observation_family(module: Any) -> Any:
    """The family of a site of x, where the module names one (`observation` or `family`)."""
    return getattr(module, "observation", None) or getattr(module, "family", None)


def check_training_data(
    module: Any, arrays: Mapping[str, np.ndarray], transform: Transform | None
) -> None:
    """Raises `DataError` for NaN, and for values that the model's likelihood does not cover.

    All rows must be finite and such as the transform expects; the first rows are transformed and
    must be what the family of the likelihood covers. So grey values that reach a Bernoulli
    likelihood are refused, with the remedy to name a binarisation.
    """
    if transform is None or not hasattr(transform, "check"):
        validate(arrays, values="real")
    else:
        transform.check(arrays)
    if "observed" in arrays:
        check_observed(arrays)
    family = observation_family(module)
    if family is None:
        return
    batch = {name: np.asarray(array[:NUM_CHECKED]) for name, array in arrays.items()}
    if transform is not None:
        batch = {**batch, **transform(batch, jax.random.key(0))}
    x = {"x": np.asarray(batch["x"])}
    if family.values != "levels":
        validate(x, values=family.values)
        return
    validate(x, values="real")
    low, high = x["x"].min(), x["x"].max()
    require(
        bool((x["x"] == np.round(x["x"])).all()) and low >= 0 and high < family.levels,
        "x",
        f"must hold the integers 0 .. {family.levels - 1} that {family} covers",
        f"{x['x'].dtype} values between {low} and {high}",
        "Choose `levels` to fit the data, or another transform.",
        DataError,
    )
