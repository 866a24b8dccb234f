"""Disks that are full or read-only: named, and with `continue` the run goes on."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from dgmjax.errors import RunError
from dgmjax.lab.runner import on_disk_error
from dgmjax.runs import RunFolder
from dgmjax.runs.events import Events
from dgmjax.training.execution import Execution
from dgmjax.training.store import Store


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "vae", {}, 0)


def test_a_folder_that_cannot_be_locked_is_named(run, monkeypatch):
    real = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(".lock"):
            raise OSError(30, "Read-only file system")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(RunError, match=r"`run_dir` must be a folder that can be written; .*Read-on"),
        run.lock(),
    ):
        pass


def test_events_end_quietly_on_a_full_disk_and_have_no_thread(tmp_path, monkeypatch, caplog):
    before = threading.active_count()
    events = Events(tmp_path / "events")
    events.write(1, {"loss": 1.0, "kl": float("nan")})
    assert threading.active_count() == before

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events._writer, "write_event", full)
    for step in (2, 3):
        events.write(step, {"loss": 1.0})
    assert [record.message for record in caplog.records] == [
        f"No more TensorBoard events in {tmp_path / 'events'}: No space left on device."
    ]
    events.close()


def test_events_are_read_by_tensorboards_format(tmp_path):
    from tensorboardX.proto import event_pb2

    events = Events(tmp_path / "events", purge_step=4)
    events.write(5, {"loss": 1.5})
    events.close()
    content = next((tmp_path / "events").iterdir()).read_bytes()
    found = []
    while content:  # length, its checksum, the event, its checksum
        size = int.from_bytes(content[:8], "little")
        found.append(event_pb2.Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    assert found[0].file_version == "brain.Event:2"
    assert found[1].session_log.status == event_pb2.SessionLog.START and found[1].step == 4
    assert found[2].step == 5 and found[2].summary.value[0].tag == "loss"
    assert found[2].summary.value[0].simple_value == 1.5


@pytest.mark.parametrize("action", ["stop", "continue"])
def test_figures_and_metrics_on_a_full_disk(run, action, monkeypatch, caplog):
    """With `continue` a figure or a line of metrics that cannot be written ends nothing."""
    error = RunError("metrics.jsonl cannot be written: No space left on device.")

    def full(*arguments, **options):
        raise error

    monkeypatch.setattr(run, "write_metrics", full)
    store = Store.of(run, Execution(on_disk_error=action))

    def act():
        store.write(1, {"loss": 2.0})
        with on_disk_error(action):
            raise error

    if action == "stop":
        with pytest.raises(RunError, match="No space left"):
            act()
        return
    with caplog.at_level(logging.WARNING):
        act()
    assert len(caplog.records) == 2 and store.history == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize("mode", [None, 0o755])
def test_no_compiled_program_is_writable_by_others(tmp_path, mode):
    """Not even with a umask of 000: they are run. Other files are as the umask says."""
    code = (
        "import os; os.umask(0)\n"
        "from dgmjax.devices.environment import configure\n"
        "configure()\n"
        "import jax; jax.jit(lambda x: x + 1)(1.0)\n"
        "open('mine.txt', 'w').close()\n"
    )
    cache = tmp_path / "cache"
    if mode is not None:
        cache.mkdir(mode=mode)
    environment = {**os.environ, "DGMJAX_CACHE": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    reached = cache.stat().st_mode & 0o077
    assert bool(reached) == (mode is not None)
    if reached:
        assert not [path for path in files if path.stat().st_mode & 0o022]
    else:
        assert (tmp_path / "mine.txt").stat().st_mode & 0o777 == 0o666
