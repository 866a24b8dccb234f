"""Copies of the checkout, and commands in other environments."""

import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("dgmjax/", "experiments/", "pyproject.toml", "setup.py", "README.md", "LICENSE")
BESIDE = ("MANIFEST.in", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "constraints.txt")


def run(*command: Any, **options: Any) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        list(map(str, command)), **{"capture_output": True, "text": True, "timeout": 900, **options}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_of_the_checkout(folder: Path) -> None:
    """Copies all that the distribution is made of, so that no build folder is left here."""
    listed = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in listed:
        if name.startswith(PARTS + BESIDE) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
