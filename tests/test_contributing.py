"""The recipes of CONTRIBUTING.md, carried out in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```diff\n(.*?)```\n\n`pytest ([^`]*)`", TEXT, flags=re.DOTALL)


def test_there_are_four_recipes():
    assert len(RECIPES) == 4


@pytest.mark.parametrize("change, tests", RECIPES, ids=lambda text: text.split()[-1])
def test_a_recipe_is_complete(change, tests, tmp_path):
    if shutil.which("patch") is None:
        pytest.skip("`patch` is not installed")
    for name in ("dgmjax", "experiments", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        options = {"ignore": shutil.ignore_patterns("__pycache__")} if copy != shutil.copy else {}
        copy(ROOT / name, tmp_path / name, **options)
    # Where nothing is installed, the experiments are found inside of the package.
    (tmp_path / "dgmjax" / "experiments").symlink_to(tmp_path / "experiments")
    done = subprocess.run(
        ["patch", "-p1", "--fuzz=2"], cwd=tmp_path, input=change, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    command = [sys.executable, "-m", "pytest", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:]
    lines = change.count("\n+") - change.count("\n+++")
    print(f"{lines} lines added")
