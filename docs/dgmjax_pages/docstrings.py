"""Docstrings as reStructuredText.

Docstrings are plain text: single backticks are code, `*`, `|` and `_` are themselves, and lines
that end early (a formula in each) stay lines. Public names become references.
"""

import itertools
import re
from functools import lru_cache

from .names import every_name

WIDTH = 100  # of a line of code; a line that the next word would have fitted ends on purpose
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Example|Examples|Note|Notes):$")
_CODE = re.compile(r"`+(?:[^`\n]|\n(?!\s*\n))+`+")


@lru_cache
def _targets() -> dict[str, str]:
    """What a docstring may call a public name -> its full name; unique names only."""
    found: dict[str, str] = {}
    short: dict[str, list[str]] = {}
    for name in every_name():
        found[name.public] = found[name.public.removeprefix("dgmjax.")] = name.public
        if name.name[0].isupper():
            short.setdefault(name.name, []).append(name.public)
    return {name: places[0] for name, places in short.items() if len(places) == 1} | found


def plain_docstring(text: str, indent: int = 0) -> str:
    """A docstring as reStructuredText; `indent` is that of its lines in the file."""
    return "\n".join(_paragraph(part, indent) for part in re.split(r"\n(?=\n)", text))


def _paragraph(text: str, indent: int) -> str:
    lines = text.split("\n")
    kept = [line for line in lines if line.strip()]
    if not kept or kept[0].lstrip().startswith(">>>"):
        return text
    if _SECTION.match(kept[0]):
        return escaped(text)
    if all(line.startswith("    ") for line in kept):  # commands, code
        return "\n".join(["", "::", "", *kept])
    shown = ["", *escaped("\n".join(kept)).split("\n")]
    ends = [_ends_early(a, b, indent) for a, b in itertools.pairwise(kept)]
    spread = any("\n" in code[0] for code in _CODE.finditer(text))
    if not any(ends) or spread or kept[0].startswith("- "):
        return "\n".join(shown)
    starts = [True, *(ended or line.startswith(" ") for ended, line in zip(ends, kept[1:]))]
    lines = [("| " if start else "  ") + line for start, line in zip(starts, shown[1:])]
    return "\n".join(["", *lines])


def _ends_early(line: str, following: str, indent: int) -> bool:
    """Whether a line of a paragraph ends although the next word would have fitted."""
    if following.startswith((" ", "- ", ">>>")):
        return following.startswith(" ") and not line.startswith("- ")
    return indent + len(line) + 1 + len(following.split()[0]) <= WIDTH - 4


def escaped(text: str) -> str:
    """Text with its code as literals or references, and everything else as it stands."""
    found, position = [], 0
    for code in _CODE.finditer(text):
        before, after = _literally(text[position : code.start()]), text[code.end() : code.end() + 1]
        # Markup must stand by itself; a backslash with a space, which is not shown, sees to it.
        found += [before, "" if re.search(r"(^|[\s'\"(\[{<\-/:])$", before) else "\\ "]
        found += [_reference(code[0]), "" if re.match(r"$|[\s'\")\]}>\-/:.,;!?]", after) else "\\ "]
        position = code.end()
    return "".join([*found, _literally(text[position:])])


def _literally(text: str) -> str:
    return re.sub(r"([*|`\\]|(?<=\w)_(?!\w))", r"\\\1", text)


def _reference(code: str) -> str:
    code = code.strip("`").strip()
    target = _targets().get(code)
    return f":py:obj:`{code} <{target}>`" if target else f"``{code}``"
