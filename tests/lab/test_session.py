"""Experiments of the user's own: a new file, a function in Python, an installed package."""

import dataclasses
import errno
import os
import signal
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dgmjax import data, lab, objectives
from dgmjax.cli import commands
from dgmjax.errors import DgmjaxError, RunError
from dgmjax.lab import catalogue, runner
from dgmjax.plotting import image_grid
from dgmjax.runs import RunFolder
from dgmjax.runs.checkpoints import Checkpoints
from dgmjax.runs.comparison import compare
from dgmjax.runs.verdict import is_reference
from dgmjax.training import Execution


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """A working folder of its own, and a path of imports that is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DGMJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_new_file_trains_as_it_stands_and_is_loaded_again(tmp_path, capsys):
    assert commands.main(["new", "mine.py"]) == 0
    assert "dgmjax train mine.py" in capsys.readouterr().out
    assert commands.main(["train", "mine.py", "--tiny", "--steps", "4", "--run-dir", "here"]) == 0
    out = capsys.readouterr().out
    assert "mine.py: nll_bound_k1 on digits test" in out and "report  here/report.html" in out
    # The number that any model must beat is not one of the user's model.
    records = {record.metric: record for record in RunFolder("here").read_records()}
    assert records["nll_nats"].model == "independent Bernoulli pixels (baseline)"
    assert is_reference(records["nll_nats"]) and not is_reference(records["nll_bound_k1"])
    figures = {path.stem for path in (tmp_path / "here" / "figures").glob("*.png")}
    assert figures == {"means", "reconstructions"}
    model = lab.load_run("here", experiment="mine.py").model
    assert model.prior().event_shape == (2,)
    for name, words in (("mine.py", "must be a new file"), ("my-own.py", "name of a function")):
        assert commands.main(["new", name]) == 2
        assert words in capsys.readouterr().err


def plane(*, layers: int = 2, steps: int = 3, tiny: bool = False) -> lab.Experiment:
    """An experiment function as a user writes it in a notebook."""
    from dgmjax import models, training

    loss = objectives.negative_log_likelihood
    return lab.Experiment(
        model=f"MAF ({layers})",
        module=models.MAF(2, layers, (4,)),
        players={"model": training.Player(loss, training.adam(1e-3, steps))},
        dataset=data.load("moons", n_train=64, n_validation=8, n_test=16),
        steps=steps,
        batch_size=16,
        estimators=(lab.Estimator("nll_nats", "exact", lab.averaged(loss)),),
    )


def test_a_function_is_trained_resumed_and_loaded_from_python(capsys):
    trained = lab.train(plane, run="mine", seed=3, layers=1, quiet=True)
    assert capsys.readouterr().out == "" and trained.experiment.model == "MAF (1)"
    assert (trained.folder.experiment, trained.seed, trained.step) == ("plane.py", 3, 3)
    assert (trained.folder.path / "report.html").is_file()
    again = lab.train(plane, run="mine", seed=3, layers=1, quiet=True)
    x = data.load("moons", n_train=8, n_validation=8, n_test=8).splits["test"]["x"]
    loaded = lab.load_run("mine", experiment=plane)
    for one in (again, loaded):
        np.testing.assert_array_equal(one.model.log_prob(x), trained.model.log_prob(x))
    with pytest.raises(RunError, match="layers was 1, now 2"):
        lab.train(plane, run="mine", seed=3, layers=2, quiet=True)
    with pytest.raises(DgmjaxError, match=r"of the experiment plane.* mean `layers`"):
        lab.train(plane, run="other", layer=2, quiet=True)
    with pytest.raises(DgmjaxError, match="`steps` must be at least 1; got 0"):
        lab.train(without_steps, run="other", steps=0, quiet=True)
    with pytest.raises(DgmjaxError, match=r"must be the function of `plane\.py`"):
        lab.load_run("mine", experiment=test_a_function_is_trained_resumed_and_loaded_from_python)
    with pytest.raises(DgmjaxError, match="`--data-dir` must be an existing folder"):
        lab.train(plane, data_dir="nowhere")


PACKAGE = '''
"""Experiments of an installed package."""

from dgmjax import lab


def offered(*, layers: int = 1, tiny: bool = False) -> lab.Experiment:
    """An experiment."""
    raise SystemExit(f"offered {layers}")
'''


def without_steps() -> lab.Experiment:
    return plane()


def test_a_run_is_not_made_shorter_than_it_is(caplog):
    """Its record would say that fewer steps had led to its parameters."""
    lab.train(without_steps, run="mine", steps=5, quiet=True)
    # Schedules end where the experiment would: the user believed that two more steps train.
    assert "the experiment's own 3 steps: most rates are 0 in the other 2" in caplog.text
    before = {path: path.read_bytes() for path in Path("mine").glob("*.json")}
    for steps in (4, None):  # the experiment's own are three
        with pytest.raises(RunError, match=r"`steps` must be at least 5.* got [34]\. Give another"):
            lab.train(without_steps, run="mine", steps=steps, quiet=True)
    assert before == {path: path.read_bytes() for path in Path("mine").glob("*.json")}
    assert lab.train(without_steps, run="mine", steps=6, quiet=True).step == 6


def test_a_run_that_is_done_keeps_what_it_was_trained_with():
    """A call that trains nothing does not say that its numbers are of bfloat16."""
    trained = lambda **options: lab.train(without_steps, run="mine", quiet=True, **options)
    narrow = Execution(compute_dtype="bfloat16")
    arguments = lambda: [one.arguments for one in RunFolder("mine").read_records()]
    trained()
    before = arguments()
    with pytest.raises(RunError, match="`compute_dtype` must be left out, as the run mine was"):
        trained(execution=narrow)
    trained(execution=Execution(remat=True))
    assert arguments() == before and not any("compute_dtype" in one for one in before)
    trained(execution=narrow, steps=5)
    assert all(one["compute_dtype"] == "bfloat16" for one in arguments())


def stopping_early(*, patience: int = 1, tiny: bool = False) -> lab.Experiment:
    """Training that is over at its second validation, which cannot be better than the first."""
    from dgmjax import training

    loss = objectives.negative_log_likelihood
    still = {"model": training.Player(loss, training.adam(1e-30, 90))}
    steps = {"steps": 90, "evaluate_every": 2, "validation": loss, "patience": patience}
    return dataclasses.replace(plane(), players=still, **steps)


def test_a_run_that_stopped_early_is_done():
    trained = lambda **options: lab.train(stopping_early, run="mine", quiet=True, **options)
    trained()
    run = RunFolder("mine")
    assert run.reached < 90 and run.is_trained(90) and run.has_results and not run.is_under_way
    with pytest.raises(RunError, match="`compute_dtype` must be left out, as the run mine was"):
        trained(execution=Execution(compute_dtype="bfloat16"))


def validated(*, tiny: bool = False) -> lab.Experiment:
    """An experiment whose validations may interrupt it."""
    loss = objectives.negative_log_likelihood
    return dataclasses.replace(
        plane(),
        steps=6,
        evaluate_every=2,
        validation=loss,
        figures={"stop": stops},
        previews=("stop",),
    )


def stops(trained):
    """A figure of the second validation, beside which a batch system asks to stop."""
    if Path("stop").exists() and trained.step == 4:
        os.kill(os.getpid(), signal.SIGTERM)
    return image_grid(np.zeros((1, 4, 4)))


def test_an_interrupted_run_is_not_done_and_has_no_published_number():
    trained = lambda steps=None: lab.train(validated, run="mine", steps=steps, quiet=True)
    trained(2)
    assert RunFolder("mine").has_results
    Path("stop").touch()
    with pytest.raises(KeyboardInterrupt):
        trained()
    run = RunFolder("mine")
    assert run.is_under_way and not run.has_results and (run.path / "results.json").exists()
    assert compare([run.path]).table()[1][0][0] == "defaults, unfinished"
    assert runner.shortened(run, validated())
    Path("stop").unlink()
    trained()
    run = RunFolder("mine")
    assert run.has_results and not run.is_under_way and not runner.shortened(run, validated())


def test_a_refused_process_leaves_the_options_of_the_running_one():
    lab.train(without_steps, run="mine", steps=3, quiet=True)
    before = Path("mine/config.json").read_bytes()
    with RunFolder("mine").lock(), pytest.raises(RunError, match="Another process is training"):
        lab.train(without_steps, run="mine", steps=5, execution=Execution(accumulate=2), quiet=True)
    assert Path("mine/config.json").read_bytes() == before


def test_the_best_parameters_of_a_full_disk_are_those_in_memory(monkeypatch):
    """With `continue` they were an older checkpoint's, under the number of the best step."""
    whole = lab.train(validated, run="whole", quiet=True)
    seal = Checkpoints._seal

    def full(self, step):
        if step > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        seal(self, step)

    monkeypatch.setattr(Checkpoints, "_seal", full)
    going_on = Execution(on_disk_error="continue")
    found = lab.train(validated, run="mine", execution=going_on, quiet=True)
    assert found.step == whole.step > 2
    x = data.load("moons", n_train=8, n_validation=8, n_test=8).splits["test"]["x"]
    np.testing.assert_array_equal(found.model.log_prob(x), whole.model.log_prob(x))
    assert RunFolder("mine").reached == 2


def test_the_record_names_the_step_of_the_parameters_that_are_there(capsys):
    """The best checkpoint is damaged, so that an older one takes its place."""
    trained = lambda: lab.train(validated, run="mine")
    best = trained().step
    steps = sorted(int(path.name) for path in Path("mine/checkpoints/best/steps").iterdir())
    assert steps[-1] == best and len(steps) == 2
    Path(f"mine/checkpoints/best/steps/{best}/host.json").write_text("{")
    assert trained().step == steps[0]
    assert {record.step for record in RunFolder("mine").read_records()} == {steps[0]}
    assert f"of step {best}, are not on the disk" in capsys.readouterr().err


def test_an_installed_package_offers_experiments(tmp_path, monkeypatch, capsys):
    site = tmp_path / "site"
    (site / "package_of_mine").mkdir(parents=True)
    (site / "package_of_mine" / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "mine_experiments.py").write_text(textwrap.dedent(PACKAGE))
    info = site / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dgmjax.experiments]\noffered = mine_experiments:offered\n"
        "vae_mnist = package_of_mine:hidden\nother = package_of_mine:x\n"
    )
    monkeypatch.syspath_prepend(str(site))
    entries = {entry.name: entry for entry in catalogue.catalogue()}
    assert entries["offered"].summary == "of mine_experiments:offered"
    assert entries["offered"].family == "mine"
    assert entries["vae_mnist"].family == "latent"  # ours counts
    assert catalogue.load_experiment("vae_mnist").__module__.endswith("latent.vae_mnist")
    with pytest.raises(SystemExit, match="offered 3"):
        commands.main(["train", "offered", "--layers", "3"])
    with pytest.raises(DgmjaxError, match="Did you mean `offered`"):
        catalogue.load_experiment("offred")


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vae_mnist", {"changed": {}}, False),
        ("vae_mnist", {"changed": {}, "steps": 99}, True),
        ("vae_mnist", {"changed": {}, "steps": 100}, False),
        ("gan_eight_gaussians", {"changed": {"steps": 500}}, True),
        ("gan_eight_gaussians", {"changed": {"steps": 50_000}}, False),
        ("mine.py", {"changed": {"steps": 5}}, False),
    ],
)
def test_a_run_of_fewer_steps_is_another_one(tmp_path, name, options, expected):
    run = RunFolder.create(tmp_path, name, {}, 0)
    run.config["options"] = options
    assert runner.shortened(run, SimpleNamespace(steps=100)) is expected
