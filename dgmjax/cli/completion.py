"""Shell completion of commands, experiments, options and their choices."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from dgmjax.cli.arguments import Asked, asking, option, parse
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue

Shell = Literal["bash", "zsh", "fish"]

_BASH = """\
_dgmjax() {
  local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(compgen -W "$(dgmjax complete -- "${words[@]}" 2>/dev/null)" -- "${words[-1]}"))
}
complete -o default -F _dgmjax dgmjax"""

SCRIPTS: Mapping[str, str] = {
    "bash": _BASH,
    "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}",
    "fish": "complete -c dgmjax -a "
    "'(dgmjax complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'",
}


def completion_command(arguments: list[str]) -> None:
    """`dgmjax completion`."""

    def completion(
        shell: Annotated[Shell, "bash, zsh or fish"],
    ) -> None:
        """Prints what the shell's start-up file may hold: `source <(dgmjax completion bash)`."""
        print(SCRIPTS[shell])

    parse(completion, "completion", arguments)


def complete_command(
    arguments: list[str], commands: Mapping[str, Callable[[list[str]], None]]
) -> None:
    """`dgmjax complete -- WORDS`: what may stand for the last of the words, one a line."""
    *before, last = arguments[1:] if arguments[:1] == ["--"] else arguments
    for candidate in candidates(before, commands):
        if candidate.startswith(last):
            print(candidate)


def candidates(before: list[str], commands: Mapping[str, Callable[[list[str]], None]]) -> list[str]:
    """What may follow the words of a command line."""
    if not before:
        return list(commands)
    name = before[0]
    if name == "data" and len(before) == 1:
        return ["get", "check"]
    if name in ("train", "sweep") and len(before) == 1:
        return [entry.name for entry in catalogue.catalogue()]
    if name not in commands or name == "sweep":
        name, before = "train", ["train", *before[1:]]
    try:
        with asking() as asked:
            commands[name](before[1:2] if name in ("train", "data") else [])
    except (Asked, DgmjaxError):
        pass  # `Asked` is how the options come out; an error of half a command is not yet one
    options = {option(f.name): f.kind for f in asked if f.default is not inspect.Parameter.empty}
    choices = [str(choice) for choice in _choices(options.get(before[-1]))]
    return choices or [name for name in options if name.startswith("--")]


def _choices(kind: Any) -> list[Any]:
    """The values of a `Literal`, optional or not; empty for any other type."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for part in get_args(kind) for choice in _choices(part)]
