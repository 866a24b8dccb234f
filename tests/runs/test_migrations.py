"""Run folders of earlier formats open, give the numbers they gave, and resume."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dgmjax.errors import RunError
from dgmjax.lab import catalogue, runner
from dgmjax.runs import RunFolder, strict_json
from dgmjax.runs.migrations import FORMAT, MIGRATIONS

FIXTURES = Path(__file__).parent / "fixtures"


def test_every_earlier_format_has_a_migration_and_a_fixture():
    assert sorted(MIGRATIONS) == list(range(1, FORMAT))
    assert sorted(path.name for path in FIXTURES.glob("*.tar.xz")) == [
        f"format{version}.tar.xz" for version in range(1, FORMAT)
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("formats")
    for archive in FIXTURES.glob("*.tar.xz"):
        with tarfile.open(archive) as file:
            file.extractall(root, filter="data")
    return root


@pytest.mark.parametrize("run", ["format1/made", "format1/realnvp", "format1/vae_digits"])
def test_an_earlier_run_gives_the_numbers_it_gave(folders, run):
    expected = json.loads((folders / run / "expected.json").read_text())
    before = (folders / run / "config.json").read_bytes()
    loaded = runner.load_run(folders / run)
    assert loaded.step == expected["step"]
    records = RunFolder(folders / run).read_records()
    stored = {f"{record.metric} {record.model}": record.value for record in records}
    assert stored == pytest.approx(expected["records"], rel=1e-6)
    measured = {f"{r.metric} {r.model}": r.value for r in runner.evaluate(loaded)}
    for name, value in expected["records"].items():
        if "mask" not in name:  # the model's name says "order" today
            assert measured[name] == pytest.approx(value, rel=1e-4), name
    if "log_prob" in expected:
        x = loaded.arrays("test")["x"][:4]
        found = np.asarray(loaded.call("log_prob", x))
        np.testing.assert_allclose(found, expected["log_prob"], rtol=1e-5)
    assert (folders / run / "config.json").read_bytes() == before


def test_an_earlier_run_resumes_under_the_names_of_today(folders, tmp_path):
    shutil.copytree(folders / "format1" / "made", tmp_path / "made")
    function = catalogue.load_experiment("made_binarized_mnist")
    defaults = catalogue.own_defaults(function)
    arguments = {**defaults, "hidden": (8,), "num_orders": 2}
    run = RunFolder.create(
        "runs",
        "made_binarized_mnist",
        arguments,
        0,
        tiny=True,
        defaults=defaults,
        run_dir=tmp_path / "made",
    )
    assert run.arguments["num_orders"] == 2 and run.changed["num_orders"] == 2
    experiment = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    trained = runner.train(experiment, run, seed=0, steps=6)
    assert trained.step == 6
    assert {4, 6} <= {line["step"] for line in run.read_metrics()}
    changed = {**arguments, "num_orders": 3}
    with pytest.raises(RunError, match="num_orders was 2, now 3"):
        RunFolder.create("runs", run.experiment, changed, 0, tiny=True, run_dir=run.path)


def test_an_argument_that_is_new_had_its_default(tmp_path):
    run = RunFolder.create(tmp_path, "vae", {"latent": 20}, 0)
    today = {"latent": 20, "ema_decay": None}
    again = RunFolder.create(tmp_path, "vae", today, 0, defaults=today, run_dir=run.path)
    assert again.path == run.path and again.identity == run.identity
    with pytest.raises(RunError, match=r"ema_decay was None, now 0\.9"):
        RunFolder.create(
            tmp_path, "vae", {**today, "ema_decay": 0.9}, 0, defaults=today, run_dir=run.path
        )


def test_the_identity_is_kept_in_the_folder(tmp_path):
    run = RunFolder.create(tmp_path, "vae", {"latent": 20}, 0)
    config = strict_json.read(run.path / "config.json")
    assert config["identity"] == run.identity
    config["arguments"] = {"width": 20}  # as a later version might call it
    (run.path / "config.json").write_text(strict_json.dumps(config))
    assert RunFolder(run.path).identity == run.identity


def test_an_earlier_game_resumes_without_the_sum_of_its_losses(folders, tmp_path):
    shutil.copytree(folders / "format1" / "gan", tmp_path / "gan")
    run = RunFolder(tmp_path / "gan")
    function = catalogue.load_experiment("gan_eight_gaussians")
    experiment = catalogue.build(function, run.arguments, seed=0, tiny=True, data_dir=None)
    trained = runner.train(experiment, run, seed=0, steps=102, quiet=True)
    assert trained.step == 102 and int(trained.state.step) == 102
