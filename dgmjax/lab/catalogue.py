"""Catalogue of experiments: listed without importing them, loaded by name or from a user's file.

An experiment is a function of the same name as its file. Its keyword arguments, all with
defaults, are the command line and are kept in the run folder; with them it is built again. A
dataclass object as a default is a group of arguments. Three names are passed only to a function
that declares them: `seed`, `tiny` (shrink to seconds) and `data_dir`. Importing this file imports
no JAX.
"""

import ast
import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_type_hints

from dgmjax.errors import DgmjaxError, require, require_sizes

SHARED = ("seed", "tiny", "data_dir")
PACKAGE = "dgmjax.experiments"
"""The folder `experiments/` of the repository under its installed name, which no package of the
user's can hide."""

SIZES = ("epochs", "steps", "batch_size")
ExperimentFunction = Callable[..., Any]


@dataclass(frozen=True)
class Entry:
    """One file of the catalogue.

    Attributes:
      name: of the experiment.
      summary: the first line of its docstring.
      family: of its model.
      data: the data sets of its recorded runs, or what its name says.
      seconds: of training in the shortest recorded run; None where there is none.
    """

    name: str
    summary: str
    family: str
    data: str = ""
    seconds: float | None = None


QUOTES = '"""'


def catalogue() -> list[Entry]:
    """The experiments of dgmjax and of installed packages, by name. Runs none of their files.

    A package offers experiments by entry points of the group `dgmjax.experiments`; where two have
    one name, that of dgmjax counts.
    """
    ours = _ours()
    names = {entry.name for entry in ours}
    others = [
        Entry(name, f"of {point.value}", point.dist.name if point.dist else "installed")
        for name, point in _installed().items()
        if name not in names
    ]
    return sorted([*ours, *others], key=lambda entry: entry.name)


def _installed() -> dict[str, metadata.EntryPoint]:
    """Entry points of installed packages, by name."""
    points = metadata.entry_points(group=PACKAGE)
    return {point.name: point for point in points if point.name.isidentifier()}


def _ours() -> list[Entry]:
    """The experiments that come with dgmjax. Reads their files, runs none."""
    entries = []
    recorded = _recorded()
    for file in _files():
        summary = _summary(file, file.stat().st_mtime_ns)
        if summary is not None:
            of_runs = recorded.get(file.stem, {"data": file.stem})
            entries.append(Entry(file.stem, summary, file.parent.name, **of_runs))
    return entries


@cache
def _summary(file: Path, changed: int) -> str | None:
    """The first line of an experiment's docstring, None where a file has no experiment.

    Args:
      changed: when, so that a file is read again after it was edited.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if not re.search(rf"^def {re.escape(file.stem)}\(", text, re.MULTILINE):
            return None
        if text.startswith(QUOTES):
            # The docstring alone: `dgmjax list` took a fifth longer when it parsed whole files.
            end = text.index(QUOTES, len(QUOTES)) + len(QUOTES)
            return (ast.get_docstring(ast.parse(text[:end])) or "").partition("\n")[0]
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == file.stem:
            text = ast.get_docstring(tree) or ast.get_docstring(node) or ""
            return text.partition("\n")[0]
    return None


def _recorded() -> dict[str, dict[str, Any]]:
    """Data sets and seconds of recorded runs, written by `benchmarks/results_table.py`."""
    path = _folder() / "recorded.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def load_experiment(name: str) -> ExperimentFunction:
    """The function of the experiment `name`, or of the Python file whose path `name` is.

    Raises:
      DgmjaxError: there is none (the message names the nearest), or its file does not import.
    """
    if name.endswith(".py"):
        return _function(_import_file(Path(name)), Path(name).stem)
    families = {entry.name: entry.family for entry in _ours()}
    if name in families:
        return _function(_import_ours(families[name], name), name)
    installed = _installed()
    if name not in installed:
        known = [*families, *installed]
        raise DgmjaxError(
            f"There is no experiment `{name}`. {nearest(name, known)}`dgmjax list` "
            "shows them all; for a file of your own, give its path, ending in `.py`."
        )
    with _import_errors(f"{name} ({installed[name].value})"):
        return _checked(installed[name].load(), name, installed[name].value)


def name_of(function: ExperimentFunction) -> str:
    """The name under which a run of the function is kept: that of the catalogue, or of a file."""
    ours = function.__module__.startswith(f"{PACKAGE}.")
    return function.__name__ if ours else f"{function.__name__}.py"


def experiment_of(name: str, file: str | ExperimentFunction | None = None) -> ExperimentFunction:
    """The function of the experiment that a run folder names.

    A run of a user's file names it as `mine.py`. That file is never searched for: opening a folder
    must not run code that the folder chose. `file` is the path that the user gives now, or the
    function itself.
    """
    if callable(file):
        rule = f"must be the function of `{name}`, whose run this is"
        require(name_of(file) == name, "experiment", rule, file.__name__)
        return file
    if not name.endswith(".py"):
        return load_experiment(name)
    require(
        file is not None and Path(file).name == name,
        "experiment",
        f"must be the path of `{name}`, whose run this is",
        repr(file),
        f"Add `--experiment path/to/{name}`.",
    )
    return load_experiment(str(file))


class Option(NamedTuple):
    """An argument of an experiment: name, default, and the function or dataclass that has it."""

    name: str
    default: Any
    owner: Any


def options(function: ExperimentFunction) -> list[Option]:
    """The arguments of an experiment, those of its option groups among them.

    A parameter whose default is a dataclass object is a group: its fields are arguments, too, and
    the object holds their defaults. A parameter of the function's own takes the place of a field of
    the same name.
    """
    parameters = inspect.signature(function).parameters.values()
    groups = [p.default for p in parameters if dataclasses.is_dataclass(p.default)]
    own = [Option(p.name, p.default, function) for p in parameters if p.default not in groups]
    taken = {option.name for option in own}
    fields = [
        Option(field.name, getattr(group, field.name), type(group))
        for group in groups
        for field in dataclasses.fields(group)
        if field.name not in taken
    ]
    return own + fields


def own_defaults(function: ExperimentFunction) -> dict[str, Any]:
    """The experiment's arguments, without the `SHARED` ones, and their defaults."""
    return {name: default for name, default, _ in options(function) if name not in SHARED}


def build(function: ExperimentFunction, arguments: Mapping[str, Any], **shared: Any) -> Any:
    """`function(**arguments)`, with those of the `SHARED` arguments that it declares.

    The arguments of option groups are put back into them; what is not given has its default.

    Raises:
      DgmjaxError: arguments that the experiment does not have, values of another type than theirs
        (a run folder may hold anything), or one of `SIZES` below 1.
    """
    declared = {option.name: option for option in options(function)}
    unknown = sorted(set(arguments) - set(declared))
    changed = "If a run has them, the experiment changed since it was made: train it again."
    remedy = nearest(unknown[0], list(declared)).strip() if unknown else ""
    require(
        not unknown,
        "arguments",
        f"must be among those of the experiment {function.__name__}: {sorted(declared)}",
        unknown,
        remedy or changed,
    )
    _check_types(arguments, declared)
    require_sizes(**{name: n for name in SIZES if (n := arguments.get(name)) is not None})
    given = {**arguments, **{name: value for name, value in shared.items() if name in declared}}
    called = {n: value for n, value in given.items() if declared[n].owner is function}
    for parameter in inspect.signature(function).parameters.values():
        group = parameter.default
        if dataclasses.is_dataclass(group) and not isinstance(group, type):
            fields = {n: value for n, value in given.items() if declared[n].owner is type(group)}
            called[parameter.name] = dataclasses.replace(group, **fields)
    return function(**called)


def _check_types(arguments: Mapping[str, Any], declared: Mapping[str, Option]) -> None:
    import typeguard

    # A run folder may come from anywhere: every item of a sequence is looked at, not the first.
    every = typeguard.CollectionCheckStrategy.ALL_ITEMS
    for name, value in arguments.items():
        kind = get_type_hints(declared[name].owner).get(name, Any)
        try:
            typeguard.check_type(value, kind, collection_check_strategy=every)
        except typeguard.TypeCheckError:
            shown = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
            require(False, name, f"must be of type {shown}", repr(value))


def nearest(given: str, known: Sequence[str]) -> str:
    """The question "Did you mean ...? " about the closest entry of `known`; empty if none is near.

    >>> nearest("vae_mnits", ["maf_moons", "vae_mnist"])
    'Did you mean `vae_mnist`? '
    >>> nearest("zzz", ["maf_moons", "vae_mnist"])
    ''
    """
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"Did you mean `{near[0]}`? " if near else ""


def _folder() -> Path:
    """The folder of the experiments, found without importing them."""
    specification = importlib.util.find_spec(PACKAGE)
    places = specification.submodule_search_locations if specification else None
    if not places:
        raise DgmjaxError(
            f"The experiments (`{PACKAGE}`) are absent. Install dgmjax: `pip install -e .` in a "
            "checkout."
        )
    return Path(next(iter(places)))


def _files() -> list[Path]:
    """Every file that may hold an experiment, by name; those in `shared` hold none."""
    files = (file for file in _folder().glob("*/*.py") if file.parent.name != "shared")
    return sorted(files, key=lambda file: file.stem)


def _import_ours(family: str, name: str) -> ModuleType:
    with _import_errors(name):
        return importlib.import_module(f"{PACKAGE}.{family}.{name}")


def _import_file(path: Path) -> ModuleType:
    require(path.is_file(), "experiment", "must be an existing file", path)
    require(path.stem.isidentifier(), "experiment", "must have the name of a function", path.name)
    # Imported by its own name, since under another its relative imports would fail.
    if path.resolve() in [file.resolve() for file in _files()]:  # ours, with relative imports
        return _import_ours(path.resolve().parent.name, path.stem)
    specification = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if specification is None or specification.loader is None:
        raise DgmjaxError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(specification)
    # Known before it runs, as `import` does: dataclasses look their module up by name.
    sys.modules[specification.name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # so that it can import its neighbours
    with _import_errors(str(path)):
        specification.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _import_errors(name: str) -> Iterator[None]:
    """Names the file in any error raised while it is imported."""
    try:
        yield
    except DgmjaxError:
        raise
    except Exception as problem:
        raise DgmjaxError(
            f"The experiment {name} cannot be imported: {type(problem).__name__}: {problem}. "
            "`--traceback` shows where."
        ) from problem


def _function(module: ModuleType, name: str) -> ExperimentFunction:
    return _checked(getattr(module, name, None), name, str(module.__file__))


def _checked(function: Any, name: str, place: str) -> ExperimentFunction:
    require(
        inspect.isfunction(function),
        "experiment",
        f"must have a function `{name}`, like its file",
        place,
    )
    for parameter in inspect.signature(function).parameters.values():
        keyword = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        sound = keyword and parameter.default is not parameter.empty
        sound = sound and parameter.annotation is not parameter.empty
        rule = f"must have a type and a default in the experiment `{name}`"
        require(sound, parameter.name, rule, f"`{parameter}`")
    return function
