"""Reference pages: every name that a stub of the package lists, in the order of the stub."""

import ast
import inspect
import itertools
from collections.abc import Iterator
from types import ModuleType

from .docstrings import escaped
from .names import ROOT, Name, every_name, value_of


def pages() -> dict[str, str]:
    """File name to text of each reference page, `index.rst` among them."""
    grouped: dict[tuple[str, str], list[Name]] = {}
    for name in every_name():
        grouped.setdefault((name.package, name.group), []).append(name)
    texts = {
        _file(package, group): _page(package, group, names)
        for (package, group), names in grouped.items()
    }
    listed = "\n".join(f"   {file.removesuffix('.rst')}" for file in sorted(texts))
    texts["index.rst"] = "\n".join(
        [
            *_heading("Reference", "="),
            "Every public name, with its docstring; conventions are in :doc:`../concepts`.",
            "",
            ".. toctree::",
            "   :maxdepth: 1",
            "",
            listed,
            "",
        ]
    )
    return texts


def _file(package: str, group: str) -> str:
    return ".".join(filter(None, [package.removeprefix("dgmjax."), group, "rst"]))


def _page(package: str, group: str, names: list[Name]) -> str:
    title = f"{package}: {group}" if group else package
    lines = _heading(title, "=")
    if not group:
        lines += [f".. automodule:: {package}", "   :no-members:", "   :no-index:", ""]
    for name in names:
        lines += [*_heading(name.name, "-"), *_entry(name)]
    return "\n".join(lines)


def _entry(name: Name) -> Iterator[str]:
    value = value_of(name)
    # The same object in two packages has one target of references.
    others = [other for other in every_name() if other.name == name.name]
    first = next(other for other in others if value_of(other) is value)
    if first != name:
        same = f"   The same as :py:obj:`{first.public}`."
        yield from (f".. py:class:: {name.public}", "", same, "")
        return
    if isinstance(value, ModuleType):
        yield from _module(value.__name__)
    elif inspect.isclass(value) and value.__module__.startswith("dgmjax."):
        yield from (f".. autoclass:: {name.public}", "   :members:", "")
    elif inspect.isroutine(value):
        yield from (f".. autofunction:: {name.public}", "")
    else:
        text = escaped(text_beside(name))
        yield from (f".. py:data:: {name.public}", "", f"   {text}", "")


def text_beside(name: Name) -> str:
    """The first paragraph of the string below an assignment, or ""."""
    path = ROOT / f"{name.module.replace('.', '/')}.py"
    for node, after in itertools.pairwise(ast.parse(path.read_text(encoding="utf-8")).body):
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        text = after.value if isinstance(after, ast.Expr) else None
        if name.name in map(ast.unparse, targets) and isinstance(text, ast.Constant):
            return " ".join(str(text.value).partition("\n\n")[0].split())
    return ""


def _module(name: str) -> list[str]:
    return [f".. automodule:: {name}", "   :members:", ""]


def _heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]
