"""SIGKILL at a hundred random moments, inside saves too; and how soon SIGTERM ends a run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("many_kills.py")


def run(folder, kills):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(folder), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.fault
def test_a_run_killed_a_hundred_times_equals_an_uninterrupted_one(tmp_path, capsys):
    whole = run(tmp_path / "whole", 0)
    parts = run(tmp_path / "parts", 100)
    with capsys.disabled():
        print(
            f"\n{parts['kills']} kills over {len(parts['made'])} steps: equal digests "
            f"{parts['digest'] == whole['digest']}, at most {max(parts['repeated'])} steps repeated"
        )
    assert parts["kills"] == 100
    assert parts["digest"] == whole["digest"]
    # What made the result is every step once, so every example as often as in the whole run.
    assert parts["made"] == whole["made"]
    assert max(parts["repeated"]) <= parts["interval"]


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_the_command_soon(tmp_path, capsys, number):
    """Within two seconds and one step (a compiled call of about a second at most)."""
    command = [sys.executable, "-m", "dgmjax", "train", "vae_digits", "--epochs", "100000"]
    command += ["--run-dir", str(tmp_path / "run"), "--checkpoint-every", "1000000"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    for line in process.stderr:
        if re.match(r"step \d+/", line):
            break
    time.sleep(1.0)
    started = time.perf_counter()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\n{number.name}: saved and ended after {seconds:.2f} s")
    assert process.returncode == 130, errors
    assert "continues from the last checkpoint" in errors
    (saved,) = (tmp_path / "run" / "checkpoints" / "latest" / "steps").iterdir()
    assert int(saved.name) > 0
    assert seconds < 3.0
