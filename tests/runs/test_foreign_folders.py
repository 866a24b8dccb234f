"""Run folders that somebody else made: links, FIFOs, folders and wrong types in their files."""

import json
import os

import numpy as np
import pytest

from dgmjax.errors import CheckpointError, DgmjaxError, RunError
from dgmjax.lab import catalogue, runner
from dgmjax.runs import Checkpoints, RunFolder
from dgmjax.runs.report import write_report

SECRET = "ssh-rsa AAAA user@host\n"


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "vae_digits", {"latent": 4}, 0)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "authorized_keys"
    path.write_text(SECRET)
    return path


def lock(run):
    with run.lock():
        pass


WRITERS = {
    ".lock": lock,
    "metrics.jsonl": lambda run: run.write_metrics(3, loss=1.0),
    "results.json": lambda run: run.read_records(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_in_the_place_of_a_file_is_not_followed(run, target, name):
    (run.path / name).symlink_to(target)
    with pytest.raises(RunError, match=f"regular file; got a symbolic link, .*{name}"):
        WRITERS[name](run)
    assert target.read_text() == SECRET


def test_truncating_metrics_follows_no_link(run, target):
    target.write_text('{"step": 9}\n')
    (run.path / "metrics.jsonl").symlink_to(target)
    with pytest.raises(RunError, match="symbolic link"):
        run.truncate_metrics(3)
    assert target.read_text() == '{"step": 9}\n'


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_folder_or_fifo_in_the_place_of_a_file_is_named(run, name, kind):
    """Neither a traceback nor a wait for a writer that never comes."""
    make = {"folder": os.mkdir, "fifo": os.mkfifo}[kind]
    make(run.path / name)
    with pytest.raises(RunError, match=rf"(?i)regular file; got a {kind}.*{name}"):
        WRITERS[name](run)


@pytest.mark.parametrize("name", ["checkpoints", "figures", "events"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(run, tmp_path, name):
    elsewhere = tmp_path / "home"
    (elsewhere / "trash").mkdir(parents=True)
    (run.path / name).symlink_to(elsewhere)
    with pytest.raises(RunError, match=f"got a symbolic link, .*{name}"):
        assert run.checkpoints("latest").parent.exists() and run.figures.exists()
        run.write_metrics(1, loss=1.0)
    assert [path.name for path in elsewhere.iterdir()] == ["trash"]


@pytest.mark.parametrize("name", ["latest", "latest/steps"])
def test_checkpoints_follow_no_link(run, tmp_path, name):
    elsewhere = tmp_path / "home"
    (elsewhere / "7.part").mkdir(parents=True)
    place = run.checkpoints("latest").parent / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="symbolic link"):
        Checkpoints(run.checkpoints("latest"))
    assert (elsewhere / "7.part").is_dir()


def test_a_report_reads_no_link(run, target):
    (run.figures / "secret.png").symlink_to(target)
    with pytest.raises(RunError, match="symbolic link"):
        write_report(run)


def edited(run, **changes):
    config = json.loads((run.path / "config.json").read_text())
    for name, value in changes.items():
        place, _, key = name.rpartition("__")
        (config[place] if place else config)[key] = value
    (run.path / "config.json").write_text(json.dumps(config))
    return run.path


WRONG = [[1, 2], None, {"a": 1}, "many"]


@pytest.mark.parametrize("value", WRONG)
def test_an_argument_of_the_wrong_type_is_named(run, value):
    path = edited(run, arguments__latent=value)
    with pytest.raises(DgmjaxError, match=r"`latent` must be of type int; got"):
        runner.load_run(path)


@pytest.mark.parametrize("name", ["changed", "data_dir", "steps", "execution", "earlier", "data"])
@pytest.mark.parametrize("value", [3.5, [[]], {"a": []}, True])
def test_an_option_of_the_wrong_type_is_named(run, name, value):
    right = {"changed": dict, "execution": dict, "data": dict, "earlier": list}.get(name)
    if type(value) is right:
        pytest.skip("the right type")
    path = edited(run, **{f"options__{name}": value})
    with pytest.raises(RunError, match="must be a run folder of dgmjax"):
        RunFolder(path)


def test_every_type_of_argument_that_experiments_have_passes():
    for entry in catalogue.catalogue():
        function = catalogue.load_experiment(entry.name)
        defaults = catalogue.own_defaults(function)
        given = {name: value for name, value in defaults.items() if value is not None}
        catalogue._check_types(given, {one.name: one for one in catalogue.options(function)})


def test_the_fingerprint_of_the_data_is_compared(tmp_path):
    from dgmjax.data.fingerprints import fingerprint

    function = catalogue.load_experiment("vae_digits")
    experiment = catalogue.build(function, {}, tiny=True)
    run = RunFolder.create(tmp_path, "vae_digits", {}, 0, tiny=True)
    run.note_data(fingerprint(experiment.dataset))
    again = RunFolder(run.path)
    again.check_data(fingerprint(experiment.dataset))
    changed = {name: dict(arrays) for name, arrays in experiment.dataset.splits.items()}
    changed["test"]["x"] = changed["test"]["x"].copy()
    changed["test"]["x"][0, 0, 0, 0] += 1
    shorter = {**changed, "test": {k: v[:-1] for k, v in changed["test"].items()}}
    for splits in (changed, shorter):
        other = type(experiment.dataset)("digits", splits, experiment.dataset.info)
        with pytest.raises(RunError, match=r"`data_dir` must hold the data .* others in test"):
            again.check_data(fingerprint(other))
        with pytest.raises(RunError, match="others in test"):
            again.note_data(fingerprint(other))


def test_values_beyond_the_whole_are_read_in_blocks(monkeypatch):
    from dgmjax.data import fingerprints
    from dgmjax.data.dataset import Dataset

    monkeypatch.setattr(fingerprints, "WHOLE_BYTES", 100)
    monkeypatch.setattr(fingerprints, "BLOCK_BYTES", 40)
    x = np.arange(1000, dtype=np.float32).reshape(100, 10)
    digest = lambda x: fingerprints.fingerprint(Dataset("x", {"train": {"x": x}}, {}))["train"]
    assert digest(x) == digest(x.copy()) != digest(x[:-1])
    assert digest(x) != digest(np.where(x == 999, -1, x).astype(np.float32))
