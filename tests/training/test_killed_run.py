"""SIGKILL at several moments, inside a save too: the resumed run equals the uninterrupted one."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("killed_run.py")


def run(folder, moment, count, cache, model="vae"):
    """Exit code and output of one process with one device."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    process = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), moment, str(count), model],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    return process.returncode, process.stdout.strip(), process.stderr


def metrics(folder):
    """The metrics without wall-clock times."""
    file = next(pathlib.Path(folder).rglob("metrics.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "examples_per_second"} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    code, output, errors = run(root / "run", "never", 0, root / "cache")
    assert code == 0, errors
    return output, metrics(root / "run"), root / "cache"


@pytest.mark.slow  # four processes; `test_fit` resumes to the bit after a signal
@pytest.mark.parametrize(
    "kills",
    [
        [("step", 5), ("saving", 3)],
        [("sealing", 2), ("step", 12), ("sealing", 1)],
    ],
)
def test_killed_and_resumed(uninterrupted, tmp_path, kills):
    expected, expected_metrics, cache = uninterrupted
    for moment, count in kills:
        code, _, errors = run(tmp_path / "run", moment, count, cache)
        assert code == -signal.SIGKILL, errors
    code, output, errors = run(tmp_path / "run", "never", 0, cache)
    assert code == 0, errors
    assert output == expected
    assert metrics(tmp_path / "run") == expected_metrics


@pytest.mark.slow
def test_a_progressive_run_is_killed_and_resumed_in_every_stage(tmp_path):
    """Before images grow at step 12, and while the finer level fades in."""
    cache = tmp_path / "cache"
    code, expected, errors = run(tmp_path / "whole", "never", 0, cache, "progressive")
    assert code == 0, errors
    for count, logged in ((6, range(6, 12)), (6, range(13, 21))):
        code, _, errors = run(tmp_path / "run", "step", count, cache, "progressive")
        assert code == -signal.SIGKILL, errors
        assert metrics(tmp_path / "run")[-1]["step"] in logged
    code, output, errors = run(tmp_path / "run", "never", 0, cache, "progressive")
    assert code == 0, errors
    assert output == expected
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


@pytest.mark.slow
def test_a_policy_is_killed_in_the_middle_of_episodes_and_resumed(tmp_path):
    """Episodes of 200 steps, of which a step of training takes 8, and a checkpoint 24."""
    cache = tmp_path / "cache"
    code, expected, errors = run(tmp_path / "whole", "never", 0, cache, "gail")
    assert code == 0, errors
    for moment, count in (("step", 6), ("saving", 3)):
        code, _, errors = run(tmp_path / "run", moment, count, cache, "gail")
        assert code == -signal.SIGKILL, errors
    code, output, errors = run(tmp_path / "run", "never", 0, cache, "gail")
    assert code == 0, errors
    assert output == expected
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
