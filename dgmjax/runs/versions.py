"""Versions of packages, devices and the git commit of a run. Importing imports no JAX."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import dgmjax

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "distrax",
    "tfp-nightly",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
    "scipy",
    "scikit-learn",
)


def package_versions() -> dict[str, str]:
    """Name to version of Python, dgmjax, and those `PACKAGES` that are installed."""
    versions = {"python": platform.python_version(), "dgmjax": dgmjax.__version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def device_description() -> str:
    """Kind and number of the devices of all processes, such as `cpu x 8`."""
    import jax

    devices = jax.devices()
    return f"{devices[0].device_kind} x {len(devices)}"


def git_commit() -> str | None:
    """The commit that dgmjax's own code is at, with `+changes` if it differs; None outside git."""
    root = Path(dgmjax.__file__).parents[1]
    if _git(root, "ls-files", "--error-unmatch", "dgmjax/__init__.py") is None:
        return None  # installed, perhaps inside the repository of something else
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit and commit + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
