"""Training runs at published size, by value per second; what each leaves comes back at once.

    python -m kit.headline --folder runs --out results --seconds 600

A run that its limit cuts off is measured as it is, and its checkpoint comes back, so that the same
command goes on from there. Schedules are constant with averaged parameters: the end is not known.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

SHARE, FILES = 15_500_000, 3
"""Bytes of an archive of results, and their number."""


@dataclass(frozen=True)
class Run:
    """Arguments of `dgmjax train`, and the seconds that they are worth."""

    name: str
    arguments: str
    seconds: float


STEADY = "--schedule constant --ema-decay 0.9995"
RUNS = (
    Run("flow_matching", "flow_matching_mnist --epochs 40", 90),
    Run("gated", f"pixelcnn_binarized_mnist --network gated --epochs 20 {STEADY}", 90),
    Run("iwae_dynamic", f"iwae_mnist --num-samples 50 --epochs 3280 {STEADY}", 90),
    Run("vamp", f"vae_priors_mnist --epochs 2000 {STEADY}", 60),
    Run("sylvester", f"vae_posteriors_mnist --epochs 2000 {STEADY}", 60),
    Run("two_layers", f"hierarchical_mnist --bound iwae --num-samples 50 {STEADY}", 60),
    Run(
        "iwae_static",
        f"iwae_mnist --num-samples 50 --binarisation static --epochs 3280 {STEADY}",
        60,
    ),
    Run("glow", "image_flow --flow glow --dataset mnist --schedule constant", 90),
    Run("gan", "gan_mnist --steps 20000", 60),
    Run("pixelcnn", f"pixelcnn_binarized_mnist --epochs 20 {STEADY}", 60),
    Run(
        "made_orders",
        "made_binarized_mnist --hidden 8000 8000 --num-orders 32 --epochs 40 --schedule constant",
        90,
    ),
    Run(
        "wgan_gp",
        "gan_mnist --steps 20000 --game wasserstein --penalty lines --penalty-weight 10 "
        "--critic-normalisation layer",
        60,
    ),
)
MEASURING = 60.0
"""Seconds for `dgmjax evaluate` after a run that was cut off."""


def command(arguments: list[str], seconds: float) -> int:
    """The exit code of `dgmjax`, asked to stop after this many seconds."""
    process = subprocess.Popen([sys.executable, "-m", "dgmjax", *arguments])
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def carry_out(run: Run, folder: Path, data: str | None, miniature: bool) -> dict:
    """Trains, measures where that was cut off, and says how it went."""
    home, started = folder / run.name, time.time()
    arguments = ["train", *run.arguments.split(), "--run-dir", str(home)]
    arguments += ["--data-dir", data] if data and not miniature else []
    arguments += ["--tiny", "--steps", "4"] if miniature else []
    code = command(arguments, run.seconds)
    finished = (home / "results.json").is_file()
    if not finished and home.is_dir():
        command(["evaluate", str(home)], MEASURING)
    record = {"run": run.name, "exit": code, "finished": finished}
    record["seconds"] = round(time.time() - started, 1)
    with contextlib.suppress(OSError, ValueError):
        rows = json.loads((home / "results.json").read_text())
        record["results"] = rows
    return record


def bring_back(homes: list[Path], out: Path) -> None:
    """Archives of the run folders, none above `SHARE`; a folder too large leaves its arrays."""
    archives: list[list[tuple[Path, bytes]]] = [[] for _ in range(FILES)]
    sizes = [0] * FILES
    for home in homes:
        packed = _packed(home, lambda path: True)
        if len(packed) > SHARE - min(sizes):
            packed = _packed(home, lambda path: "checkpoints" not in path.parts)
        place = sizes.index(min(sizes))
        if sizes[place] + len(packed) <= SHARE:
            archives[place].append((home, packed))
            sizes[place] += len(packed)
    for number, members in enumerate(archives):
        path = out / f"stage3-{number}.tar"
        if not members:
            continue
        with tarfile.open(path.with_suffix(".part"), "w") as archive:
            for home, packed in members:
                info = tarfile.TarInfo(f"{home.name}.tar.gz")
                info.size = len(packed)
                archive.addfile(info, io.BytesIO(packed))
        os.replace(path.with_suffix(".part"), path)


def _packed(home: Path, wanted) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path in sorted(home.rglob("*")):
            if path.is_file() and path.suffix != ".pdf" and wanted(path.relative_to(home)):
                archive.add(path, str(path.relative_to(home.parent)), recursive=False)
    return content.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description="Training runs, by value per second.")
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--seconds", type=float, default=600.0, help="for all of them")
    parser.add_argument("--only", nargs="+", choices=[run.name for run in RUNS])
    parser.add_argument("--miniature", action="store_true", help="three runs of a few steps")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    runs = [run for run in RUNS if chosen.only is None or run.name in chosen.only]
    end, homes, failures = time.time() + chosen.seconds, [], 0
    for run in runs[:3] if chosen.miniature else runs:
        if time.time() + run.seconds + MEASURING > end and homes:
            print(f"no time is left for {run.name}", flush=True)
            continue
        record = carry_out(run, chosen.folder, os.environ.get("DGMJAX_DATA"), chosen.miniature)
        failures += "results" not in record
        print(json.dumps(record), flush=True)
        with (chosen.out / "stage3.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        homes.append(chosen.folder / run.name)
        bring_back([home for home in homes if home.is_dir()], chosen.out)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
