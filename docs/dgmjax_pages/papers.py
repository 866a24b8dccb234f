"""Index of papers: the references of all docstrings, each with what cites it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .names import ROOT

_REFERENCE = re.compile(r'(?P<authors>[^"]*)"(?P<title>[^"]+)",? \(?(?P<year>\d{4})')
_ADDRESS = re.compile(r"https?://[^\s,;)]+[^\s,;).]")


def citations() -> dict[str, tuple[str, list[str]]]:
    """Address of a paper -> the paper in words, and the dotted names of what cites it."""
    words: dict[str, str] = {}
    places: dict[str, list[str]] = {}
    for folder, prefix in ((ROOT / "dgmjax", "dgmjax"), (ROOT / "experiments", "experiments")):
        for path in sorted(folder.rglob("*.py")):
            parts = [prefix, *path.relative_to(folder).with_suffix("").parts]
            module = ".".join(parts).removesuffix(".__init__")
            for name, text in _docstrings(path):
                for address, reference in _references(text):
                    words.setdefault(address, reference)
                    place = ".".join(filter(None, [module, name]))
                    if place not in places.setdefault(address, []):
                        places[address].append(place)
    found = {address: (words[address], places[address]) for address in words}
    return dict(sorted(found.items(), key=lambda entry: entry[1][0].lower()))


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield "", ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, ast.get_docstring(node) or ""
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", ast.get_docstring(inner) or ""


def _references(docstring: str) -> Iterator[tuple[str, str]]:
    """Address and words of each reference of a docstring that has a title."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        text = " ".join(paragraph.split())
        start = re.search(r"\bSources?\b[^:]*: ", text)
        if start is None:
            continue
        for part in re.split(r"; (?![^(]*\))", text[start.end() :]):
            address, reference = _ADDRESS.search(part), _REFERENCE.search(part)
            if address and reference:
                authors = reference["authors"].strip(" ,").removeprefix("the code of ")
                authors = authors.rpartition(": ")[2]  # without what is taken from there
                yield address[0], f"{authors}, “{reference['title']}”, {reference['year']}"


def page() -> str:
    """The index as a page of Markdown."""
    lines = [
        "# From paper to file",
        "",
        "Every paper that a docstring cites, by its first author, and what is built on it.",
        "",
    ]
    for address, (words, places) in citations().items():
        shown = ", ".join(f"`{place}`" for place in places)
        lines.append(f"- [{words}]({address}): {shown}")
    return "\n".join([*lines, ""])
