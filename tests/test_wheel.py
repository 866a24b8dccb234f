"""The built wheel, installed: a user's own `experiments` hides none of ours; stubs are there."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile

import pytest
from fresh import ROOT, copy_of_the_checkout, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)

MINE = """
    from dgmjax.experiments.latent.vae_digits import vae_digits
    from experiments.helper import LATENT


    def mine(*, latent: int = LATENT, tiny: bool = False):
        '''An experiment of a user's own package.

        Args:
          latent: dimensions of z.
        '''
        from dgmjax.lab import catalogue

        return catalogue.build(vae_digits, {"latent": latent, "epochs": 1}, tiny=tiny)
"""


PLANTED = """
from dgmjax import models, objectives
from dgmjax.bijectors import Planer

models.DenseVEA((4,), 2, (8,))
objectives.elbo_of(None)
vae: int = models.DenseVAE((4,), latent=2, hidden=(8,))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the checkout, so that no build folder is left in it."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    copy_of_the_checkout(source)
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--disable-pip-version-check", "--no-index", "-w", folder, source),
    )
    return next(folder.glob("dgmjax-*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A fresh environment in which the wheel is installed, over the dependencies of this one."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home)
    site = next((home / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if "site-packages" in p))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return home / "bin" / "python"


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"dgmjax", wheel.name[:12] + ".dist-info"}
    for name in (
        "py.typed",
        "__init__.pyi",
        "models/__init__.pyi",
        "evaluation/samples/weights/lenet.json",
        "evaluation/samples/weights/lenet_mnist.npz",
        "gallery/maf/model.json",
        "gallery/pixelcnn/model.safetensors",
        "gallery/pixelcnn/sample.stablehlo",
        "experiments/flows/__init__.py",
    ):
        assert f"dgmjax/{name}" in names, name
    sources = {
        str(p.relative_to(ROOT)) for p in (ROOT / "dgmjax").rglob("*.py*") if p.suffix != ".pyc"
    }
    assert {f for f in sources if "__pycache__" not in f} <= set(names)


def test_a_users_own_experiments_hide_none_of_ours(python, tmp_path):
    own = tmp_path / "experiments"
    own.mkdir()
    (own / "__init__.py").write_text("")
    (own / "helper.py").write_text("LATENT = 3\n")
    (own / "mine.py").write_text(textwrap.dedent(MINE))
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "DGMJAX_CACHE": "off",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    options = {"cwd": tmp_path, "env": environment}
    where = run(python, "-c", "import dgmjax; print(dgmjax.__file__)", **options)
    assert str(python.parents[1]) in where
    listed = run(python, "-m", "dgmjax", "list", **options)
    assert "vae_mnist" in listed and "maf_moons" in listed and "helper" not in listed
    printed = run(
        python, "-m", "dgmjax", "train", "experiments/mine.py", "--tiny", "--steps", 2, **options
    )
    assert "report" in printed
    assert list(tmp_path.glob("runs/mine.py/*/results.json"))


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A folder with the README's blocks of Python and a file of planted errors."""
    folder = tmp_path_factory.mktemp("typed")
    for index, block in enumerate(BLOCKS):
        (folder / f"block{index}.py").write_text(block)
    (folder / "planted.py").write_text(PLANTED)
    (folder / "mypy.ini").write_text("[mypy]\nignore_missing_imports = true\n")
    return folder


@pytest.mark.parametrize(
    "checker",
    [
        pytest.param(
            (sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable"),
            marks=pytest.mark.slow,
        ),
        ("pyright", "--pythonpath"),
    ],
    ids=["mypy", "pyright"],
)
def test_type_checkers_see_through_the_lazy_packages(checker, python, typed):
    """The README's code is clean, and misspellings and wrong types are found."""
    if shutil.which(checker[0]) is None:
        pytest.skip(f"{checker[0]} is not installed")
    command = [*checker, str(python), *(["."] if checker[0] != "pyright" else [])]
    done = subprocess.run(command, cwd=typed, capture_output=True, text=True, timeout=900)
    wrong = [line for line in done.stdout.splitlines() if "error" in line]
    assert len(BLOCKS) >= 3 and not [line for line in wrong if "block" in line], done.stdout
    for name in ("Planer", "DenseVEA", "elbo_of"):
        assert [line for line in wrong if f'"{name}"' in line and "planted" in line], done.stdout
    assert [line for line in wrong if '"VAE"' in line and '"int"' in line], done.stdout
