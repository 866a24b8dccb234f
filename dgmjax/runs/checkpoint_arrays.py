"""Arrays of one checkpoint, between a pytree and a folder that Orbax wrote.

Orbax casts another dtype silently and asks for the whole tree, so shapes and dtypes are kept
beside the arrays and compared before anything is read.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dgmjax.errors import CheckpointError, RunError, require
from dgmjax.files import write_atomically
from dgmjax.runs import strict_json
from dgmjax.runs.migrations import FORMAT, is_retired, saved_name
from dgmjax.types import PyTree

DESCRIPTION = "host.json"


def flatten(tree: PyTree) -> dict[str, Any]:
    """Leaves by path, so that a checkpoint does not depend on Python types."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def write_description(folder: Path, arrays: Mapping[str, Any], host: Mapping[str, Any]) -> None:
    """Writes the values of the host, and the shape and dtype of each array."""
    described = {"format": FORMAT, "host": dict(host), "arrays": _describe(arrays)}
    text = strict_json.dumps(described, indent=1)
    write_atomically(folder / DESCRIPTION, text, CheckpointError)


def read_step(folder: Path, template: PyTree, prefix: str = "") -> tuple[PyTree, dict[str, Any]]:
    """The state and the values of the host that a complete step holds.

    Args:
      folder: of the step; its manifest has been verified.
      template: pytree of arrays or `ShapeDtypeStruct`s, with the shardings wanted.
      prefix: read only the part of the saved tree below this key.

    Raises:
      CheckpointError: other arrays than the template's, or files that Orbax cannot read.
    """
    # Names and shapes are compared here, where an error can say which array differs. Orbax would
    # cast silently, or fail in the middle of reading.
    version, host, saved = _read_description(folder)
    flat = flatten({prefix: template} if prefix else template)
    flat = {saved_name(name, version): leaf for name, leaf in flat.items()}
    if prefix:
        saved = {name: a for name, a in saved.items() if name.startswith(f"{prefix}.")}
    wanted_names = _describe(flat)
    retired = {n for n in saved if n not in wanted_names and is_retired(n, version)}
    saved = {name: a for name, a in saved.items() if name not in retired}
    _check_same_arrays(folder, saved, wanted_names)
    wanted = ocp.args.PyTreeRestore(
        item=_structs(flat),
        restore_args=ocp.checkpoint_utils.construct_restore_args(_structs(flat)),
        partial_restore=bool(prefix or retired),
    )
    quiet_orbax()
    try:
        restored = ocp.PyTreeCheckpointHandler().restore(folder / "arrays", args=wanted)
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        raise CheckpointError(
            f"{folder} cannot be restored although it is complete: {first_line(problem)}. It may "
            "come from another version of Orbax."
        ) from problem
    leaves = [restored[name] for name in flat]
    return jax.tree.unflatten(jax.tree.structure(template), leaves), host


def quiet_orbax() -> None:
    """Drops Orbax's log: pages for every failure, which is raised as a `CheckpointError` anyway."""
    logging.getLogger("absl").addFilter(_not_orbax)  # adding it again does nothing


def first_line(problem: BaseException) -> str:
    """The first line of a message, where libraries usually say what happened."""
    line = (str(problem) or type(problem).__name__).splitlines()[0]
    return line if len(line) <= 200 else f"{line[:200]}..."


def _not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _read_description(folder: Path) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The format, the values of the host, and shape and dtype of every array."""
    try:
        described = strict_json.read(folder / DESCRIPTION)
        version = int(described.get("format", 1))  # the first format did not say
        return version, dict(described["host"]), dict(described["arrays"])
    except (RunError, AttributeError, KeyError, TypeError, ValueError) as problem:
        raise CheckpointError(f"{folder / DESCRIPTION} cannot be used: {problem}.") from problem


def _describe(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{np.dtype(a.dtype).name}{list(a.shape)}" for name, a in arrays.items()}


def _structs(arrays: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        name: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=getattr(a, "sharding", None))
        for name, a in arrays.items()
    }


def _check_same_arrays(path: Path, saved: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    differing = [
        f"{name}: saved {saved.get(name, 'absent')}, wanted {wanted.get(name, 'absent')}"
        for name in sorted(set(saved) | set(wanted))
        if saved.get(name) != wanted.get(name)
    ]
    require(
        not differing,
        "run",
        "must hold a checkpoint of this very model and optimiser",
        f"{path}: " + "; ".join(differing[:3]),
        "The experiment's code changed since; start anew with another --run-dir.",
        CheckpointError,
    )
