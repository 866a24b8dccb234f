"""Several processes on this machine: equal to one, and gone soon after one of them dies."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dgmjax.devices import processes
from dgmjax.errors import DgmjaxError

HERE = Path(__file__).parent
LAUNCHER = HERE.parents[1] / "launch" / "local.py"
PROGRAM = HERE / "process_program.py"


STARTED = []


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    for launched in STARTED:
        if launched.poll() is None:
            launched.terminate()
            launched.communicate(timeout=60)
    STARTED.clear()


def start(folder, count, devices=1, steps=20, pause=0.0, save_every=5):
    program = [str(PROGRAM), *map(str, (folder, steps, pause, save_every))]
    return launch(folder, count, devices, sys.executable, *program)


def launch(folder, count, devices, *program):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(LAUNCHER), "-n", str(count), "--devices", str(devices)]
    command += ["--", *program]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DGMJAX_")}
    launched = subprocess.Popen(
        command, env=clean, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    STARTED.append(launched)
    return launched


def finish(launched, seconds=180):
    try:
        output, _ = launched.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        launched.terminate()
        output, _ = launched.communicate(timeout=60)
        pytest.fail(f"not finished after {seconds} s:\n{output}")
    return launched.returncode, output


def weights(folder):
    return np.array([float(word) for word in (folder / "w.txt").read_text().split()])


@pytest.mark.fault
def test_two_and_four_processes_equal_one(tmp_path, capsys):
    found = {}
    for count in (1, 2, 4):
        folder = tmp_path / str(count)
        code, output = finish(start(folder, count, devices=4 // count))
        assert code == 0, output
        found[count] = weights(folder)
    worst = max(np.abs(found[n] - found[1]).max() for n in (2, 4))
    with capsys.disabled():
        print(f"\n2 and 4 processes against 1, 20 steps: largest difference {worst:.1e}")
    assert worst < 1e-6


@pytest.mark.fault
def test_batches_that_the_processes_do_not_divide(tmp_path, capsys):
    """10 rows on 1, 3 and 4 devices of as many processes, resident, streamed, deterministic."""
    found = {}
    for count in (1, 3, 4):
        folder = tmp_path / str(count)
        program = (sys.executable, str(HERE / "uneven_batches.py"), str(folder))
        code, output = finish(launch(folder, count, 1, *program))
        assert code == 0, output
        found[count] = [line.split() for line in (folder / "losses.txt").read_text().splitlines()]
    first = np.array(found[1][0], float)
    worst = max(np.abs(np.array(f[i], float) - first).max() for f in found.values() for i in (0, 1))
    with capsys.disabled():
        print(f"\nbatches of 10 on 3 and 4 processes: largest difference of a loss {worst:.1e}")
    assert worst < 1e-5
    assert found[1][2] == found[4][2], "deterministic: equal bits"


@pytest.mark.fault
@pytest.mark.parametrize("option", ["--steps 9", "--compute-dtype bfloat16", "--seed 1"])
def test_processes_with_different_commands_are_refused(tmp_path, capsys, option):
    command = f"{sys.executable} -m dgmjax train realnvp_moons --tiny"
    shell = f'if [ "$DGMJAX_PROCESS_ID" = 1 ]; then {command} {option}; else {command}; fi'
    started = time.perf_counter()
    code, output = finish(launch(tmp_path / "run", 2, 1, "sh", "-c", shell))
    name = option.split()[0].strip("-").replace("-", "_")
    with capsys.disabled():
        print(
            f"\n{option} in one of two processes: refused in {time.perf_counter() - started:.1f} s"
        )
    assert code == 2 and f"error: `{name}` must be the same in every process" in output, output
    assert f"{option.split()[1]}" in output and "in process 1" in output


@pytest.mark.fault
def test_a_port_in_use_is_named_by_process_0(tmp_path, capsys):
    with socket.create_server(("", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        options = ["--coordinator", address, "--num-processes", "2", "--process-id", "0"]
        command = [sys.executable, "-m", "dgmjax", "train", "realnvp_moons", "--tiny", *options]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    with capsys.disabled():
        print(f"\na port in use: named after {time.perf_counter() - started:.1f} s")
    assert done.returncode == 2 and "must name a port that is free" in done.stderr, done.stderr


@pytest.mark.fault
@pytest.mark.parametrize("victim", [0, 2])
def test_one_of_four_is_killed(tmp_path, capsys, victim):
    """The others end within ten seconds, name it, and the same command resumes."""
    launched = start(tmp_path / "run", 4, steps=10**6, pause=0.05, save_every=5)
    lines, seen = [], set()
    while len(seen) < 4:  # until all of them train
        line = launched.stdout.readline()
        assert line, "".join(lines)
        lines.append(line)
        if "starts at 0" in line:
            seen.add(line[:3])
    while not (tmp_path / "run" / "checkpoints" / "steps" / "10").exists():
        assert launched.poll() is None
        time.sleep(0.05)
    pid = process_id(launched.pid, victim)
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    code, output = finish(launched)
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\nprocess {victim} of 4 killed: the others ended within {seconds:.1f} s")
    assert seconds < 10
    assert code == 128 + signal.SIGKILL
    assert output.count(f"error: Process {victim} of 4") >= 3, output
    assert f"launch: process {victim} was ended by SIGKILL. The same command resumes" in output
    if victim:
        assert f"process id {pid}) has ended: it was killed" in output
        code, output = finish(start(tmp_path / "run", 2, devices=2, steps=400))
        assert code == 0, output
        first = int(output.partition("starts at ")[2].split()[0])
        assert first >= 10 and first % 5 == 0
        np.testing.assert_allclose(weights(tmp_path / "run"), [1.0, -2.0, 0.5], atol=1e-5)


def process_id(launcher, index):
    """The id of the child of `launcher` whose `DGMJAX_PROCESS_ID` is `index`."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        settings = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"DGMJAX_PROCESS_ID={index}".encode() in settings:
            return int(child)
    raise AssertionError(f"no process {index} among {children}")


@pytest.mark.fault
def test_an_error_in_one_process_ends_the_others(tmp_path):
    """It is named, with its reason, by the processes that it leaves behind."""
    code = (
        "from dgmjax.devices import processes\n"
        "with processes.session():\n"
        "    if processes.part()[0] == 1: raise ValueError('the data are absent')\n"
        "    with processes.named_losses(): processes.barrier('forever')\n"
    )
    command = [sys.executable, str(LAUNCHER), "-n", "2", "--devices", "1", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=180
    )
    assert done.returncode != 0
    assert "[0] error: Process 1 of 2" in done.stdout
    assert "has ended: ValueError: the data are absent" in done.stdout


def test_one_process_needs_no_settings(monkeypatch):
    for name in ("COORDINATOR", "NUM_PROCESSES", "PROCESS_ID", "CLUSTER"):
        monkeypatch.delenv(f"DGMJAX_{name}", raising=False)
    with processes.session() as several:
        assert not several and processes.is_main() and processes.part() == (0, 1)
        assert processes.agree(3) == 3 and processes.any_process(True)
        processes.barrier("here")
        processes.require_same("steps", 5)
        tree = {"x": np.arange(6.0)}
        np.testing.assert_array_equal(processes.to_host(tree)["x"], tree["x"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_processes": 2}, "`coordinator` must be given"),
        ({"coordinator": "host"}, "must be host:port"),
        ({"coordinator": "host:99999999"}, "must be host:port"),
        ({"coordinator": "host:1"}, "`num_processes` and `process_id` must be given"),
        ({"coordinator": "h:1", "num_processes": 2, "process_id": 2}, "below 2"),
        ({"cluster": "slrum"}, "`cluster` must be one of auto, slurm"),
    ],
)
def test_settings_that_do_not_fit(settings, words, monkeypatch):
    for name in ("COORDINATOR", "NUM_PROCESSES", "PROCESS_ID", "CLUSTER"):
        monkeypatch.delenv(f"DGMJAX_{name}", raising=False)
    with pytest.raises(DgmjaxError, match=words):
        processes.initialise(**settings)
    monkeypatch.setenv("DGMJAX_NUM_PROCESSES", "two")
    with pytest.raises(DgmjaxError, match="must be a number in \\$DGMJAX_NUM_PROCESSES"):
        processes.initialise("host:1")


def trained(experiment, folder, count, devices, *options):
    """Runs `dgmjax train EXPERIMENT --tiny --deterministic` on so many devices in all."""
    command = [sys.executable, str(LAUNCHER), "-n", str(count)]
    command += ["--devices", str(devices // count), "--", sys.executable, "-m", "dgmjax"]
    command += ["train", experiment, "--tiny", "--deterministic", "--run-dir", str(folder)]
    command += ["--mesh", f"data={devices}", *options]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DGMJAX_")}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("] report  ") == 1, "process 0 alone writes the report"
    records = json.loads((folder / "results.json").read_text())
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    rate = "examples_per_second"
    return (
        {record["metric"]: record["value"] for record in records},
        [{k: v for k, v in line.items() if k != rate} for line in lines],
        parameters(folder),
    )


@pytest.mark.fault
def test_the_train_command_is_the_same_on_one_two_and_four_processes(tmp_path, capsys):
    """Deterministic runs of 4 devices in all: equal results, and equal files of the checkpoint."""
    results = {n: trained("vae_digits", tmp_path / str(n), n, 4) for n in (1, 2, 4)}
    with capsys.disabled():
        print(
            f"\nSHA-256 of the state by processes: { ({n: r[2][:12] for n, r in results.items()}) }"
        )
    assert results[1] == results[2] == results[4]


@pytest.mark.fault
def test_two_processes_begin_with_the_same_pretraining(tmp_path):
    """Pretraining and clusters fitted to codes, in each process for itself, give the same bits."""
    run = ("--batch-size", "64")
    results = [trained("vae_clusters_mnist", tmp_path / str(n), n, 2, *run) for n in (1, 2)]
    assert results[0] == results[1]


def parameters(folder):
    """SHA-256 of the parameters of a run."""
    from dgmjax.lab import load_run

    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(load_run(folder).state):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
