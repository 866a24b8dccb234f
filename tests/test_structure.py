"""The house: imports go down, never in a circle, and names in prose exist."""

import ast
import re
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dgmjax"

FLOORS = [
    {"cli"},
    {"experiments"},
    {"applications"},
    {"lab"},
    {"evaluation"},
    {"training"},
    {"runs"},
    {"plotting"},
    {"devices"},
    {"objectives"},
    {"models"},
    {"nn"},
    {"inference"},
    {"distributions"},
    {"bijectors", "noising"},
    {"contracts"},
    {"files"},
    {"shapes", "masks", "bits"},
    {"lazy"},
    {"errors", "types"},
]
"""Rooms of `dgmjax`, from the top floor to the ground floor."""

ASIDE = {"data"}
"""Rooms that stand apart: they import the ground floors only."""

RECIPES = {"recipes", "image_recipes", "poisson"}
"""Files of recipes, in which a family of models may use another family."""


def modules() -> dict[str, Path]:
    """Dotted name to file, of every module of the package and of the experiments."""
    found = {}
    for folder, prefix in ((PACKAGE, "dgmjax"), (ROOT / "experiments", "dgmjax.experiments")):
        for path in sorted(folder.rglob("*.py")):
            parts = [prefix, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(name: str, everywhere: bool = True) -> set[str]:
    """Modules of the package that `name` imports, in functions too or at its top level only."""
    path, found = MODULES[name], set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= set(ast.walk(node))
        if not everywhere and isinstance(node, ast.FunctionDef | ast.Lambda):
            skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in MODULES else base)
    return {module for module in found if module in MODULES and module != name}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def floor(name: str) -> int:
    return next(index for index, rooms in enumerate(FLOORS) if name in rooms)


def test_every_room_has_a_floor():
    placed = set().union(*FLOORS) | ASIDE | {"", "__main__"}
    assert {room(module) for module in MODULES} <= placed


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    here = room(module)
    if here in ("", "__main__"):
        return
    for other in imported(module):
        there = room(other)
        if there in ("", here):
            continue
        if here in ASIDE:
            assert floor(there) >= floor("contracts"), f"{module} imports {other}"
        elif there in ASIDE:
            assert floor(here) <= floor("runs"), f"{module} imports {other}"
        else:
            assert floor(here) < floor(there), f"{module} imports {other}"


def test_no_circle():
    graph = {module: imported(module, everywhere=False) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_families_of_models_meet_in_recipes_only():
    for module in MODULES:
        parts = module.split(".")
        if parts[:2] != ["dgmjax", "models"] or len(parts) < 4:
            continue
        for other in imported(module):
            family = other.split(".")
            if family[:2] == ["dgmjax", "models"] and len(family) == 4 and family[2] != parts[2]:
                assert parts[3] in RECIPES, f"{module} imports {other}"


def test_every_dotted_name_exists():
    """In docstrings, comments and strings as well as in code: a rename leaves none behind."""
    wrong = []
    for path in tracked(".py", ".pyi", ".md", ".sh", ".yaml", ".toml"):
        for name in re.findall(r"(?<![\w/.])dgmjax((?:\.[A-Za-z_]\w*)+)", path.read_text()):
            if not exists(["dgmjax", *name.strip(".").split(".")]):
                wrong.append(f"{path.relative_to(ROOT)}: dgmjax{name}")
    assert not wrong, "\n".join(wrong)


def exists(parts: list[str]) -> bool:
    """Whether a dotted name is a module, or something that a module defines or offers."""
    known = len(parts)
    while ".".join(parts[:known]) not in MODULES:
        known -= 1
    if known == len(parts) or parts[known].startswith("__"):
        return True
    path = MODULES[".".join(parts[:known])]
    stub = path.with_suffix(".pyi")
    text = path.read_text() + (stub.read_text() if stub.exists() else "")
    return (
        re.search(rf"^ *(?:def|class) {parts[known]}\b|^ *{parts[known]}\b", text, re.M) is not None
    )


def test_every_file_that_is_named_exists():
    named = re.compile(r"(?<![\w/.<])(?:dgmjax|experiments|benchmarks|launch)/[\w/]+\.(?:py|md|sh)")
    example = re.compile(r"/mine\.py|process_program|dgmjax/x\.py")
    for path in tracked(".py", ".md"):
        for name in named.findall(path.read_text()):
            assert (ROOT / name).exists() or example.search(name), f"{path.name} names {name}"


def tracked(*suffixes: str) -> list[Path]:
    """Files of the repository, or all where it is no git checkout."""
    command = ["git", "-C", str(ROOT), "ls-files"]
    listed = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")
    paths = [ROOT / name for name in listed if name]
    if not paths:
        folders = ("dgmjax", "experiments", "benchmarks", "tests", "launch")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


PROBED = {
    ("leaf", "dtype"),
    ("mask", "dtype"),
    ("os", "getuid"),
    ("path", "write_bytes"),
    ("transform", "check"),
    ("value", "_fields"),
    ("value", "item"),
}
"""Arrays, values, paths and transforms, of which one may ask what they have: object, attribute."""


def test_models_are_asked_through_contracts_only():
    """No `hasattr` of a model, prior, network or likelihood: a named predicate says what it is."""
    found = set()
    for name, path in MODULES.items():
        if name.startswith("dgmjax.contracts"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr":
                value, attribute = node.args
                known = isinstance(attribute, ast.Constant)
                probed = attribute.value if known else ast.unparse(attribute)
                found.add((ast.unparse(value), probed))
    assert found == PROBED


def test_no_two_test_files_share_a_name():
    """Pytest imports a test file by its name alone: a second of that name is not collected."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_programs_do_not_choose_by_the_platform_of_the_process():
    """What is traced on one platform may be compiled for another: `carry.by_platform` chooses."""
    for path in tracked(".py"):
        if not {"devices", "benchmarks"} & set(path.relative_to(ROOT).parts):
            names = {
                getattr(node, "attr", None) or getattr(node, "id", None)
                for node in ast.walk(ast.parse(path.read_text()))
            }
            assert "default_backend" not in names, path


def test_the_quick_list_has_a_file_of_each_room():
    lines = (ROOT / "tests" / "quick.txt").read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if not line.startswith("#")]
    assert all((ROOT / name).is_file() for name in named) and len(set(named)) == len(named)
    rooms = {path.name for path in (ROOT / "tests").iterdir() if list(path.glob("test_*.py"))}
    left_out = {"docs", "faults", "devices"}  # programs of their own, and executed pages
    assert rooms - left_out <= {name.split("/")[1] for name in named}


def test_no_symbolic_link_is_tracked():
    """A link to a folder of one machine, checked out elsewhere, replaces what stands there."""
    command = ["git", "-C", str(ROOT), "ls-files", "--stage"]
    listed = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")
    assert not [line for line in listed if line.startswith("120000")]
