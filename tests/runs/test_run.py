"""Run folders: the same command finds the same folder, nothing else does, and kills lose little."""

import hashlib
import os
import signal
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from example_records import a_record

from dgmjax.errors import RunError
from dgmjax.runs import strict_json
from dgmjax.runs.folder import RunFolder, run_name
from dgmjax.runs.migrations import FORMAT

ARGUMENTS = {"latent": 20, "hidden": (200, 200), "clip": float("inf"), "name": None}


def make(root, **changes):
    given = {"experiment": "vae", "arguments": ARGUMENTS, "seed": 0} | changes
    return RunFolder.create(root, **given)


def contents(folder):
    """The digest of every file under `folder`, with its mode."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def python(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_config_holds_what_was_asked_and_where_it_ran(tmp_path):
    run = make(tmp_path, defaults=ARGUMENTS, options={"data_dir": "somewhere"})
    assert run.path == tmp_path / "vae" / "seed0"
    assert run.arguments == ARGUMENTS and run.experiment == "vae" and run.seed == 0
    assert run.options == {"data_dir": "somewhere", "changed": {}} and run.tiny is False
    assert {"python", "dgmjax", "jax", "flax"} <= run.config["versions"].keys()
    assert run.config["device"] == "cpu x 8" and run.config["format"] == FORMAT
    assert "git_commit" in run.config


def test_same_command_finds_the_same_folder(tmp_path):
    first = make(tmp_path)
    before = contents(tmp_path)
    assert make(tmp_path, arguments=dict(reversed(ARGUMENTS.items()))).path == first.path
    assert contents(tmp_path) == before


def test_names_differ_with_arguments_seed_and_size():
    names = [
        run_name({"latent": latent}, {"latent": 20}, seed, tiny)
        for latent in (20, 21, 22)
        for seed in (0, 1)
        for tiny in (False, True)
    ]
    assert len(set(names)) == len(names) and {"seed0", "seed1-tiny"} <= set(names)
    assert run_name({"name": None}, {}, 0) != "seed0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arguments": ARGUMENTS | {"latent": 30}}, "latent was 20, now 30"),
        ({"arguments": ARGUMENTS | {"new": 1}}, "new was 'absent', now 1"),
        ({"experiment": "gan"}, "experiment was 'vae', now 'gan'"),
        ({"seed": 3}, "seed was 0, now 3"),
        ({"tiny": True}, "tiny was False, now True"),
    ],
)
def test_refuses_the_folder_of_another_run(tmp_path, changes, words):
    run = make(tmp_path)
    run.write_metrics(1, loss=2.0)
    before = contents(run.path)
    with pytest.raises(RunError, match=words) as caught:
        make(tmp_path, run_dir=run.path, **changes)
    assert "--run-dir" in str(caught.value)
    assert contents(run.path) == before


def test_refuses_a_newer_format_a_damaged_or_foreign_config(tmp_path):
    run = make(tmp_path)
    config = run.path / "config.json"
    for text, words in [
        (strict_json.dumps(run.config | {"format": FORMAT + 1}), "newer dgmjax"),
        (config.read_text()[:40], "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"format": 1}', "must be a run folder of dgmjax"),
        ("[]", "must be a run folder of dgmjax"),
    ]:
        config.write_text(text)
        before = contents(run.path)
        for call in (lambda: RunFolder(run.path), lambda: make(tmp_path)):
            with pytest.raises(RunError, match=words):
                call()
        assert contents(run.path) == before


def test_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(RunError, match=r"config\.json"):
        RunFolder(tmp_path / "absent")
    (tmp_path / "photos").mkdir()
    make(tmp_path, run_dir=tmp_path / "photos")  # an empty folder may become a run
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("mine")
    for place in (tmp_path / "thesis", tmp_path / "thesis" / "text"):
        with pytest.raises(RunError, match="empty folder"):
            make(tmp_path, run_dir=place)
    with pytest.raises(RunError, match="can be created"):
        make(tmp_path / "thesis" / "text")
    assert (tmp_path / "thesis" / "text").read_text() == "mine"


def test_refuses_bad_names_and_arguments(tmp_path):
    for changes in ({"experiment": "../vae"}, {"seed": -1}, {"arguments": {"f": object()}}):
        with pytest.raises(RunError):
            make(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_metrics_round_trip(tmp_path):
    run = make(tmp_path)
    assert run.read_metrics() == []
    run.write_metrics(1, loss=np.float32(0.5), bad=float("nan"))
    run.write_metrics(2, **{"validation/loss": np.array([0.25])}, count=3)
    first, second = run.read_metrics()
    assert first["loss"] == 0.5 and np.isnan(first["bad"])
    assert second == {"step": 2, "validation/loss": 0.25, "count": 3}
    assert "NaN" not in (run.path / "metrics.jsonl").read_text()
    for values in ({"loss": np.zeros(2)}, {"loss": "low"}):
        with pytest.raises(RunError, match="`loss`"):
            run.write_metrics(3, **values)
    with pytest.raises(RunError, match="`step`"):
        run.write_metrics(-1, loss=1.0)
    run.close()


def test_a_resumed_file_equals_an_uninterrupted_one(tmp_path):
    whole, resumed = make(tmp_path), make(tmp_path, seed=1)
    for step in range(10):
        whole.write_metrics(step, loss=1 / (step + 1))
    for step in range(7):
        resumed.write_metrics(step, loss=1 / (step + 1))
    with RunFolder(resumed.path) as again:  # the last checkpoint was of step 4
        again.truncate_metrics(4)
        for step in range(5, 10):
            again.write_metrics(step, loss=1 / (step + 1))
    files = [(run.path / "metrics.jsonl").read_bytes() for run in (whole, resumed)]
    assert files[0] == files[1]
    whole.truncate_metrics(-1)
    assert whole.read_metrics() == []
    whole.close()
    resumed.close()


def test_a_torn_last_line_is_skipped_and_repaired(tmp_path):
    run = make(tmp_path)
    for step in range(3):
        run.write_metrics(step, loss=0.5)
    run.close()
    file = run.path / "metrics.jsonl"
    whole = file.read_bytes()
    second_end = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    for end in range(second_end, len(whole)):
        file.write_bytes(whole[:end])
        assert [line["step"] for line in run.read_metrics()] == [0, 1]
        assert file.read_bytes() == whole[:end]  # reading repairs nothing
        with RunFolder(run.path) as again:
            again.write_metrics(2, loss=0.5)
        assert file.read_bytes() == whole
    file.write_bytes(whole[:second_end] + b"\0\0\0\n")
    with RunFolder(run.path) as again:
        again.write_metrics(2, loss=0.5)
    assert file.read_bytes() == whole
    file.write_bytes(whole[: second_end - 5] + b"\n" + whole[second_end:])
    with pytest.raises(RunError, match="Line 2"):
        run.read_metrics()


def test_tensorboard_events_hold_the_metrics(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    run = make(tmp_path)
    run.write_metrics(7, loss=0.5, bad=float("nan"))
    run.close()
    (file,) = (run.path / "events").iterdir()
    content, found = file.read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + size])
        found += [(event.step, entry.tag, entry.simple_value) for entry in event.summary.value]
        content = content[16 + size :]
    assert found == [(7, "loss", 0.5)]


def test_records_round_trip(tmp_path):
    run = make(tmp_path)
    assert run.read_records() == []
    run.write_records([a_record(), a_record(split="validation")])
    assert RunFolder(run.path).read_records() == [a_record(), a_record(split="validation")]
    (run.path / "results.json").write_text('[{"value": 1}]')
    with pytest.raises(RunError, match=r"results\.json.*absent"):
        run.read_records()


FULL_DISK = """
    import resource, sys
    from dgmjax.errors import RunError
    from dgmjax.runs.folder import RunFolder
    from dgmjax.runs.record import Record

    run = RunFolder(sys.argv[1])
    records = run.read_records() * 200
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    try:
        run.write_records(records)
    except RunError as problem:
        print("results.json" in str(problem) and "unharmed" in str(problem))
    try:
        for step in range(1000):
            run.write_metrics(step, loss=0.5)
    except RunError as problem:
        print("metrics.jsonl" in str(problem) and "space" in str(problem))
    """


def test_a_full_disk_harms_nothing(tmp_path):
    """A limit on the size of files stands for the full disk: writes fail half-way."""
    run = make(tmp_path)
    run.write_records([a_record()])
    process = python(FULL_DISK, run.path)
    assert process.communicate(timeout=60)[0].split() == ["True", "True"]
    assert run.read_records() == [a_record()]
    steps = [line["step"] for line in run.read_metrics()]
    assert steps == list(range(len(steps))) and len(steps) > 10
    assert not [path for path in run.path.iterdir() if path.name.startswith(".results")]


WRITER = """
    import sys
    from dgmjax.runs.folder import RunFolder

    run = RunFolder(sys.argv[1])
    with run.lock():
        for step in range(10**6):
            run.write_metrics(step, loss=0.5)
            run.write_records(run.read_records())
            if step == 20:
                print("going", flush=True)
    """


@pytest.mark.fault
def test_a_kill_loses_at_most_a_line_and_lets_go_of_the_lock(tmp_path):
    run = make(tmp_path)
    run.write_records([a_record()])
    process = python(WRITER, run.path)
    assert process.stdout.readline() == "going\n"
    with pytest.raises(RunError, match="Another process"), run.lock():
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    with run.lock():
        steps = [line["step"] for line in run.read_metrics()]
        assert steps == list(range(len(steps))) and len(steps) >= 21
        assert run.read_records() == [a_record()]
        run.write_metrics(len(steps), loss=0.5)
        assert len(run.read_metrics()) == len(steps) + 1
    run.close()


def test_reading_a_run_imports_no_jax(tmp_path):
    run = make(tmp_path)
    code = """
        import sys
        from dgmjax.runs.folder import RunFolder
        RunFolder(sys.argv[1]).read_records()
        print("jax" in sys.modules)
        """
    assert python(code, run.path).communicate(timeout=60)[0] == "False\n"
