"""Gallery: pictures, each with the command that made it and the record of that run."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from .names import ROOT

FOLDER = ROOT / "docs" / "gallery"


class Picture(NamedTuple):
    """A row of `gallery.toml`.

    Attributes:
      file: of the picture, in the folder.
      caption: what is seen.
      command: that made it; several lines where runs build on each other.
      record: file of `benchmarks/records`, or "".
    """

    file: str
    caption: str
    command: str
    record: str = ""


def pictures(folder: Path = FOLDER) -> list[Picture]:
    """The rows of `gallery.toml`, in their order."""
    rows = tomllib.loads((folder / "gallery.toml").read_text(encoding="utf-8"))
    return [Picture(**row) for row in rows["picture"]]


def page() -> str:
    """The gallery as a page of Markdown."""
    lines = ["# Gallery", "", "Figures of runs, with the command of each and its record.", ""]
    lines += [
        "Data are found by `--data-dir` or `DGMJAX_DATA`; RUN is the folder of the run before.",
        "",
    ]
    for picture in pictures():
        lines += [
            f"## {picture.caption}",
            "",
            f"![{picture.caption}]({picture.file})",
            "",
            "```sh",
            picture.command,
            "```",
            "",
        ]
        if picture.record:
            lines += [f"{{download}}`Record <../../benchmarks/records/{picture.record}>`", ""]
    return "\n".join(lines)
