"""`config.json` of a run folder: the request, and the system that it ran on."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dgmjax.errors import RunError, require
from dgmjax.runs import strict_json
from dgmjax.runs.migrations import FORMAT, migrated
from dgmjax.runs.versions import device_description, git_commit, package_versions

_FIELDS = {
    "experiment": str,
    "arguments": dict,
    "seed": int,
    "tiny": bool,
    "options": dict,
    "versions": dict,
    "device": str,
}


_OPTIONS = {
    "data_dir": str,
    "steps": int,
    "changed": dict,
    "execution": dict,
    "in_code": dict,
    "earlier": list,
    "data": dict,
    "training": dict,
    "trained": int,
    "measured": int,
}
"""Types of what `options` may hold; each may also be null."""


def check_seed(seed: Any, name: str = "seed") -> None:
    """Raises `RunError` unless a seed is one of the 2^32 that keys are made of.

    JAX takes a larger one modulo 2^32: it would stand for another seed, whose numbers it has.
    """
    sound = isinstance(seed, int) and 0 <= seed < 2**32
    require(sound, name, "must be an integer of at least 0, below 2^32", seed, error=RunError)


def new_configuration(asked: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `config.json` of a new run.

    Its `identity` is made of the arguments as they are named now, so that checkpoints still belong
    to the run when a later version renames one.
    """
    return {
        "format": FORMAT,
        **asked,
        "identity": identity_of(asked),
        "options": plain(options),
        "versions": package_versions(),
        "device": device_description(),
        "git_commit": git_commit(),
    }


def read_configuration(path: Path) -> dict[str, Any]:
    """`config.json` of the run folder `path`, checked, in the present format.

    Raises:
      RunError: no run folder, a damaged one, or one of a later format.
    """
    require(
        (path / "config.json").is_file(),
        "run",
        "must be a run folder, which has a `config.json`",
        path,
        "`dgmjax train EXPERIMENT` makes one and prints its path.",
        RunError,
    )
    config = strict_json.read(path / "config.json")
    version = config.get("format") if isinstance(config, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise RunError(
            f"{path} was written by a newer dgmjax (format {version}; this one knows {FORMAT}). "
            "Upgrade dgmjax to read it."
        )
    known = (
        type(version) is int
        and version >= 1
        and all(type(config.get(name)) is kind for name, kind in _FIELDS.items())
    )
    known = known and all(
        value is None or type(value) is _OPTIONS.get(name, type(value))
        for name, value in config["options"].items()
    )
    known = known and config["seed"] >= 0 and type(config.get("identity", "")) is str
    known = known and config["experiment"].removesuffix(".py").isidentifier()
    require(known, "run", "must be a run folder of dgmjax", path, "", RunError)
    return migrated({"identity": identity_of(config), **config})


def identity_of(config: Mapping[str, Any]) -> str:
    """A digest of a run: experiment, arguments, seed."""
    asked = {name: config[name] for name in ("experiment", "arguments", "seed", "tiny")}
    return hashlib.sha256(strict_json.dumps(asked).encode()).hexdigest()


def check_same(
    path: Path,
    there: Mapping[str, Any],
    asked: Mapping[str, Any],
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Raises `RunError` with the differences between the run `there` and the one `asked` for.

    An argument that did not exist when the run was made counts as its default.
    """
    pairs = [(name, there[name], asked[name]) for name in ("experiment", "seed", "tiny")]
    if there["experiment"] == asked["experiment"]:
        new = asked["arguments"]
        old = {**{n: v for n, v in defaults.items() if n in new}, **there["arguments"]}
        names = sorted(old.keys() | new.keys())
        pairs += [(name, old.get(name, "absent"), new.get(name, "absent")) for name in names]
    differences = [f"{name} was {old!r}, now {new!r}" for name, old, new in pairs if old != new]
    if differences:
        raise RunError(
            f"{path} holds another run: {'; '.join(differences)}. Give the same arguments to "
            "resume it, or another `--run-dir` for a new run; nothing has been changed."
        )


def check_unused(path: Path) -> None:
    """Raises `RunError` if `path` is a file, or a folder that is not empty."""
    if not path.exists():
        return
    used = not path.is_dir() or any(
        not entry.name.startswith(".config.json.") for entry in path.iterdir()
    )
    require(
        not used,
        "run_dir",
        "must be a run folder, an empty folder or a new name",
        path,
        "Nothing has been changed.",
        RunError,
    )


def plain(value: Any) -> Any:
    """`value` as it comes back from JSON. Raises `RunError` for what JSON cannot hold."""
    try:
        return strict_json.loads(strict_json.dumps(value))
    except TypeError as problem:
        raise RunError(
            f"`arguments` must be numbers, texts, booleans, None and tuples of these: {problem}."
        ) from problem
