"""Errors that dgmjax raises on purpose, and the function that raises them.

Everything a user can get wrong ends in a `DgmjaxError` whose message names the argument, the
rule, what was given, and the remedy. Any other exception that escapes is a bug.
"""

import numbers
from collections.abc import Iterable


class DgmjaxError(ValueError):
    """Base class of all errors about arguments, data and files."""


class DataError(DgmjaxError):
    """Data that is absent, has the wrong shape, dtype or range, or is not finite."""


class RunError(DgmjaxError):
    """A run folder, record or configuration that cannot be used."""


class CheckpointError(RunError):
    """A checkpoint that is truncated, altered, or belongs to something else."""


class TrainingDiverged(RuntimeError):
    """Too many non-finite training steps in a row."""


class HardwareFault(RuntimeError):
    """The same computation gave different bits."""


class NotConverged(RuntimeError):
    """An iterative solver did not reach its tolerance."""


def require(
    condition: bool,
    argument: str,
    rule: str,
    given: object,
    remedy: str = "",
    error: type[Exception] = DgmjaxError,
) -> None:
    """Raises `error` with "`argument` rule; got given. remedy" unless `condition` holds.

    >>> require(3 > 0, "num_samples", "must be at least 1", 3)
    >>> require(False, "num_samples", "must be at least 1", 0, "Use 1 for the ELBO.")
    Traceback (most recent call last):
    ...
    dgmjax.errors.DgmjaxError: `num_samples` must be at least 1; got 0. Use 1 for the ELBO.
    """
    if not condition:
        raise error(f"`{argument}` {rule}; got {given}." + (f" {remedy}" if remedy else ""))


def require_sizes(**sizes: int | tuple[int, ...]) -> None:
    """Raises `DgmjaxError` unless every size, by its argument's name, is whole and at least 1.

    A tuple holds several, such as the units of hidden layers; an empty one has none that is wrong.

    >>> require_sizes(features=16, blocks=7)
    >>> require_sizes(features=0)
    Traceback (most recent call last):
    ...
    dgmjax.errors.DgmjaxError: `features` must be at least 1; got 0.
    >>> require_sizes(hidden=(200, 0))
    Traceback (most recent call last):
    ...
    dgmjax.errors.DgmjaxError: `hidden` must be at least 1 throughout; got (200, 0).
    """
    for name, size in sizes.items():
        if isinstance(size, tuple):
            whole = all(isinstance(n, numbers.Integral) for n in size)
            require(whole, name, "must be whole numbers", size)
            require(all(n >= 1 for n in size), name, "must be at least 1 throughout", size)
        else:
            require(isinstance(size, numbers.Integral), name, "must be a whole number", size)
            require(size >= 1, name, "must be at least 1", size)


def as_sizes(argument: str, sizes: Iterable[int]) -> tuple[int, ...]:
    """`sizes` as a tuple, checked by `require_sizes`: an event shape, the units of hidden layers.

    >>> as_sizes("hidden", [200, 200])
    (200, 200)
    >>> as_sizes("event_shape", 3)
    Traceback (most recent call last):
    ...
    dgmjax.errors.DgmjaxError: `event_shape` must be a sequence of sizes; got 3. Write (3,).
    """
    several = isinstance(sizes, Iterable)
    require(several, argument, "must be a sequence of sizes", sizes, f"Write ({sizes},).")
    found = tuple(sizes)
    require_sizes(**{argument: found})
    return found
