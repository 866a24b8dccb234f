"""Files of arguments: read from TOML or YAML, written as TOML. Nothing in them is run."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgmjax.errors import DgmjaxError, require
from dgmjax.files import read_file
from dgmjax.lab.catalogue import nearest

_MOST_BYTES = 2**20


def read_configuration(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """The arguments of a `.toml`, `.yaml` or `.yml` file, by name; lists are tuples.

    Names may be written with dashes.

    Raises:
      DgmjaxError: no such file, another ending, damage, or a name that is not `known`.
    """
    require(path.is_file(), "--config", "must be an existing file", path)
    endings = (".toml", ".yaml", ".yml")
    require(path.suffix in endings, "--config", f"must end in one of {endings}", path)
    text = read_file(path, _MOST_BYTES + 1, DgmjaxError)
    require(len(text) <= _MOST_BYTES, "--config", f"must have at most {_MOST_BYTES} bytes", path)
    try:
        found = _parsed(path, text.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise DgmjaxError(
            f"`--config` must be a readable file; got {path}: {problem}."
        ) from problem
    require(isinstance(found, dict), "--config", "must hold names and values", path)
    given = {str(name).replace("-", "_"): value for name, value in found.items()}
    twice = len(given) < len(found)
    require(not twice, "--config", "must name each argument once, with dashes or without", path)
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise DgmjaxError(
            f"{path} names `{unknown}`, which is no argument. {nearest(unknown, known)}"
        )
    return {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}


def _parsed(path: Path, text: str) -> Any:
    if path.suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    import yaml

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as problem:
        raise ValueError(str(problem).replace("\n", " ")) from problem


def configuration_text(values: Mapping[str, Any]) -> str:
    """Arguments as TOML, which `read_configuration` reads; those that are None as comments.

    >>> print(configuration_text({"latent": 20, "hidden": (200,), "name": None}))
    latent = 20
    hidden = [200]
    # name =
    """
    lines = [
        f"# {name} =" if value is None else f"{name} = {_written(value)}"
        for name, value in values.items()
    ]
    return "\n".join(lines)


def _written(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    # Numbers, booleans and texts are written in TOML as in JSON, paths as texts.
    return json.dumps(value if isinstance(value, bool | int | float | str) else str(value))
