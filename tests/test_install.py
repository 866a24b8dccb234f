"""Wheel and sdist, installed from the package index into a fresh environment, as a user does it.

Needs a package index; `make test-install` runs it. Each test prints its figures.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fresh import ROOT, copy_of_the_checkout, run

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
JAX_AND_TFP = {
    *("jax", "jaxlib", "ml-dtypes", "numpy", "opt-einsum", "scipy"),
    *("tfp-nightly", "absl-py", "six", "decorator", "cloudpickle", "gast", "dm-tree"),
    *("attrs", "wrapt"),  # of dm-tree
}
"""Packages that jax and TensorFlow Probability bring."""

SIZE = """
import os, sysconfig
sizes = {True: 0, False: 0}
for at, _, names in os.walk(sysconfig.get_path("purelib")):
    for name in names:
        if "/pip" not in at and "/setuptools" not in at:
            sizes["__pycache__" in at] += os.lstat(os.path.join(at, name)).st_size
print(sizes[False] / 2**20, sizes[True] / 2**20)
"""
"""Prints the MiB of what the packages hold, and of the bytecode that pip compiles from it."""

IMPORT = """
import time
from dgmjax.bijectors import Planar
print(time.process_time())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the sdist as `python -m build` does."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    copy_of_the_checkout(source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source)
    assert len(list(out.glob("dgmjax-*.tar.gz"))) == 1
    return next(out.glob("dgmjax-*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A fresh environment with the base package alone."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", home)
    install(home / "bin" / "python", wheel)
    return home / "bin" / "python"


def install(python: Path, what: object) -> None:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(python, *pip, "-c", ROOT / "constraints.txt", what)


def test_the_base_package_is_small_and_quick_to_import(python, tmp_path):
    listed = run(python, "-m", "pip", "list", "--format=freeze").lower().split()
    names = {line.partition("==")[0].replace("_", "-") for line in listed}
    others = names - JAX_AND_TFP - {"pip", "setuptools", "dgmjax"}
    megabytes, bytecode = map(float, run(python, "-c", SIZE).split())
    seconds = min(float(run(python, "-c", IMPORT, cwd=tmp_path)) for _ in range(3))
    print(f"\nbase install: {megabytes:.0f} MiB, and {bytecode:.0f} MiB of bytecode")
    print(f"packages: {len(names) - 2}; beside jax's and TFP's: {', '.join(sorted(others))}")
    print(f"one bijector imported in {seconds:.2f} s of CPU")
    assert megabytes <= 600 and len(others) <= 15 and seconds <= 2.0
    bijector = next(block for block in BLOCKS if "dgmjax.bijectors" in block)
    run(python, "-c", bijector, cwd=tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ("-c", "from dgmjax.models import MAF"),
        ("-c", "from dgmjax import data; data.load('digits')"),
        ("-m", "dgmjax", "list"),
    ],
)
def test_what_an_extra_brings_is_named_where_it_is_missing(python, command, tmp_path):
    done = subprocess.run(
        [python, *command], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert done.returncode != 0
    assert "it comes with `pip install 'dgmjax[train]'`" in done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def project(python, wheel, tmp_path_factory):
    """A project of the user's own, with `experiments/` in it, and models and training installed."""
    install(python, f"{wheel}[train]")
    folder = tmp_path_factory.mktemp("project")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    (folder / "data.py").write_text(OWN_DATA)
    run(python, "data.py", cwd=folder)
    return folder


OWN_DATA = """
import pathlib
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
digits = load_digits()
pathlib.Path("photos").mkdir()
for index, image in enumerate(digits.images[:200]):
    grey = np.kron(image * 15.9, np.ones((3, 4))).astype(np.uint8)
    Image.fromarray(np.stack([grey, 255 - grey, grey], -1)).save(f"photos/{index:03}.png")
x = np.random.default_rng(0).normal(size=(500, 3))
np.savetxt("table.csv", x, delimiter=",", header="a,b,c", comments="")
"""
TINY = ("--tiny", "--steps", 4)


def dgmjax(python, folder, *arguments):
    return run(python, "-m", "dgmjax", *arguments, cwd=folder)


def test_the_code_of_the_readme_runs_in_a_project_with_its_own_experiments(python, project):
    for number, block in enumerate(BLOCKS):
        if "load_run" in block and "lab.train" not in block:
            dgmjax(
                python, project, "train", "vae_digits", *TINY, "--run-dir", "runs/vae_digits/seed0"
            )
        (project / f"block{number}.py").write_text(block)
        run(python, f"block{number}.py", cwd=project)
    print(f"\n{len(BLOCKS)} blocks of the README ran")


def test_an_experiment_of_ones_own_trains(python, project):
    dgmjax(python, project, "new", "mine.py")
    out = dgmjax(python, project, "train", "mine.py", *TINY)
    assert "mine.py: nll_bound_k1" in out and list(project.glob("runs/mine.py/*/report.html"))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("vae_mnist", ("--dataset", "photos", "--size", 8, "--grey", "--batch-size", 32)),
        ("uci_density", ("--dataset", "table.csv")),
    ],
)
def test_pictures_and_a_table_of_ones_own_are_trained_on(python, project, name, arguments):
    checked = dgmjax(python, project, "data", "check", arguments[1])
    assert f"dgmjax train {name} --dataset {arguments[1]}" in checked
    out = dgmjax(python, project, "train", name, *arguments, *TINY)
    assert f"on {arguments[1]} test" in out
