"""Commands that bring in and hand on: `export`, `push`, `pull`, `data get`, `data check`."""

from pathlib import Path
from typing import Annotated, Any

from dgmjax.cli.arguments import parse
from dgmjax.cli.training import prepare
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue

DATA_USAGE = """\
usage: dgmjax data COMMAND [arguments]

  get NAME      download the original files of a public data set, by checksum
  check PATH    read data of your own, say what was found and what can be trained on it

`dgmjax data COMMAND --help` says more."""


def export_command(arguments: list[str]) -> None:
    """`dgmjax export`."""

    def export(
        run: Annotated[Path, "the run folder"],
        *,
        out: Annotated[
            Path | None, "folder to write; `export` in the run folder if left out"
        ] = None,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        experiment: Annotated[str | None, "the .py file, if the run is of one"] = None,
    ) -> None:
        """Writes a trained model to share: safetensors, JSON, a card, compiled functions."""
        prepare(start_devices=True)
        from dgmjax import lab

        loaded = lab.load_run(run, data_dir=data_dir, experiment=experiment)
        folder = lab.export(loaded, run / "export" if out is None else out)
        for file in sorted(folder.iterdir()):
            print(f"{file}  {file.stat().st_size} bytes")

    parse(export, "export", arguments)


def push_command(arguments: list[str]) -> None:
    """`dgmjax push`."""

    def push(
        folder: Annotated[Path, "an exported model"],
        place: Annotated[str, "a folder, or hf:owner/name"],
    ) -> None:
        """Copies an exported model to a folder or to a model hub."""
        from dgmjax.lab.hub import push as copy

        print(copy(folder, place))

    parse(push, "push", arguments)


def pull_command(arguments: list[str]) -> None:
    """`dgmjax pull`."""

    def pull(
        place: Annotated[str, "a folder, hf:owner/name or gallery:NAME"],
        folder: Annotated[Path, "where to write it"],
    ) -> None:
        """Copies an exported model from a folder or a model hub and compares its checksums."""
        from dgmjax.lab.hub import pull as copy

        print(copy(place, folder))

    parse(pull, "pull", arguments)


def data_command(arguments: list[str]) -> None:
    """`dgmjax data`."""
    commands = {"get": _data_get, "check": _data_check}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(DATA_USAGE)
        return
    name = arguments[0]
    guess = catalogue.nearest(name, list(commands))
    if name not in commands:
        raise DgmjaxError(f"There is no command `data {name}`. {guess}It is `get` or `check`.")
    commands[name](arguments[1:])


def _data_get(arguments: list[str]) -> None:
    def get(
        name: Annotated[str, "mnist, binarized_mnist, fashion_mnist or tinyshakespeare"],
        *,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
        mirror: Annotated[
            str | None, "address (http, https or file) of a copy of the files"
        ] = None,
    ) -> None:
        """Downloads the original files of a public data set; the same command continues."""
        from dgmjax.data.reading.folders import data_dir as folder_of
        from dgmjax.data.sources.downloads import get as download

        folder = folder_of(data_dir)
        download(name, folder, base=mirror)
        print(f"read by `--data-dir {folder}`, or `export DGMJAX_DATA={folder}` once and for all")

    parse(get, "data get", arguments)


def _data_check(arguments: list[str]) -> None:
    def check(
        path: Annotated[str, "a file, a folder, or the name of a data set"],
        *,
        size: Annotated[int | None, "side to which the pictures of a folder are resized"] = None,
        data_dir: Annotated[str | None, "folder of data sets, in place of $DGMJAX_DATA"] = None,
    ) -> None:
        """Reads a data set and prints what it found, and what can be trained on it."""
        prepare()
        from dgmjax.data import load
        from dgmjax.data.summaries import summary

        options: dict[str, Any] = {} if size is None else {"size": size}
        print(summary(load(path, data_dir=data_dir, **options), path))

    parse(check, "data check", arguments)
