"""Kits for machines without a network: what is left out, pins, data there and back, archives."""

import ast
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dgmjax.cli.arguments import parse_train
from dgmjax.data.reading.files import read_idx
from dgmjax.lab.catalogue import load_experiment
from kit import build, data as kit_data, headline, run
from kit.targets import TARGETS

ROOT = Path(__file__).resolve().parents[1]


def test_a_kit_has_what_the_target_lacks_and_nothing_else():
    lacking, whole = build.missing(TARGETS["cuda13"]), build.missing(TARGETS["bare-3.12"])
    assert set(lacking) < set(whole) and {"jax", "numpy", "pytest"} <= set(whole) - set(lacking)
    assert {"distrax", "tfp-nightly", "tyro", "tensorflow-datasets"} <= set(lacking)
    assert not set(lacking) & set(TARGETS["cuda13"].installed)


@pytest.mark.parametrize("name", TARGETS)
def test_every_wheel_has_one_pin_for_the_target_s_python(name):
    target = TARGETS[name]
    pins = build.pinned(target)
    assert set(build.missing(target)) <= set(pins)
    older = target.python == "3.11"
    assert pins["jax"].startswith("0.10" if older else "0.12")


def test_wheels_are_named_from_the_newest_system_to_the_oldest():
    platforms = TARGETS["cuda13"].platforms
    assert platforms[0] == "manylinux_2_39_x86_64" and platforms[-1] == "manylinux1_x86_64"


def test_packed_data_come_back_in_the_files_that_are_read(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)
    label = rng.integers(0, 10, 5).astype(np.uint8)
    arrays = {f"{s}_{k}": v for s in ("train", "test") for k, v in (("x", grey), ("label", label))}
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    kit_data.unpack(tmp_path / "mnist.npz", tmp_path)
    np.testing.assert_array_equal(
        read_idx(tmp_path / "mnist" / kit_data.IMAGES["test"]), grey[..., 0]
    )
    np.testing.assert_array_equal(read_idx(tmp_path / "mnist" / kit_data.LABELS["train"]), label)

    bits = (rng.random((3, 784)) < 0.3).astype(np.uint8)
    packed = {f"{split}_x": np.packbits(bits, 1) for split in kit_data.PARTS}
    np.savez_compressed(tmp_path / "binarized_mnist.npz", **packed)
    kit_data.unpack(tmp_path / "binarized_mnist.npz", tmp_path)
    text = (tmp_path / "binarized_mnist" / "binarized_mnist_valid.amat").read_text()
    np.testing.assert_array_equal(np.array([line.split() for line in text.splitlines()], int), bits)


def test_archives_keep_their_size_and_large_runs_leave_their_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(headline, "SHARE", 20_000)
    homes = []
    for number in range(3):
        home = tmp_path / f"run{number}"
        (home / "checkpoints").mkdir(parents=True)
        size = 30_000 if number == 2 else 9_000
        noise = np.random.default_rng(number).integers(0, 256, size).astype(np.uint8)
        (home / "checkpoints" / "arrays").write_bytes(noise.tobytes())
        (home / "results.json").write_text("[]")
        homes.append(home)
    headline.bring_back(homes, tmp_path)
    archives = sorted(tmp_path.glob("stage3-*.tar"))
    assert 1 <= len(archives) <= headline.FILES
    members = {}
    for path in archives:
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                with tarfile.open(fileobj=archive.extractfile(member)) as inner:
                    members[member.name] = inner.getnames()
    assert set(members) == {f"run{number}.tar.gz" for number in range(3)}
    assert "run0/checkpoints/arrays" in members["run0.tar.gz"]
    assert members["run2.tar.gz"] == ["run2/results.json"]


def test_headline_runs_are_commands_of_experiments():
    for one in headline.RUNS:
        name, *options = one.arguments.split()
        request = parse_train(load_experiment(name), name, [*options, "--tiny"])
        assert request.build().steps >= 1


@pytest.mark.parametrize("name", ["run.py", "targets.py"])
def test_the_script_needs_the_standard_library_only(name):
    tree = ast.parse((ROOT / "kit" / name).read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    assert names <= set(sys.stdlib_module_names)


def test_the_first_stage_reads_every_marked_test():
    marked = [p for p in (ROOT / "tests").rglob("test_*.py") if "mark.accelerator" in p.read_text()]
    folders = {str(path.parent.relative_to(ROOT)) for path in marked if path != Path(__file__)}
    assert len(marked) > 3 and folders <= set(run.ROOMS)
