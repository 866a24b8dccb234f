"""A killed training process is started again, and ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def child_of(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[0]) if found else None


@pytest.mark.fault
def test_a_killed_run_is_restarted(tmp_path, capsys):
    command = [
        sys.executable,
        "-m",
        "dgmjax",
        "train",
        "realnvp_moons",
        "--tiny",
        "--steps",
        "6000",
    ]
    options = ["--restart", "3", "--checkpoint-every", "5", "--run-dir", str(tmp_path / "run")]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    steps = tmp_path / "run" / "checkpoints" / "latest" / "steps"
    try:
        for least in (10, 30):
            while not any(p.name.isdecimal() and int(p.name) >= least for p in steps.glob("*")):
                assert process.poll() is None and time.perf_counter() - started < 90
                time.sleep(0.02)
            os.kill(child_of(process.pid), signal.SIGKILL)
        time.sleep(0.5)
        while child_of(process.pid) is None:
            time.sleep(0.05)
        time.sleep(5.0)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    with capsys.disabled():
        print(f"\ntwo kills, two restarts, SIGTERM: {time.perf_counter() - started:.1f} s")
    assert said.count("restart: training crashed (SIGKILL)") == 2, said
    assert process.returncode == 130 and "interrupted" in said, said


@pytest.mark.fault
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_at_any_moment_ends_with_a_word(tmp_path, capsys, name):
    command = [sys.executable, "-m", "dgmjax", "train", "realnvp_moons", "--tiny"]
    codes = {}
    for seconds in (0.6, 1.2, 2.0, 3.0, 4.0, 5.0):
        process = subprocess.Popen(
            [*command, "--run-dir", str(tmp_path / str(seconds))],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(seconds)
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=60)
        codes[seconds] = process.returncode
        assert process.returncode in (0, 130), (seconds, process.returncode, said)
        assert process.returncode == 0 or "interrupted" in said, (seconds, said)
    with capsys.disabled():
        print(f"\n{name} after so many seconds, exit codes: {codes}")
    assert 130 in codes.values()
