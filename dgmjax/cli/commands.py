"""Commands: `dgmjax list | train | evaluate | sample | report | ...`.

Help and usage errors import no JAX. Exit codes: 0 done, 2 invalid input, 130 interrupted.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from dgmjax.cli.comparing import compare_command
from dgmjax.cli.completion import complete_command, completion_command
from dgmjax.cli.exchange import data_command, export_command, pull_command, push_command
from dgmjax.cli.listing import list_command
from dgmjax.cli.measuring import evaluate_command, report_command, sample_command
from dgmjax.cli.stopping import STOPPING
from dgmjax.cli.streams import unfailing_streams
from dgmjax.cli.training import new_command, sweep_command, train_command
from dgmjax.errors import DgmjaxError, HardwareFault, NotConverged, TrainingDiverged
from dgmjax.lab import catalogue
from dgmjax.lazy import extras_named

USAGE = """\
usage: dgmjax COMMAND [arguments]

  list                 the experiments, each with the number it must reach
  train EXPERIMENT     train one, or resume it; EXPERIMENT is a name or a .py file of your own
  evaluate RUN         measure a trained run again and write its results.json
  sample RUN           draw samples from a trained run, or from gallery:NAME
  report RUN           write the run's report.html
  sweep EXPERIMENT     train it over values of its arguments and seeds
  compare RUN RUN ...  runs in one table, as a page or as CSV
  export RUN           write a trained model to share: safetensors, JSON, compiled functions
  push, pull           copy an exported model to or from a folder or a model hub
  completion SHELL     print what completes commands and options: bash, zsh or fish
  new FILE.py          write an experiment of your own, commented, that trains as it stands
  data get NAME        download the original files of a public data set
  data check PATH      read data of your own and say what they are

RUN is the run folder that `train` prints. `dgmjax COMMAND --help` says more; `--traceback`
(or DGMJAX_TRACEBACK=1) shows where an error comes from."""

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": list_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "sample": sample_command,
    "report": report_command,
    "sweep": sweep_command,
    "compare": compare_command,
    "export": export_command,
    "push": push_command,
    "pull": pull_command,
    "new": new_command,
    "data": data_command,
    "completion": completion_command,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Failures to print do not end it."""
    with unfailing_streams():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments or bool(os.environ.get("DGMJAX_TRACEBACK"))
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        with STOPPING, extras_named():
            _command(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        number = STOPPING.received
        by = "" if number in (None, signal.SIGINT) else f" by {number.name}"
        print(
            f"interrupted{by}; the same command continues from the last checkpoint", file=sys.stderr
        )
        return 130
    except (DgmjaxError, HardwareFault, TrainingDiverged, NotConverged) as problem:
        if traceback:
            raise
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def _command(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(USAGE)
    elif name == "--version":
        from dgmjax import __version__

        print(f"dgmjax {__version__}")
    elif name == "complete":  # asked by the shell
        complete_command(arguments[1:], COMMANDS)
    elif name in COMMANDS:
        COMMANDS[name](arguments[1:])
    else:
        guess = catalogue.nearest(name, list(COMMANDS))
        raise DgmjaxError(f"There is no command `{name}`. {guess}`dgmjax --help` shows them all.")
