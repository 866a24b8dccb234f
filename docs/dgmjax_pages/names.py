"""Public names: those that the stubs of the packages list."""

import ast
import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Name(NamedTuple):
    """A public name: the package that offers it, the module that defines it, and its group."""

    package: str
    name: str
    module: str

    @property
    def public(self) -> str:
        return f"{self.package}.{self.name}"

    @property
    def group(self) -> str:
        """The folder of the package that the module lies in, or ""."""
        inside = self.module.removeprefix(self.package).strip(".").split(".")
        return inside[0] if len(inside) > 1 else ""


def stubs() -> list[Path]:
    """Every stub that lists public names."""
    return sorted((ROOT / "dgmjax").rglob("__init__.pyi"))


def public_names(stub: Path) -> list[Name]:
    """The names that a stub lists."""
    package = ".".join(stub.parent.relative_to(ROOT).parts)
    found = []
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [package, node.module]))
            found += [Name(package, alias.name, module) for alias in node.names]
    return found


@lru_cache
def every_name() -> list[Name]:
    """All public names, the packages themselves left out."""
    packages = {".".join(stub.parent.relative_to(ROOT).parts) for stub in stubs()}
    names = [name for stub in stubs() for name in public_names(stub)]
    return [name for name in names if name.public not in packages]


def value_of(name: Name) -> Any:
    """The object itself."""
    return getattr(importlib.import_module(name.package), name.name)
