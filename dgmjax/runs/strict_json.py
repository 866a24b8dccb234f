"""Strict JSON: infinities and NaN are written as `{"float": "nan"}`.

Python's own encoder writes the bare word NaN, which other readers refuse.
"""

import json
import math
from pathlib import Path
from typing import Any

from dgmjax.errors import RunError
from dgmjax.files import read_file

MAX_BYTES = 2**21
"""Of a file. Nested brackets take thirty times their size in memory, which this bounds too."""


def dumps(value: Any, indent: int | None = None) -> str:
    """`value` (dicts, lists, tuples, texts, numbers, None, arrays of one number) as JSON text.

    >>> dumps({"loss": float("nan"), "hidden": (1, 2)})
    '{"loss": {"float": "nan"}, "hidden": [1, 2]}'
    """
    return json.dumps(_encode(value), indent=indent, allow_nan=False, ensure_ascii=False)


def loads(text: str) -> Any:
    """The inverse of `dumps`, with lists for tuples.

    >>> loads('{"loss": {"float": "inf"}}')
    {'loss': inf}
    """
    value = json.loads(text, object_hook=_decode, parse_constant=_refuse)
    if "\\ud" in text.lower():  # half of a pair of surrogates is a text that cannot be written
        json.dumps(value, ensure_ascii=False).encode()
    return value


def read(path: Path) -> Any:
    """The content of the file at `path`.

    Raises:
      RunError: it cannot be read, is not JSON, or is larger than `MAX_BYTES`.
    """
    try:
        content = read_file(path, MAX_BYTES + 1)
        # One byte more than allowed was asked for, which tells a file at the limit from a larger
        # one without reading that.
        if len(content) > MAX_BYTES:
            raise RunError(f"{path} is damaged: it is larger than {MAX_BYTES} bytes.")
        return loads(content.decode())
    except OSError as problem:
        raise RunError(f"{path} cannot be read: {problem.strerror}.") from problem
    except RunError:
        raise
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{path} is damaged: it is not JSON ({problem}).") from problem


def _encode(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _encode(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(entry) for entry in value]
    if hasattr(value, "item"):  # a NumPy or JAX number
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _decode(entry: dict[str, Any]) -> Any:
    if entry.keys() == {"float"} and entry["float"] in ["nan", "inf", "-inf"]:
        return float(entry["float"])
    return entry


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
