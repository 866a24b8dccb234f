"""Host-side checks of data at the boundary: dtype, range, finiteness, shape."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from dgmjax.data.dataset import num_rows
from dgmjax.errors import DataError, require

Values = Literal["binary", "unit", "signed", "byte", "real", "count"]
_ROUNDING = 1e-5
_CHUNK_BYTES = 2**26


class _Rule(NamedTuple):
    rule: str
    kinds: str  # NumPy dtype kinds
    holds: Callable[[np.ndarray], bool]  # of every block of rows
    remedy: str
    somewhere: Callable[[np.ndarray], bool] = lambda x: True  # of at least one


_RULES: dict[str, _Rule] = {
    "binary": _Rule(
        "must be 0 or 1",
        "buif",
        lambda x: bool(np.all((x == 0) | (x == 1))),
        "Name a binarisation: Binarise('static') for data that are already 0/1, "
        "Binarise('dynamic') or Binarise('threshold') for grey values.",
    ),
    "unit": _Rule(
        "must be floating point in [0, 1]",
        "f",
        lambda x: bool(np.all((x >= 0) & (x <= 1))),
        "Scale() maps grey values 0..255 to [0, 1], Dequantise() makes them continuous.",
    ),
    "signed": _Rule(
        "must be floating point in [-1, 1], some of it negative",
        "f",
        lambda x: bool(np.max(np.abs(x)) <= 1 + _ROUNDING),
        "Scale(low=-1.0) maps grey values 0..255 to [-1, 1], the range of a hyperbolic tangent.",
        lambda x: bool(np.min(x) < 0),
    ),
    "byte": _Rule(
        "must be integers in 0..255",
        "ui",
        lambda x: bool(np.all((x >= 0) & (x <= 255))),
        "Grey values are stored as uint8, unscaled.",
    ),
    "real": _Rule(
        "must be finite numbers",
        "uif",
        lambda x: True,
        "Make true and false 1 and 0 with `x.astype(np.uint8)`.",
    ),
    "count": _Rule(
        "must be integers of at least 0",
        "ui",
        lambda x: bool(np.all(x >= 0)),
        "Cast to an integer.",
    ),
}


def validate(
    arrays: Mapping[str, np.ndarray], *, values: Values, shape: Sequence[int] | None = None
) -> None:
    """Checks on the host that `arrays["x"]` is what a model expects, before anything compiles.

    Args:
      arrays: arrays of equal leading length, with `x` of shape `[N, *event]`.
      values: `binary` {0, 1}; `unit` floating point in [0, 1]; `signed` the same in
        [-1, 1]; `byte` integers 0..255; `real` finite numbers; `count` integers >= 0.
      shape: the event shape; None for any.

    Raises:
      DataError: wrong dtype, range or shape, NaN or infinity, no rows, or unequal lengths.

    >>> validate({"x": np.array([[0, 128]], np.uint8)}, values="binary")
    Traceback (most recent call last):
    ...
    dgmjax.errors.DataError: `x` must be 0 or 1; got uint8 values between 0 and 128. Name a \
binarisation: Binarise('static') for data that are already 0/1, Binarise('dynamic') or \
Binarise('threshold') for grey values.
    """
    known = values in _RULES
    require(known, "values", f"must be one of {list(_RULES)}", values, "", DataError)
    num_rows(arrays)
    require("x" in arrays, "arrays", "must hold `x`", list(arrays), "", DataError)
    x = np.asarray(arrays["x"]) if not isinstance(arrays["x"], np.ndarray) else arrays["x"]
    if shape is not None:
        fits = tuple(x.shape[1:]) == tuple(shape)
        require(fits, "x", f"must have event shape {tuple(shape)}", x.shape[1:], "", DataError)
    rule = _RULES[values]
    numeric = x.dtype.kind in "buif"
    require(numeric, "x", "must hold real numbers", f"dtype {x.dtype}", "", DataError)
    for chunk in _chunks(x):
        finite = x.dtype.kind != "f" or bool(np.all(np.isfinite(chunk)))
        require(finite, "x", "must be finite", "NaN or infinity", "Remove those rows.", DataError)
    holds = x.dtype.kind in rule.kinds and all(rule.holds(chunk) for chunk in _chunks(x))
    if not (holds and any(rule.somewhere(chunk) for chunk in _chunks(x))):
        given = f"{x.dtype} values between {x.min()} and {x.max()}"
        require(False, "x", rule.rule, given, rule.remedy, DataError)


def _chunks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Row blocks of bounded size: memory-mapped data are never read at once."""
    rows = max(1, _CHUNK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), rows):
        yield x[start : start + rows]
