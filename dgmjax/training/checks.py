"""Checks that data fit the model that will be trained on them, before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import Rule, data_rules
from dgmjax.data.checks import validate
from dgmjax.data.dataset import num_rows
from dgmjax.data.missing import check_observed
from dgmjax.data.transform import Transform
from dgmjax.distributions.families import num_levels
from dgmjax.errors import DataError, require

NUM_CHECKED = 256
"""Rows that are transformed and compared with the values that the likelihood covers."""

BLOCK_BYTES = 2**26

REMEDIES = {
    "label": "Number the classes from 0, and choose as many of them as the data have.",
    "length": "A length counts the steps of its row, and is at most that of `x`.",
    "present": "1 stands for a modality that is there, 0 for one that is missing.",
    "observed": "1 stands for a step of the sequence, 0 for the padding after its end.",
}


def check_training_data(
    module: Any, arrays: Mapping[str, np.ndarray], transform: Transform | None
) -> None:
    """Raises `DataError` for NaN, and for values that the model does not cover.

    All rows must be finite and as the transform expects. Arrays that the transform changes are
    compared with `data_rules` by their first rows, all others by every row. Grey values that would
    reach a Bernoulli likelihood are refused, with the remedy of naming a binarisation.
    """
    num_rows(arrays, "data")
    for name, array in arrays.items():
        kind = np.asarray(array).dtype
        numbers = jnp.issubdtype(kind, jnp.number) or jnp.issubdtype(kind, jnp.bool_)
        remedy = "Leave the array out, or number what it names."
        require(numbers, name, "must hold numbers", f"dtype {kind}", remedy, DataError)
        _require_width(name, np.asarray(array))
    if transform is None or not hasattr(transform, "check"):
        validate(arrays, values="real")
    else:
        transform.check(arrays)
    rules = data_rules(module, arrays)
    if "observed" in arrays and "observed" not in rules:
        check_observed(arrays)
    found = _trained_on(arrays, transform)
    present = found.get("present") if "present" in rules else None
    if present is not None:
        _require_whole("present", present, range(2), (len(present), len(rules) - 1))
    for column, (name, rule) in enumerate(rules.items()):
        if name in found and rule != "present":
            array = found[name]
            read = slice(None) if present is None else present[: len(array), column] > 0
            _check(name, array[read], rule)


def _require_width(name: str, array: np.ndarray) -> None:
    """Raises `DataError` where numbers of 64 bits are beyond those of 32, which devices hold."""
    if array.dtype.kind not in "iuf" or array.dtype.itemsize < 8:
        return
    if jax.dtypes.canonicalize_dtype("float64") == "float64":
        return
    held: Any = np.finfo(np.float32)
    if array.dtype.kind != "f":
        held = np.iinfo(np.uint32 if array.dtype.kind == "u" else np.int32)
    rule = f"must be in {held.min} .. {held.max}, since devices hold 32 bits of a number"
    remedy = "Subtract an offset, scale them as fractions, or set JAX_ENABLE_X64=1."
    for part in _parts(array):
        inside = not part.size or (part.min() >= held.min and part.max() <= held.max)
        given = "" if inside else f"{array.dtype} values between {part.min()} and {part.max()}"
        require(bool(inside), name, rule, given, remedy, DataError)


def _trained_on(
    arrays: Mapping[str, np.ndarray], transform: Transform | None
) -> dict[str, np.ndarray]:
    """The arrays, and the first rows of those that the transform changes."""
    found = {name: np.asarray(array) for name, array in arrays.items()}
    if transform is None:
        return found
    first = {name: array[:NUM_CHECKED] for name, array in found.items()}
    # Identity and not equality: what a transform passes on as it was is checked in every row.
    made = transform(first, jax.random.key(0))
    return found | {
        name: np.asarray(array) for name, array in made.items() if array is not first.get(name)
    }


def _check(name: str, array: np.ndarray, rule: Rule) -> None:
    """Raises `DataError` unless the rows, if there are any, follow the rule."""
    if len(array) == 0:
        return
    if isinstance(rule, range):
        _require_whole(name, array, rule, array.shape[:1])
    elif rule == "prefix":
        _require_whole(name, array, range(2), (len(array), *array.shape[1:2]))
        ends = bool((array[:, 1:] <= array[:, :-1]).all())
        given = "a one after a zero"
        require(ends, name, "must be ones and then zeros", given, REMEDIES[name], DataError)
    elif isinstance(rule, str) or rule.values != "levels":
        _validate(name, array, rule if isinstance(rule, str) else rule.values)
    else:
        levels = num_levels(rule) or 0
        covered = f"must hold the integers 0 .. {levels - 1} that {rule} covers"
        _require_whole(name, array, range(levels), array.shape, covered)


def _require_whole(
    name: str, array: np.ndarray, values: range, shape: tuple[int, ...], rule: str = ""
) -> None:
    """Raises `DataError` unless the array has that shape and holds whole numbers of the range."""
    given = f"shape {array.shape}"
    remedy = REMEDIES.get(name, "Choose `levels` to fit the data, or another transform.")
    require(array.shape == shape, name, f"must have shape {shape}", given, remedy, DataError)
    numeric = array.dtype.kind in "buif"
    require(numeric, name, "must hold numbers", f"dtype {array.dtype}", remedy, DataError)
    low, high = array.min(), array.max()
    # Comparisons with NaN are false, so that NaN counts as outside.
    inside = values.start <= low and high < values.stop
    whole = array.dtype.kind != "f" or all((part == np.round(part)).all() for part in _parts(array))
    rule = rule or f"must hold the integers {values.start} .. {values.stop - 1}"
    given = f"{array.dtype} values between {low} and {high}" + ("" if whole else ", not all whole")
    require(bool(inside and whole), name, rule, given, remedy, DataError)


def _validate(name: str, array: np.ndarray, values: Any) -> None:
    """`data.checks.validate` of an array of any name."""
    try:
        validate({"x": array}, values=values)
    except DataError as problem:
        raise DataError(str(problem).replace("`x`", f"`{name}`", 1)) from None


def _parts(array: np.ndarray) -> list[np.ndarray]:
    """Views of bounded size: memory-mapped data are never copied at once."""
    return np.array_split(array, max(1, array.nbytes // BLOCK_BYTES))
