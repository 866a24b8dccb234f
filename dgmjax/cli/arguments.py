"""Command-line arguments of a typed function, parsed by tyro. Imports no JAX."""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from dgmjax.cli.configuration import configuration_text, read_configuration
from dgmjax.devices.cluster import Processes
from dgmjax.errors import DgmjaxError, require
from dgmjax.lab.catalogue import SHARED, nearest, options
from dgmjax.lab.session import TrainRequest
from dgmjax.runs.configuration import check_seed
from dgmjax.runs.loggers import loggers_named
from dgmjax.training.execution import Execution


def _explanations(function: Callable[..., Any]) -> tuple[dict[str, str], str]:
    """The help text of each argument (of a class, those of its bases too), and the description."""
    import docstring_parser

    texts: dict[str, str] = {}
    # From the most general base (without `object`) down: a subclass's text replaces its base's.
    bases = inspect.getmro(function)[-2::-1] if isinstance(function, type) else (function,)
    for owner in bases:
        parsed = docstring_parser.parse(
            inspect.getdoc(owner) or "", docstring_parser.DocstringStyle.GOOGLE
        )
        for entry in parsed.params:
            text = " ".join((entry.description or "").split())
            texts |= dict.fromkeys(entry.arg_name.split(", "), text)
    module = inspect.getmodule(function)
    description = inspect.getdoc(module) if module else None
    return texts, description or parsed.description or ""


class Field(NamedTuple):
    """An option: its name, type, default, help text, and the group that help shows it in."""

    name: str
    kind: Any
    default: Any
    text: str
    group: str = "options"


def option(name: str) -> str:
    """A name as the command line writes it.

    >>> option("learning_rate")
    '--learning-rate'
    """
    return f"--{name.replace('_', '-')}"


def _options_of(options: type, group: str) -> list[Field]:
    """The fields that the command line reads."""
    texts, _ = _explanations(options)
    types = get_type_hints(options)
    return [
        Field(f.name, f.metadata.get("type", types[f.name]), f.default, text, group)
        for f in _command_line_fields(options)
        if (text := texts[f.name])
    ]


def _command_line_fields(options: type) -> list[dataclasses.Field]:
    fields = dataclasses.fields(options)
    return [field for field in fields if field.metadata.get("command_line", True)]


UNPRINTED = ("config", "print_config", "run_dir", "dry_run")
"""Options that a file of arguments does not hold."""

RUN = "run"
OF_REQUEST = (
    *("seed", "seeds", "seeds_together", "tiny", "run_dir", "data_dir", "restart"),
    *("dry_run", "profile", "log"),
)
"""Options that are fields of `TrainRequest`."""


@lru_cache
def _shared_options() -> tuple[Field, ...]:
    """The options that every experiment has."""
    of_run: tuple[tuple[str, Any, Any, str], ...] = (
        ("tiny", bool, False, "shrink the experiment to seconds, to see that it runs"),
        ("seed", int, 0, "seed of parameters, batches and noise"),
        ("seeds", int, 1, "number of seeds, from --seed on, each with a run folder of its own"),
        (
            "seeds_together",
            Literal["auto", "yes", "no"],
            "auto",
            "train the seeds in one compiled program; auto: on accelerators, where it pays",
        ),
        (
            "steps",
            int | None,
            None,
            "number of training steps, in place of the experiment's own, by which its schedules go",
        ),
        ("run_dir", Path | None, None, "folder of this run, in place of one under runs/"),
        ("data_dir", str | None, None, "folder of data sets, in place of $DGMJAX_DATA"),
        ("config", Path | None, None, "file (.toml, .yaml) of arguments; options count above it"),
        ("print_config", bool, False, "print all arguments as such a file, and train nothing"),
        (
            "dry_run",
            bool,
            False,
            "say what training takes (parameters, memory, time), and train nothing",
        ),
        ("profile", bool, False, "write a trace of a few steps to the run's folder `profile`"),
        ("log", str | None, None, "further places for metrics, with commas: csv,tensorboard,wandb"),
        ("restart", int, 0, "restart a crashed run from a checkpoint, at most this many times"),
    )
    return (
        *(Field(*entry, RUN) for entry in of_run),
        *_options_of(Execution, "execution"),
        *_options_of(Processes, "processes"),
    )


def options_of_several(function: Callable[..., Any]) -> set[str]:
    """The options of an experiment, as written, that take several values at once."""
    found = set()
    for name, _, owner in options(function):
        hint = get_type_hints(owner)[name]
        if tuple in (get_origin(hint), *map(get_origin, get_args(hint))):
            found.add(f"--{name.replace('_', '-')}")
    return found


def refuse_without(main: str, command: Callable[..., Any], **given: Any) -> None:
    """Raises `DgmjaxError` where an option differs from its default and `main` is not there.

    It would have no effect, and whoever gave it would think that it had.
    """
    parameters = inspect.signature(command).parameters
    for name, value in given.items():
        idle = value == parameters[name].default
        require(idle, f"--{name.replace('_', '-')}", f"must be left out without {main}", value)


def parse_train(function: Callable[..., Any], name: str, arguments: Sequence[str]) -> TrainRequest:
    """Parses what follows `dgmjax train EXPERIMENT`.

    The options are the experiment's arguments (`lab.catalogue.options`), explained by the `Args:`
    of its docstring and the `Attributes:` of its option groups, and the shared ones. A function
    that declares `steps` defines its meaning and default.
    """
    _, description = _explanations(function)
    fields = [
        Field(name, get_type_hints(owner)[name], default, _explanations(owner)[0].get(name, ""))
        for name, default, owner in options(function)
        if name not in SHARED
    ]
    own = [field.name for field in fields]
    for title in dict.fromkeys(field.group for field in (*fields, *_shared_options())):
        # A group of options is a field of what is parsed, and would hide the argument.
        part, remedy = _part(title), "Give the argument another name."
        rule = "must not be an argument of an experiment: it is a title in the help of the command"
        require(part not in own, part, rule, f"one of {name}", remedy)
    fields += [field for field in _shared_options() if field.name not in own]
    # The words of a file come first, so that those of the command line count; both are checked.
    words = [*_configured(fields, arguments), *arguments]
    values = _parse_fields(fields, f"train {name}", description, words)
    for option, least in (("seeds", 1), ("steps", 1), ("restart", 0)):
        given = values[option]
        if given is not None and given < least:
            raise DgmjaxError(f"`--{option}` must be at least {least}; got {given}.")
    for seed in (values["seed"], values["seed"] + values["seeds"] - 1):
        check_seed(seed, "--seed")
    if values.pop("print_config"):
        kept = {name: value for name, value in values.items() if name not in UNPRINTED}
        print(configuration_text(kept))
        raise SystemExit(0)
    shared: dict[str, Any] = {option: values[option] for option in OF_REQUEST if option not in own}
    shared["log"] = loggers_named(shared.get("log"))
    for group, kind in (("execution", Execution), ("processes", Processes)):
        # An experiment's own option of the same name takes the place of a shared one.
        names = [field.name for field in _command_line_fields(kind) if field.name not in own]
        shared[group] = kind(**{option: values[option] for option in names})
    return TrainRequest(
        experiment=Path(name).name if name.endswith(".py") else name,
        function=function,
        arguments={option: values[option] for option in own},
        steps=None if "steps" in own else values["steps"],
        **shared,
    )


def _configured(fields: list[Field], arguments: Sequence[str]) -> list[str]:
    """The values of a file `--config` as words of a command line; none without one."""
    kinds = {field.name: field.kind for field in fields if field.name not in UNPRINTED}
    given = None
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name == "--config":
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            given = value if equals else following
    values = {} if given is None else read_configuration(Path(given), list(kinds))
    return [word for name, value in values.items() for word in _as_words(name, kinds[name], value)]


def _as_words(name: str, kind: Any, value: Any) -> list[str]:
    """A value of a file as the command line would give it.

    >>> _as_words("batch_norm", bool, False), _as_words("hidden", tuple[int, ...], (8, 4))
    (['--no-batch-norm'], ['--hidden', '8', '4'])
    """
    if kind is bool:
        told = f"{option(name)} of `--config`"
        require(isinstance(value, bool), told, "must be true or false", repr(value))
        return [option(name) if value else f"--no-{option(name)[2:]}"]
    if isinstance(value, tuple):
        return [option(name), *map(str, value)]
    return [f"{option(name)}={value}"]


def parse(function: Callable[..., None], command: str, arguments: Sequence[str]) -> None:
    """Calls `function` with the arguments of the command line.

    Each parameter is annotated `Annotated[type, help text]`; those without a default are
    positional.
    """
    import tyro

    fields = []
    types = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, text = get_args(types[parameter.name])
        if parameter.default is parameter.empty:
            positional: Any = tyro.conf.Positional
            kind = positional[kind]
        fields.append(Field(parameter.name, kind, parameter.default, text))
    function(**_parse_fields(fields, command, function.__doc__ or "", arguments))


class Asked(Exception):
    """Ends a command that was asked for its options only."""


_asked: list[Field] | None = None


@contextlib.contextmanager
def asking() -> Iterator[list[Field]]:
    """Inside, a command that reads its arguments ends in `Asked`; its options are in the list."""
    global _asked
    found: list[Field] = []
    _asked = found
    try:
        yield found
    finally:
        _asked = None


def _parse_fields(
    fields: Sequence[Field], command: str, description: str, arguments: Sequence[str]
) -> dict[str, Any]:
    """The values of the fields by name, read from `arguments`."""
    if _asked is not None:
        _asked.extend(fields)
        raise Asked
    import tyro

    groups = {field.group: [f for f in fields if f.group == field.group] for field in fields}
    main = _as_dataclass("Options", groups.pop("options", []))
    # A group of help is a dataclass within: its options are written without the group's name.
    parts: list[tuple[str, Any, Any]] = []
    for title, entries in groups.items():
        kind: Any = _as_dataclass(title, entries)
        annotation: Any = Annotated[kind, tyro.conf.OmitArgPrefixes]
        parts.append((_part(title), annotation, dataclasses.field(default=kind())))
    whole: Any = dataclasses.make_dataclass("Options", parts, bases=(main,), frozen=True)
    parsed, unknown = tyro.cli(
        whole,
        prog=f"dgmjax {command}",
        description=description,
        args=list(arguments),
        return_unknown_args=True,
    )
    if unknown:
        word = unknown[0].partition("=")[0]
        known = [option(field.name) for field in fields]
        guess = nearest(word.replace("_", "-"), known) if word.startswith("-") else ""
        raise DgmjaxError(
            f"`dgmjax {command}` has no argument `{word}`. {guess}`dgmjax {command} --help` "
            "shows them all."
        )
    owners = {field.name: field.group for field in fields}
    return {
        name: getattr(parsed if group == "options" else getattr(parsed, _part(group)), name)
        for name, group in owners.items()
    }


def _part(title: str) -> str:
    """A group's title as the name of a field, which help shows with spaces."""
    return re.sub(r"\W+", "_", title)


def _as_dataclass(title: str, fields: Sequence[Field]) -> Any:
    import tyro

    specification: list[tuple[str, Any, Any]] = []
    for name, kind, default, text, _ in fields:
        if isinstance(kind, UnionType):
            # The same type; for one written `A | B` tyro imports typeguard, a fifth of a command.
            kind = Union[get_args(kind)]  # noqa: UP007
        explained = tyro.conf.arg(help=text, metavar=_metavar(name, kind, default))
        annotation: Any = Annotated[kind, explained]  # type: ignore[valid-type]
        absent = default is inspect.Parameter.empty
        field = dataclasses.field() if absent else dataclasses.field(default=default)
        specification.append((name, annotation, field))
    return dataclasses.make_dataclass(_part(title), specification, frozen=True)


def _metavar(name: str, kind: Any, default: Any) -> str | None:
    """The placeholder of the value in the help text; None for tyro's own choice."""
    if default is inspect.Parameter.empty:
        return name.upper()
    kinds = [entry for entry in get_args(kind) if entry is not type(None)]
    optional = type(None) in get_args(kind) and len(kinds) == 1 and isinstance(kinds[0], type)
    return kinds[0].__name__.upper() if optional else None
