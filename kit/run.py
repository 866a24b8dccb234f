#!/usr/bin/env python3
"""Installs a kit into a private folder and runs its stages, without a network.

    ./run                                 # stages 1, 2 and 3
    ./run --stages 2 --out results        # one of them; what is installed is used again
    ./run --miniature                     # every stage in small, as a rehearsal

Stages: 1 correctness (tests), 2 speed, 3 training runs. Each has a time limit and leaves its
records in the results folder as it goes, so that a cut-off loses one stage only. The results are at
most 8 files of at most 16 MB. Standard library only; Python must be the one that the kit was made
for, with the packages that its target has.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

KIT = Path(__file__).resolve().parent
SECONDS = {1: 300, 2: 480, 3: 600}
SHARE = 16e6
"""Bytes of a file of results."""

FACTS = """
import json, platform
from importlib import metadata
import jax
from dgmjax.runs.versions import package_versions
versions = package_versions()
for name in ("jax-cuda13-plugin", "torch", "chex"):
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
kinds = [f"{device.platform}: {device.device_kind}" for device in jax.devices()]
print(json.dumps({"versions": versions, "devices": kinds, "machine": platform.platform()}))
"""

ROOMS = ("tests/devices", "tests/nn", "tests/training")
"""Where tests are marked `accelerator`: to read all others takes longer than to run these."""

STAGES = {
    1: ["-m", "pytest", "-m", "accelerator", "-v", *ROOMS, "--durations=20"],
    2: ["-m", "benchmarks.device", "--out", "{out}/stage2.jsonl"],
    3: [
        "-m",
        "kit.headline",
        "--out",
        "{out}",
        "--folder",
        "{folder}/runs",
        "--seconds",
        "{seconds}",
    ],
}


def install(folder: Path) -> dict[str, str]:
    """The environment in which the kit's packages and data are found, both put there first."""
    site, data, ready = folder / "site", folder / "data", folder / "ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wheels = [str(path) for path in sorted((KIT / "wheels").glob("*.whl"))]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        options = ["--no-compile", "--disable-pip-version-check", "--upgrade", "--target", site]
        subprocess.run([*command, *options, *wheels], check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(KIT / "source")]),
        "PYTHONUNBUFFERED": "1",
        "DGMJAX_DATA": str(data),
        "DGMJAX_CACHE": str(folder / "compiled"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if not ready.exists():
        unpack = "import sys; from pathlib import Path; from kit.data import unpack\n"
        unpack += "for path in sys.argv[2:]: unpack(Path(path), Path(sys.argv[1]))"
        packed = [str(path) for path in sorted((KIT / "data").glob("*.npz"))]
        subprocess.run([sys.executable, "-c", unpack, data, *packed], env=environment, check=True)
        ready.touch()
    return environment


def facts(environment: dict[str, str], platforms: str | None) -> dict:
    """Versions and devices; sets `JAX_PLATFORMS` to what there is."""
    for chosen in [platforms] if platforms else ["cuda,cpu", "tpu,cpu", "cpu"]:
        environment["JAX_PLATFORMS"] = chosen
        done = subprocess.run(
            [sys.executable, "-c", FACTS], env=environment, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        # Some versions of JAX pass over a platform that is not there.
        if found and found["devices"][0].partition(":")[0] == "cpu" and chosen != "cpu":
            continue
        if found:
            found["platforms"] = chosen
            query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv"]
            with contextlib.suppress(OSError):
                found["cards"] = subprocess.run(query, capture_output=True, text=True).stdout
            return found
    raise SystemExit(f"error: JAX or dgmjax does not start:\n{done.stderr}")


def carry_out(stage: int, seconds: float, options: dict, environment: dict[str, str]) -> dict:
    """Runs a stage for at most `seconds`; its output goes to the log, and its end to a record."""
    out = options["out"]
    command = [part.format(**options, seconds=seconds) for part in STAGES[stage]]
    if options["miniature"] and stage > 1:
        command.append("--miniature")
    started, log = time.time(), out / ("stage1.log" if stage == 1 else "kit.log")
    with log.open("w" if stage == 1 else "a") as stream:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=KIT / "source",
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        late = False
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
            # Time to save what there is, then the end.
            for notice, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, None)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, notice)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
                    break
    _shorten(log)
    took = round(time.time() - started, 1)
    return {"stage": stage, "exit": process.returncode, "cut_off": late, "seconds": took}


def _shorten(log: Path) -> None:
    if log.stat().st_size > SHARE:
        text = log.read_bytes()
        log.write_bytes(text[:1_000_000] + b"\n[...]\n" + text[-int(SHARE / 2) :])


def main() -> int:
    parser = argparse.ArgumentParser(description="Install the kit and run its stages.")
    parser.add_argument("--stages", type=int, nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--folder", type=Path, default=Path("dgmjax-kit"), help="private folder")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of results")
    parser.add_argument("--seconds", type=float, nargs="+", help="limit of each of the stages")
    parser.add_argument("--platforms", help="JAX_PLATFORMS; what there is where left out")
    parser.add_argument("--miniature", action="store_true", help="everything in small")
    chosen = parser.parse_args()
    limits = chosen.seconds or [SECONDS[stage] for stage in chosen.stages]
    if len(limits) != len(chosen.stages):
        parser.error(f"--seconds must give a limit for each of the stages {chosen.stages}")
    folder, out = chosen.folder.resolve(), chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    environment = install(folder)
    record = facts(environment, chosen.platforms)
    record |= {"installed_in": round(time.time() - started, 1), "stages": []}
    print(json.dumps(record, indent=1), flush=True)
    options = {"out": out, "folder": folder, "miniature": chosen.miniature}
    for stage, seconds in zip(chosen.stages, limits):
        record["stages"].append(carry_out(stage, seconds, options, environment))
        (out / "kit.json").write_text(json.dumps(record, indent=1) + "\n")
        print(json.dumps(record["stages"][-1]), flush=True)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    print(json.dumps({"results": sizes}), flush=True)
    return int(any(stage["exit"] for stage in record["stages"]))


if __name__ == "__main__":
    sys.exit(main())
