"""Checkpoints that were damaged, and disks that cannot be written: nothing is silently wrong.

A fault is *detected* if every step it touched is refused. One that is not must be *harmless*: the
step is restored, and every bit of it compared. Either way the steps that it did not touch must be
valid, and the newest valid one must restore to what was saved as that step.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.errors import CheckpointError
from dgmjax.runs.checkpoints import Checkpoints

STEPS = (10, 20, 30)


def state_at(step, size=300):
    """What is saved as `step`: every leaf differs from step to step."""
    rng = np.random.default_rng(step)
    return {
        "state": {
            "w": jnp.asarray(rng.normal(size=(size, 4)), jnp.float32),
            "half": jnp.asarray(rng.normal(size=7), jnp.bfloat16),
            "key": jnp.asarray(rng.integers(0, 2**32, 2), jnp.uint32),
        },
        "sums": {"loss": jnp.float32(step)},
    }


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def write(folder, steps=STEPS, **options):
    checkpoints = Checkpoints(folder, **({"keep": len(steps)} | options))
    for step in steps:
        checkpoints.save(step, state_at(step), {"best": float("inf"), "at": step})
    checkpoints.close()


def assert_restores(folder, step, **options):
    state, host, found = Checkpoints(folder, **options).restore(state_at(0))
    assert found == step and bits(state) == bits(state_at(step))
    assert host == {"best": float("inf"), "at": step}


class Faults:
    """Random faults on a folder of checkpoints, each undone after it was looked at."""

    def __init__(self, folder, seed):
        self.folder, self.steps = folder, folder / "steps"
        self.rng = np.random.default_rng(seed)
        self.content = {path: path.read_bytes() for path in self._files()}
        self.kinds = [getattr(self, name) for name in dir(self) if name.startswith("fault_")]

    def _files(self):
        return sorted(path for path in self.steps.rglob("*") if path.is_file())

    def any_file(self, step=None):
        paths = [p for p in self.content if step in (None, self.step_of(p))]
        return paths[self.rng.integers(len(paths))]

    def step_of(self, path):
        return int(path.relative_to(self.steps).parts[0])

    def change(self, path, content):
        path.write_bytes(content)
        return {self.step_of(path)}

    def fault_bit_flip(self):
        path = self.any_file()
        data = bytearray(self.content[path])
        if not data:
            return self.change(path, b"\0")
        data[self.rng.integers(len(data))] ^= 1 << int(self.rng.integers(8))
        return self.change(path, data)

    def fault_bit_flip_in_manifest(self):
        path = self.steps / str(self.rng.choice(STEPS)) / "manifest.json"
        data = bytearray(self.content[path])
        data[self.rng.integers(len(data))] ^= 1 << int(self.rng.integers(8))
        return self.change(path, data)

    def fault_lost_block(self):
        path = self.any_file()
        data = bytearray(self.content[path])
        start = int(self.rng.integers(max(len(data), 1)))
        data[start : start + 512] = bytes(len(data[start : start + 512]))
        return self.change(path, data)

    def fault_truncation(self):
        path = self.any_file()
        return self.change(
            path, self.content[path][: self.rng.integers(len(self.content[path]) + 1)]
        )

    def fault_growth(self):
        path = self.any_file()
        return self.change(path, self.content[path] + self.rng.bytes(self.rng.integers(1, 9)))

    def fault_deleted_file(self):
        path = self.any_file()
        path.unlink()
        return {self.step_of(path)}

    def fault_deleted_folder(self):
        step = int(self.rng.choice(STEPS))
        folders = sorted(p for p in (self.steps / str(step)).rglob("*") if p.is_dir())
        shutil.rmtree(folders[self.rng.integers(len(folders))])
        return {step}

    def fault_extra_file(self):
        step = int(self.rng.choice(STEPS))
        (self.steps / str(step) / "arrays" / "d" / "extra").write_bytes(self.rng.bytes(8))
        return {step}

    def fault_files_swapped_in_a_step(self):
        step = int(self.rng.choice(STEPS))
        return self.swap(self.any_file(step), self.any_file(step))

    def fault_files_swapped_between_steps(self):
        one = self.any_file()
        other = [p for p in self.content if p.name == one.name and p != one]
        return self.swap(one, other[self.rng.integers(len(other))] if other else self.any_file())

    def fault_steps_swapped(self):
        one, other = map(str, self.rng.choice(STEPS, 2, replace=False))
        (self.steps / one).rename(self.steps / "aside")
        (self.steps / other).rename(self.steps / one)
        (self.steps / "aside").rename(self.steps / other)
        return {int(one), int(other)}

    def fault_copied_step(self):
        shutil.copytree(self.steps / str(self.rng.choice(STEPS)), self.steps / "40")
        return {40}

    def fault_link(self):
        path = self.any_file()
        outside = self.folder / "outside"
        outside.write_bytes(self.content[path])
        path.unlink()
        path.symlink_to(outside)
        return {self.step_of(path)}

    def fault_folder_for_a_file(self):
        path = self.any_file()
        path.unlink()
        path.mkdir()
        return {self.step_of(path)}

    def swap(self, one, other):
        self.change(one, self.content[other])
        return {self.step_of(one)} | self.change(other, self.content[one])

    def undo(self):
        for path in [*self.steps.rglob("*"), *self.steps.iterdir()]:
            if path.is_symlink() or (path.is_dir() and path in self.content):
                path.unlink() if path.is_symlink() else path.rmdir()
        for path in self.steps.iterdir():
            if not path.name.isdigit() or int(path.name) not in STEPS:
                shutil.rmtree(path)
        for path in set(self._files()) - set(self.content):
            path.unlink()
        for path, content in self.content.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def inflict(folder, count, seed):
    """Inflicts `count` faults; returns how many were detected, harmless, silent, unrecovered."""
    write(folder)
    faults, tally, by_kind = Faults(folder, seed), Counter(), Counter()
    reader = Checkpoints(folder, read_only=True)
    for i in range(count):
        kind = faults.kinds[i % len(faults.kinds)]
        touched = kind()
        valid = reader.valid_steps()
        outcome = "detected"
        for step in touched & set(valid):
            state, host, _ = reader.restore(state_at(0), step=step)
            same = bits(state) == bits(state_at(step)) and host["at"] == step
            outcome = "harmless" if same and outcome != "silent" else "silent"
        tally[outcome] += 1
        by_kind[kind.__name__.removeprefix("fault_"), outcome] += 1
        recovered = set(STEPS) - touched <= set(valid)
        if i % 50 == 0 and valid:
            state, _, found = reader.restore(state_at(0))
            recovered &= found == valid[0] and bits(state) == bits(state_at(found))
        tally["not recovered"] += not recovered
        faults.undo()
    assert reader.valid_steps() == sorted(STEPS, reverse=True)  # everything was undone
    return tally, by_kind


def check(tally, by_kind, count):
    assert tally["silent"] == 0 and tally["not recovered"] == 0, by_kind
    assert tally["detected"] + tally["harmless"] == count
    kinds = {kind for kind, outcome in by_kind if outcome == "detected"}
    assert len(kinds) == len({kind for kind, _ in by_kind}), "a kind of fault is never detected"


def test_faults_are_detected_or_harmless(tmp_path):
    check(*inflict(tmp_path, 210, seed=0), 210)


@pytest.mark.fault
def test_ten_thousand_faults(tmp_path, capsys):
    started = time.perf_counter()
    tally, by_kind = inflict(tmp_path, 10_000, seed=1)
    with capsys.disabled():
        print(
            f"\n10,000 checkpoint faults: {tally['detected']} detected, {tally['harmless']} "
            f"harmless, {tally['silent']} silent, {tally['not recovered']} not recovered "
            f"({time.perf_counter() - started:.0f} s)"
        )
    check(tally, by_kind, 10_000)


@pytest.mark.parametrize("damage", ["flip", "no manifest", "truncated manifest", "everything"])
def test_a_run_goes_on_from_the_newest_valid_one(tmp_path, caplog, damage):
    write(tmp_path)
    newest = tmp_path / "steps" / "30"
    if damage == "flip":
        path = max(newest.rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    elif damage == "truncated manifest":
        (newest / "manifest.json").write_bytes(b"{")
    else:
        for path in newest.rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    assert_restores(tmp_path, 20)
    assert f"{newest} is not used" in caplog.text
    assert (tmp_path / "refused" / "30").is_dir() and not newest.exists()
    write(tmp_path, steps=(30,), keep=3)  # the step can be saved again
    assert_restores(tmp_path, 30)


def test_when_none_is_valid(tmp_path):
    assert Checkpoints(tmp_path / "new").restore(state_at(0)) is None
    write(tmp_path)
    for path in tmp_path.glob("steps/*/host.json"):
        path.write_text("{}")
    with pytest.raises(CheckpointError, match=r"steps/10: its file host.json was altered.*steps/3"):
        Checkpoints(tmp_path).restore(state_at(0))
    assert len(list((tmp_path / "steps").iterdir())) == 3  # left for the user to look at


def test_leftovers_of_a_kill(tmp_path):
    write(tmp_path)
    shutil.copytree(tmp_path / "steps" / "30", tmp_path / "steps" / "40.part")
    shutil.copytree(tmp_path / "steps" / "10", tmp_path / "trash" / "0")
    assert_restores(tmp_path, 30, read_only=True)
    assert (tmp_path / "steps" / "40.part").exists()  # it may be another process's
    assert_restores(tmp_path, 30)
    assert {p.name for p in tmp_path.iterdir()} == {"steps"}
    assert {p.name for p in (tmp_path / "steps").iterdir()} == {"10", "20", "30"}


def test_what_is_kept(tmp_path):
    write(tmp_path, steps=(40, 90, 110, 150, 190, 210, 260), keep=2, keep_every=100)
    assert Checkpoints(tmp_path, read_only=True).valid_steps() == [260, 210, 110]
    with pytest.raises(CheckpointError, match="there is no step 90"):
        Checkpoints(tmp_path).restore(state_at(0), step=90)
    assert Checkpoints(tmp_path).restore(state_at(0), step=110)[2] == 110


def test_reading_changes_nothing(tmp_path):
    write(tmp_path)
    (tmp_path / "steps" / "30" / "host.json").write_text("{}")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    assert_restores(tmp_path, 20, read_only=True)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
    nowhere = Checkpoints(tmp_path / "absent", read_only=True)
    assert nowhere.restore(state_at(0)) is None and not (tmp_path / "absent").exists()


def test_a_part_of_the_tree_and_other_arrays(tmp_path):
    write(tmp_path)
    checkpoints = Checkpoints(tmp_path)
    part, _, _ = checkpoints.restore(state_at(0)["state"], prefix="state")
    assert bits(part) == bits(state_at(30)["state"])
    with pytest.raises(CheckpointError, match=r"state.w: saved float32\[300, 4\], wanted float32"):
        checkpoints.restore(state_at(0, size=301))
    other = state_at(0)
    other["state"]["half"] = other["state"]["half"].astype(jnp.float32)
    with pytest.raises(CheckpointError, match=r"state.half: saved bfloat16\[7\], wanted float32"):
        checkpoints.restore(other)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        Checkpoints(tmp_path, identity="another").restore(state_at(0))


@contextlib.contextmanager
def largest_file(size):
    """Files cannot grow beyond `size` bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore:coroutine")  # Orbax drops what it had begun
@pytest.mark.parametrize("choice", ["stop", "continue"])
def test_a_write_that_fails(tmp_path, choice, caplog):
    write(tmp_path)
    checkpoints = Checkpoints(tmp_path, keep=3, on_disk_error=choice)
    big = {"w": jnp.asarray(np.random.default_rng(0).normal(size=100_000), jnp.float32)}
    with largest_file(50_000):
        checkpoints.save(40, big, {})
        if choice == "stop":
            with pytest.raises(CheckpointError, match="earlier checkpoints are unharmed"):
                checkpoints.wait()
        else:
            checkpoints.wait()
            assert "training continues" in caplog.text
    assert checkpoints.failed == 1 and checkpoints.valid_steps() == [30, 20, 10]
    assert {p.name for p in (tmp_path / "steps").iterdir()} == {"10", "20", "30"}
    checkpoints.save(50, state_at(50), {"best": float("inf"), "at": 50})
    checkpoints.close()
    assert_restores(tmp_path, 50)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB; the test is skipped where one may not mount any."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("choice", ["stop", "continue"])
def test_a_full_and_a_read_only_disk(small_disk, choice):
    folder = small_disk / "checkpoints"
    write(folder)
    checkpoints = Checkpoints(folder, keep=3, on_disk_error=choice)
    expected = pytest.raises(CheckpointError) if choice == "stop" else contextlib.nullcontext()
    (small_disk / "ballast").write_bytes(bytes(2_500_000))
    big = {"w": jnp.asarray(np.random.default_rng(0).normal(size=200_000), jnp.float32)}
    with expected:
        checkpoints.save(40, big, {})
        checkpoints.wait()
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with expected:
        checkpoints.save(50, state_at(50), {})
        checkpoints.wait()
    assert checkpoints.valid_steps() == [30, 20, 10]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    checkpoints.save(60, state_at(60), {"best": float("inf"), "at": 60})
    checkpoints.close()
    assert checkpoints.failed == 2
    assert_restores(folder, 60)


SAVING = """
    import sys
    from pathlib import Path
    sys.path[:0] = sys.argv[2:]
    from test_checkpoint_faults import state_at
    from dgmjax.runs.checkpoints import Checkpoints

    checkpoints = Checkpoints(Path(sys.argv[1]), keep=2)
    restored = checkpoints.restore(state_at(0))
    first = restored[2] + 1 if restored else 1
    print("ready", flush=True)
    for step in range(first, 10**6):
        checkpoints.save(step, state_at(step), {"best": float("inf"), "at": step})
        print(step, flush=True)
"""


@pytest.mark.fault
def test_kills_inside_saves(tmp_path, capsys):
    """At most the step that was being saved, and the one before it, are lost."""
    rng, lost = np.random.default_rng(0), []
    command = [sys.executable, "-c", textwrap.dedent(SAVING), str(tmp_path / "run")]
    for _ in range(5):
        with subprocess.Popen(
            [*command, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.05, 1.5))
            os.kill(child.pid, signal.SIGKILL)
            begun = [int(line) for line in child.stdout.read().split("\n")[:-1]]
        restored = Checkpoints(tmp_path / "run", keep=2).restore(state_at(0))
        if begun:
            state, _, step = restored
            assert bits(state) == bits(state_at(step))
            lost.append(max(begun) - step)
    with capsys.disabled():
        print(f"\n{len(lost)} kills while saving: checkpoints lost each time: {lost}")
    assert max(lost) <= 1
