"""Command-line arguments of a typed function, parsed by tyro. Imports no JAX."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from dgmjax.cli.configuration import configuration_text, read_configuration
from dgmjax.devices.cluster import Processes
from dgmjax.errors import DgmjaxError
from dgmjax.lab.catalogue import SHARED, nearest, options
from dgmjax.lab.session import TrainRequest
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


def _options_of(options: type) -> list[tuple[str, Any, Any, str]]:
    """Name, type, default and help text of each field that the command line reads."""
    texts, _ = _explanations(options)
    types = get_type_hints(options)
    return [
        (field.name, field.metadata.get("type", types[field.name]), field.default, text)
        for field in _command_line_fields(options)
        if (text := texts[field.name])
    ]


def _command_line_fields(options: type) -> list[dataclasses.Field]:
    fields = dataclasses.fields(options)
    return [field for field in fields if field.metadata.get("command_line", True)]


UNPRINTED = ("config", "print_config", "run_dir")
"""Options that a file of arguments does not hold."""


@lru_cache
def _shared_options() -> tuple[tuple[str, Any, Any, str], ...]:
    """Name, type, default and help text of the options that every experiment has."""
    return (
        ("tiny", bool, False, "shrink the experiment to seconds, to see that it runs"),
        ("seed", int, 0, "seed of parameters, batches and noise"),
        ("seeds", int, 1, "number of seeds, from --seed on, each with a run folder of its own"),
        (
            "seeds_together",
            Literal["auto", "yes", "no"],
            "auto",
            "train the seeds in one compiled program; auto: on accelerators, where it pays",
        ),
        ("steps", int | None, None, "number of training steps, in place of the experiment's own"),
        ("run_dir", Path | None, None, "folder of this run, in place of one under runs/"),
        ("data_dir", str | None, None, "folder of data sets, in place of $DGMJAX_DATA"),
        ("config", Path | None, None, "file (.toml, .yaml) of arguments; options count above it"),
        ("print_config", bool, False, "print all arguments as such a file, and train nothing"),
        ("restart", int, 0, "restart a crashed run from a checkpoint, at most this many times"),
        *_options_of(Execution),
        *_options_of(Processes),
    )


def parse_train(function: Callable[..., Any], name: str, arguments: Sequence[str]) -> TrainRequest:
    """Parses what follows `dgmjax train EXPERIMENT`.

    The options are the experiment's arguments (`lab.catalogue.options`), explained by the `Args:`
    of its docstring and the `Attributes:` of its option groups, and the shared ones. A function
    that declares `steps` defines its meaning and default.
    """
    _, description = _explanations(function)
    fields = [
        (option, get_type_hints(owner)[option], default, _explanations(owner)[0].get(option, ""))
        for option, default, owner in options(function)
        if option not in SHARED
    ]
    own = [option for option, *_ in fields]
    fields += [option for option in _shared_options() if option[0] not in own]
    fields = _with_configuration(fields, arguments)
    parsed = _parse_fields(fields, f"train {name}", description, arguments)
    values = {option: getattr(parsed, option) for option, *_ in fields}
    for option, least in (("seed", 0), ("seeds", 1), ("steps", 1), ("restart", 0)):
        given = values[option]
        if given is not None and given < least:
            raise DgmjaxError(f"`--{option}` must be at least {least}; got {given}.")
    if values.pop("print_config"):
        kept = {name: value for name, value in values.items() if name not in UNPRINTED}
        print(configuration_text(kept))
        raise SystemExit(0)
    of_request = ("seed", "seeds", "seeds_together", "tiny", "run_dir", "data_dir", "restart")
    shared: dict[str, Any] = {option: values[option] for option in of_request}
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


def _with_configuration(
    fields: list[tuple[str, Any, Any, str]], arguments: Sequence[str]
) -> list[tuple[str, Any, Any, str]]:
    """The fields with the values of a file `--config` as defaults."""
    names = [name for name, *_ in fields if name not in UNPRINTED]
    given = None
    for index, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option == "--config":
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            given = value if equals else following
    values = {} if given is None else read_configuration(Path(given), names)
    return [(name, kind, values.get(name, default), text) for name, kind, default, text in fields]


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
        fields.append((parameter.name, kind, parameter.default, text))
    parsed = _parse_fields(fields, command, function.__doc__ or "", arguments)
    function(**{name: getattr(parsed, name) for name, *_ in fields})


def _parse_fields(
    fields: Sequence[tuple[str, Any, Any, str]],
    command: str,
    description: str,
    arguments: Sequence[str],
) -> Any:
    """A dataclass object of `(name, type, default, help text)` fields, read from `arguments`."""
    import tyro

    specification: list[tuple[str, Any, Any]] = []
    for name, kind, default, text in fields:
        explained = tyro.conf.arg(help=text, metavar=_metavar(name, kind, default))
        annotation: Any = Annotated[kind, explained]  # type: ignore[valid-type]
        field = (
            dataclasses.field()
            if default is inspect.Parameter.empty
            else dataclasses.field(default=default)
        )
        specification.append((name, annotation, field))
    options: Any = dataclasses.make_dataclass("Options", specification, frozen=True)
    parsed, unknown = tyro.cli(
        options,
        prog=f"dgmjax {command}",
        description=description,
        args=list(arguments),
        return_unknown_args=True,
    )
    if unknown:
        option = unknown[0].partition("=")[0]
        known = [f"--{name.replace('_', '-')}" for name, *_ in fields]
        guess = nearest(option.replace("_", "-"), known) if option.startswith("-") else ""
        raise DgmjaxError(
            f"`dgmjax {command}` has no argument `{option}`. {guess}`dgmjax {command} --help` "
            "shows them all."
        )
    return parsed


def _metavar(name: str, kind: Any, default: Any) -> str | None:
    """The placeholder of the value in the help text; None for tyro's own choice."""
    if default is inspect.Parameter.empty:
        return name.upper()
    kinds = [entry for entry in get_args(kind) if entry is not type(None)]
    optional = type(None) in get_args(kind) and len(kinds) == 1 and isinstance(kinds[0], type)
    return kinds[0].__name__.upper() if optional else None
