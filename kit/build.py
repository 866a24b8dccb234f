"""Makes a kit: the wheels that a target lacks, data, tests, benchmarks, and the script `run`.

    make kit TARGET=cuda13 DGMJAX_DATA=...
    python -m kit.build --target cuda13 --data ... --out build/kit

Versions are those of `constraints.txt`. Wheels come from wherever pip's own configuration says.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kit.data import UNPACKED, pack
from kit.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[1]
WANTED = ("dgmjax[all]", "pytest", "hypothesis")
SOURCES = ("tests", "benchmarks", "kit", "pyproject.toml")
LIMIT = 60e6
"""Bytes of a kit."""


def missing(target: Target, wanted: Iterable[str] = WANTED) -> list[str]:
    """Normalised names of the distributions that the target lacks, dgmjax itself left out.

    Requirements are read from the distributions that are installed here, with the target's
    markers.
    """
    seen: set[tuple[str, str]] = set()

    def follow(requirement: Requirement) -> None:
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen or name in target.installed:
                continue
            seen.add((name, extra))
            try:
                needs = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                raise SystemExit(
                    f"error: {name} must be installed here, too: `make test`."
                ) from None
            for need in map(Requirement, needs):
                if need.marker is None or need.marker.evaluate(target.markers | {"extra": extra}):
                    follow(need)

    for requirement in wanted:
        follow(Requirement(requirement))
    return sorted({name for name, _ in seen} - {"dgmjax"})


def pinned(target: Target) -> dict[str, str]:
    """Normalised name to the version in `constraints.txt` for the target."""
    versions = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(target.markers):
            (version,) = requirement.specifier
            versions[canonicalize_name(requirement.name)] = version.version
    return versions


def pip(*arguments: str) -> bool:
    """Whether pip did it; it prints why not."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0


def fetch(target: Target, wheels: Path) -> None:
    """Downloads the missing wheels; those that are published as source only are built here."""
    versions = pinned(target)
    platforms = [option for tag in target.platforms for option in ("--platform", tag)]
    options = ["--no-deps", "--only-binary=:all:", "--implementation=cp", "-qq"]
    options += [f"--python-version={target.python}", *platforms, f"--dest={wheels}"]
    wanted = [f"{name}=={versions[name]}" for name in missing(target)]
    if not pip("download", *options, *wanted):
        for one in wanted:
            # A wheel made here serves elsewhere only where it is pure Python.
            if not pip("download", *options, one):
                print(f"{one} is published as source only: its wheel is built here")
                if not pip("wheel", "--no-deps", "-qq", f"--wheel-dir={wheels}", one):
                    raise SystemExit(f"error: no wheel of {one}")
    if not pip("wheel", "--no-deps", "-qq", f"--wheel-dir={wheels}", str(ROOT)):
        raise SystemExit("error: no wheel of dgmjax")
    kinds = ("-none-any.whl", f"{target.machine}.whl")
    for wheel in wheels.glob("*.whl"):
        if not wheel.name.endswith(kinds) or "-linux_" in wheel.name:
            raise SystemExit(f"error: {wheel.name} was compiled here and may not run elsewhere")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a kit for a machine without a network.")
    parser.add_argument("--target", choices=TARGETS, default="cuda13")
    parser.add_argument("--data", type=Path, help="folder of data sets; none is packed without it")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "kit")
    chosen = parser.parse_args(arguments)
    target, out = TARGETS[chosen.target], chosen.out
    shutil.rmtree(out, ignore_errors=True)
    for part in ("wheels", "data", "source"):
        (out / part).mkdir(parents=True)
    fetch(target, out / "wheels")
    if chosen.data is not None:
        for name in UNPACKED:
            pack(name, chosen.data, out / "data" / f"{name}.npz")
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", *SOURCES], capture_output=True, text=True
    )
    for name in filter(None, tracked.stdout.split("\0")):
        if not name.startswith("benchmarks/records/"):
            (out / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, out / "source" / name)
    shutil.copy2(ROOT / "kit" / "run.py", out / "run")
    (out / "run").chmod(0o755)
    return report(target, out)


def report(target: Target, out: Path) -> int:
    """Prints what the kit holds; 1 if it is too large."""
    print(f"for Python {target.python}; the target has {len(target.installed)} distributions")
    for path in sorted([*(out / "wheels").iterdir(), *(out / "data").iterdir()]):
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")
    files = [path for path in out.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    wheels = len(list((out / "wheels").iterdir()))
    print(
        f"{total / 1e6:8.2f} MB  in all: {wheels} wheels and {len(files) - wheels} files in {out}"
    )
    if total > LIMIT and target.installed:
        print(f"error: more than {LIMIT / 1e6:.0f} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
