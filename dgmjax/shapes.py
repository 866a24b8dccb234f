"""Shape checks as declarations: `check_shapes(self, basis="... D M", upper="... M M")`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgmjax.errors import DgmjaxError, require


def check_shapes(arrays: Any, **patterns: str) -> dict[str, int]:
    """Checks the last dimensions of several arrays against each other; returns the sizes found.

    A pattern names the dimensions of one array: numbers are fixed sizes, names are sizes that must
    agree wherever they appear, and a leading `...` stands for any number of batch dimensions.

    Args:
      arrays: an object whose attributes, or a mapping whose values, are the arrays; None is left
        out.
      patterns: by name of the array, as the user knows it.

    Raises:
      DgmjaxError: naming the array, its pattern, the sizes known so far and the shape given.

    >>> import numpy as np
    >>> given = {"basis": np.zeros((5, 3, 2)), "bias": np.zeros(2)}
    >>> check_shapes(given, basis="... D M", bias="... M")
    {'D': 3, 'M': 2}
    >>> check_shapes({**given, "bias": np.zeros(3)}, basis="... D M", bias="... M")
    Traceback (most recent call last):
    ...
    dgmjax.errors.DgmjaxError: `bias` must be [..., M] with M = 2 as in `basis`; got shape (3,).
    """
    sizes: dict[str, int] = {}
    origins: dict[str, str] = {}
    for name, pattern in patterns.items():
        array = arrays[name] if isinstance(arrays, Mapping) else getattr(arrays, name)
        if array is None:
            continue
        *batch, dims = pattern.split("...") if "..." in pattern else [pattern]
        wanted, shape = dims.split(), np.shape(array)
        known = {dim: sizes[dim] for dim in wanted if dim in sizes}
        found = shape[len(shape) - len(wanted) :]
        fits = len(shape) >= len(wanted) if batch else len(shape) == len(wanted)
        for dim, size in zip(wanted, found):
            fits = fits and size == (int(dim) if dim.isdecimal() else sizes.setdefault(dim, size))
        told = [f"{dim} = {size} as in `{origins[dim]}`" for dim, size in known.items()]
        rule = f"must be [{', '.join(['...'] * bool(batch) + wanted)}]"
        rule += f" with {' and '.join(told)}" if told else ""
        require(fits, name, rule, f"shape {shape}")
        origins |= {dim: name for dim in wanted if dim not in origins}
    return sizes


def require_event(
    x: Any,
    event_shape: Sequence[int],
    argument: str = "x",
    owner: str = "",
    error: type[Exception] = DgmjaxError,
) -> tuple[int, ...]:
    """Raises `error` unless `x` has the shape `[..., *event_shape]`; returns the `...`.

    Args:
      argument: the name of `x` in the message.
      owner: of the event, for the message.

    >>> require_event(np.zeros((5, 2, 3)), (3,))
    (5, 2)
    >>> require_event(np.zeros((5, 2, 3)), (4,), owner="PPCA")
    Traceback (most recent call last):
    ...
    dgmjax.errors.DgmjaxError: `x` must end in the event shape (4,) of PPCA; got shape (5, 2, 3).
    """
    event, shape = tuple(event_shape), tuple(np.shape(x))
    batch = shape[: len(shape) - len(event)]
    rule = f"must end in the event shape {event}" + (f" of {owner}" if owner else "")
    fits = len(shape) >= len(event) and shape[len(batch) :] == event
    require(fits, argument, rule, f"shape {shape}", error=error)
    return batch
