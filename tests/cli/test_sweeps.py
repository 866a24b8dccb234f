"""Files of arguments, sweeps and comparisons."""

import csv
import dataclasses
import io
import math
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from measured import record
from test_cli import run, toy  # noqa: F401

from dgmjax.cli import sweeps, training as cli_training
from dgmjax.cli.arguments import options_of_several, parse_train
from dgmjax.cli.stopping import STOPPING
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue
from dgmjax.lab.session import TrainRequest
from dgmjax.plotting import image_grid, save
from dgmjax.runs.comparison import compare
from dgmjax.runs.folder import RunFolder


@pytest.fixture
def requests(monkeypatch):
    found = []
    monkeypatch.setattr(cli_training, "dispatch_train", found.append)
    return found


@pytest.mark.parametrize(
    "name, content",
    [
        (
            "c.toml",
            'latent = 7\nlearning-rate = 1e-4\nhidden = [3, 4]\nname = "a b"\nremat = true\n',
        ),
        ("c.yaml", "latent: 7\nlearning_rate: 0.0001\nhidden: [3, 4]\nname: a b\nremat: true\n"),
    ],
)
def test_a_file_of_arguments(tmp_path, toy, requests, capsys, name, content):  # noqa: F811
    (tmp_path / name).write_text(content)
    assert run(capsys, "train", toy, "--config", name, "--latent", 9)[0] == 0
    assert run(capsys, "train", toy, f"--config={name}")[0] == 0
    above, plain = requests
    assert above.arguments["latent"] == 9 and plain.arguments["latent"] == 7
    assert plain.arguments["learning_rate"] == 1e-4 and plain.arguments["hidden"] == (3, 4)
    assert plain.arguments["name"] == "a b" and plain.execution.remat and not plain.tiny


def test_printed_arguments_are_such_a_file(tmp_path, toy, requests, capsys):  # noqa: F811
    options = ("--latent", 5, "--hidden", 1, 2, "--no-direct", "--seed", 3, "--steps", 8)
    code, out, _ = run(capsys, "train", toy, *options, "--print-config")
    assert code == 0 and not requests and "# name =" in out
    (tmp_path / "again.toml").write_text(out)
    assert run(capsys, "train", toy, "--config", "again.toml")[0] == 0
    assert run(capsys, "train", toy, *options)[0] == 0
    again, same = requests
    assert dataclasses.replace(again, function=same.function) == same and again.steps == 8


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("c.toml", "latnet = 3", "`latnet`, which is no argument. Did you mean `latent`?"),
        ("c.toml", "latent = ", "must be a readable file"),
        ("c.yaml", "a: [1", "must be a readable file"),
        ("c.yaml", "a: !!python/object/apply:os.system [echo]", "must be a readable file"),
        ("c.yaml", "- 1", "must hold names and values"),
        ("c.json", "{}", "must end in one of"),
        (None, "", "must be an existing file; got c.toml"),
    ],
)
def test_a_file_of_arguments_that_cannot_be_used(tmp_path, toy, capsys, name, content, words):  # noqa: F811
    if name:
        (tmp_path / name).write_text(content)
    code, _, err = run(capsys, "train", toy, "--config", name or "c.toml")
    assert code == 2 and words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "content, word",
    [
        ("steps = 10.5", "--steps"),
        ('tiny = "no"', "--tiny"),
        ('steps = "ten"', "--steps"),
        ('compute-dtype = "float8"', "--compute-dtype"),
        ("learning-rate = 0.5\nlearning_rate = 0.25", "--config"),
    ],
)
@pytest.mark.parametrize("then", [(), ("--print-config",)])
def test_values_of_a_file_are_checked_as_those_of_the_command_line(
    tmp_path,
    toy,  # noqa: F811
    requests,
    capsys,
    content,
    word,
    then,
):
    (tmp_path / "c.toml").write_text(content)
    code, out, err = run(capsys, "train", toy, "--config", "c.toml", *then)
    assert code == 2 and word in err and not requests and "=" not in out


def test_the_grid_and_random_draws():
    plan = sweeps.parse_sweep(["--latent", "2", "4", "--hidden", "8,8", "--tiny", "--seeds", "2"])
    assert sweeps.combinations(plan, {"--hidden"}) == [
        ["--latent", latent, "--hidden", "8", "8", "--tiny", "--seed", seed]
        for latent in ("2", "4")
        for seed in ("0", "1")
    ]
    drawn = sweeps.parse_sweep(["--learning-rate", "1e-5:1e-1", "--random", "400"])
    rates = [math.log10(float(options[1])) for options in sweeps.combinations(drawn)]
    assert sweeps.combinations(drawn)[0] == sweeps.combinations(drawn)[0]
    # Uniform on [-5, -1]: mean -3, standard deviation 4 / sqrt(12), over 400 draws.
    assert abs(np.mean(rates) + 3) < 4 * 4 / math.sqrt(12 * 400)
    assert min(rates) >= -5 and max(rates) <= -1
    # Draws differ from each other, and there may be no more of them than there are.
    few = ["--latent", "2", "--latent", "4", "8", "--random"]
    found = sweeps.combinations(sweeps.parse_sweep([*few, "3"]))
    assert sorted(options[1] for options in found) == ["2", "4", "8"]
    with pytest.raises(DgmjaxError, match="`--random` must be at most the 3 different"):
        sweeps.combinations(sweeps.parse_sweep([*few, "4"]))
    # Commas part values of options that take several only.
    log = sweeps.combinations(sweeps.parse_sweep(["--log", "csv,tensorboard"]), {"--hidden"})
    assert log[0][:2] == ["--log", "csv,tensorboard"]
    assert options_of_several(catalogue.load_experiment("vae_digits")) == {"--hidden"}
    for bad, words in (
        (["4"], "must begin with an option"),
        (["--seeds", "x"], "whole number"),
        (["--seed", "1"], "Use `--seeds`"),
        (["--run-dir", "x"], "left out of a sweep"),
    ):
        with pytest.raises(DgmjaxError, match=words):
            sweeps.parse_sweep(bad)
    with pytest.raises(DgmjaxError, match="for `--random N`"):
        sweeps.combinations(sweeps.parse_sweep(["--learning-rate", "1e-5:1e-1"]))
    with pytest.raises(DgmjaxError, match="two numbers above 0"):
        sweeps.combinations(sweeps.parse_sweep(["--rate", "0:1", "--random", "1"]))


@pytest.fixture
def training(monkeypatch):
    """`dgmjax train` replaced by a function that writes the latent size as the result."""
    commands = []

    def train(arguments, variables):
        commands.append(arguments)
        request = parse_train(catalogue.load_experiment(arguments[0]), arguments[0], arguments[1:])
        failed = request.arguments["latent"] == 13
        if not failed:
            folder = request.folder()
            value = request.arguments["latent"] + 0.5 * request.seed
            made = dataclasses.replace(record("nll_nats", value), seed=request.seed)
            folder.write_records([made, dataclasses.replace(made, model="pixels (baseline)")])
        return type("Done", (), {"returncode": 2 * failed, "stderr": "error: unlucky\n"})

    monkeypatch.setattr(sweeps, "_train", train)
    return commands


def test_a_sweep_trains_compares_and_continues(toy, training, capsys):  # noqa: F811
    command = ("sweep", toy, "--latent", 2, 13, 4, "--seeds", 2, "--tiny")
    code, out, err = run(capsys, *command)
    assert code == 2 and "2 of 6 runs failed" in err and len(training) == 6
    assert "failed, error: unlucky" in out
    # Two seeds of values v and v + 1/2: mean v + 1/4, error (1 / sqrt 8) / sqrt 2 = 1/4.
    words = " ".join(out.split())
    for row in (
        "--latent 2 --tiny 2.25 ± 0.25 (2 seeds)",
        "--latent 4 --tiny 4.25 ± 0.25 (2 seeds)",
    ):
        assert row in words
    code, out, _ = run(capsys, *command)
    assert len(training) == 8 and out.count("done already") == 4
    assert run(capsys, "sweep", toy, "--latent", "many", 2)[0] == 2 and len(training) == 8
    code, out, _ = run(capsys, "sweep", toy, "--latent", 2, 3, "--dry-run")
    assert (
        out == f"dgmjax train {toy} --latent 2 --seed 0\ndgmjax train {toy} --latent 3 --seed 0\n"
    )


def test_runs_of_a_sweep_over_shared_options_have_folders_of_their_own(toy, training, capsys):  # noqa: F811
    """The name of a run's folder holds the experiment's own arguments only."""
    command = ("sweep", toy, "--compute-dtype", "float32", "bfloat16", "--latent", 2, 4, "--tiny")
    assert run(capsys, *command)[0] == 0
    folders = {arguments[-1] for arguments in training}
    assert len(training) == len(folders) == 4
    assert sum(folder.endswith("-compute-dtype_bfloat16") for folder in folders) == 2
    code, out, _ = run(capsys, *command)
    assert code == 0 and len(training) == 4 and out.count("done already") == 4
    _, out, _ = run(capsys, "sweep", toy, "--steps", 4, 8, "--dry-run")
    assert "--steps 4 --seed 0 --run-dir runs/" in out and "-steps_8\n" in out


def test_every_run_has_a_place_of_its_own_for_checkpoints(toy, training, capsys):  # noqa: F811
    command = ("sweep", toy, "--checkpoint-dir", "/far/away", "--latent", 2, 4, "--tiny")
    code, out, _ = run(capsys, *command)
    places = [arguments[arguments.index("--checkpoint-dir") + 1] for arguments in training]
    assert code == 0 and len(set(places)) == 2 and "/far" not in out.split("\nrun ")[1]
    assert all(place.startswith("/far/away/toy.py/seed0-tiny-") for place in places)
    training.clear()
    Path("c.toml").write_text('checkpoint-dir = "/near"\n')
    code, _, err = run(capsys, "sweep", toy, "--config", "c.toml", "--latent", 6, 8, "--tiny")
    assert code == 0, err
    places = {arguments[arguments.index("--checkpoint-dir") + 1] for arguments in training}
    assert len(places) == 2 and all(place.startswith("/near/toy.py/") for place in places)
    request = parse_train(catalogue.load_experiment(toy), toy, ["--checkpoint-dir", "/far"])
    several = dataclasses.replace(request, seeds=2).of_each_seed()
    places = [one.execution.checkpoint_dir for one in several]
    assert places == ["/far/seed_0", "/far/seed_1"]


def test_a_damaged_folder_ends_its_own_run_only(toy, training, capsys):  # noqa: F811
    command = ("sweep", toy, "--latent", 2, 4, "--tiny")
    assert run(capsys, *command)[0] == 0
    folder = sorted((Path("runs") / "toy.py").iterdir())[0]
    (folder / "config.json").write_text("{")
    code, out, err = run(capsys, *command)
    assert code == 2 and "1 of 2 runs failed" in err
    assert out.count("done already") == 1 and out.count("failed, error: ") == 1


def test_words_of_a_dry_run_can_be_pasted(toy, capsys):  # noqa: F811
    _, out, _ = run(capsys, "sweep", toy, "--name", "a b", "c", "--dry-run")
    assert f"dgmjax train {toy} --name 'a b' --seed 0\n" in out


SLOW = """
import sys, time
from pathlib import Path

try:
    Path(sys.argv[1]).touch()
    time.sleep(60)
except KeyboardInterrupt:
    Path(sys.argv[1]).write_text("told")
    sys.exit(130)
"""


def test_a_sweep_that_is_asked_to_stop_tells_its_runs(tmp_path, monkeypatch):
    """A batch system tells the sweep alone."""
    begun = tmp_path / "begun"
    monkeypatch.setattr(sweeps.sys, "executable", make_script(tmp_path, SLOW, begun))
    request = TrainRequest("toy.py", lambda: None, {}, run_dir=tmp_path / "run")

    def stop():
        while not begun.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with STOPPING, pytest.raises(KeyboardInterrupt):
        sweeps.carry_out_all("toy.py", [([], request)], 1)
    assert begun.read_text() == "told" and not sweeps._running


def make_script(folder, text, argument):
    """A program in place of Python, which ignores the arguments that it is called with."""
    (folder / "slow.py").write_text(text)
    program = folder / "program"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -S {folder / 'slow.py'} {argument}\n")
    program.chmod(0o755)
    return str(program)


def test_models_of_one_run_are_rows_and_no_seeds(tmp_path):
    for seed, values in ((0, {"gail": 1.0, "cloning": 9.0}), (1, {"gail": 3.0, "cloning": 9.0})):
        folder = RunFolder.create(tmp_path / str(seed), "toy.py", {}, seed)
        made = [
            dataclasses.replace(record("mean_return", value, unit="reward"), model=name, seed=seed)
            for name, value in values.items()
        ]
        # A metric that the first run lacks is still told of the second one's folder.
        made += [record("nll_nats", 5.0)] * seed
        folder.write_records(made)
        save(image_grid(np.zeros((4, 8, 8))), folder.figures / "samples.png")
        folder.close()
    folders = sorted(file.parent for file in tmp_path.glob("*/*/*/config.json"))
    found = compare(folders)
    assert [row[:2] for row in found.table()[1]] == [
        ["defaults, gail", "2.0 ± 1.0 (2 seeds)"],
        ["defaults, cloning", "9 (2 seeds)"],
        ["defaults, " + record("nll_nats", 5.0).model, "-"],
    ]
    assert {row["folder"] for row in csv.DictReader(io.StringIO(found.csv()))} == set(
        map(str, folders)
    )
    last = list(csv.DictReader(io.StringIO(found.csv())))[-1]
    assert (last["metric"], last["folder"]) == ("nll_nats", str(folders[1]))
    assert found.html().count("<img") == 1


def test_runs_side_by_side(tmp_path, toy, capsys, monkeypatch):  # noqa: F811
    folders = []
    for latent, seed, value in ((2, 0, 1.0), (2, 1, 3.0), (4, 0, 7.0)):
        folder = RunFolder.create(
            tmp_path / "runs", "toy.py", {"latent": latent}, seed, defaults={"latent": 2}
        )
        made = dataclasses.replace(record("nll_nats", value), seed=seed)
        folder.write_records([made, dataclasses.replace(made, model="pixels (baseline)")])
        for step in (1, 2):
            folder.write_metrics(step, **{"validation/loss": value / step})
        save(image_grid(np.zeros((4, 8, 8))), folder.figures / "samples.png")
        folder.close()
        folders.append(folder.path)
    found = compare(folders)
    header, cells = found.table()
    assert header == ["run", "nll_nats (nats)", "time"]
    assert [row[:2] for row in cells] == [
        ["defaults", "2.0 ± 1.0 (2 seeds)"],
        ["--latent 4", "7"],
    ]
    # A folder given twice is one run; a copy of a run is no other seed.
    shutil.copytree(folders[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    twice = compare([folders[0], folders[0].relative_to(tmp_path)])
    assert twice.table()[1][0][1] == "1"
    assert compare([folders[0], tmp_path / "copy"]).table()[1][0][1] == "1 (2 runs)"
    lines = list(csv.DictReader(io.StringIO(found.csv())))
    assert [(line["run"], line["seed"], float(line["value"])) for line in lines] == [
        ("defaults", "0", 1.0),
        ("defaults", "1", 3.0),
        ("--latent 4", "0", 7.0),
    ]
    code, out, _ = run(capsys, "compare", *folders, "--html", "all.html", "--csv", "all.csv")
    assert code == 0 and "--latent 4" in out
    page = (tmp_path / "all.html").read_text()
    assert page.count("<img") == 3 and "2.0 ± 1.0 (2 seeds)" in page and "<script" not in page
    assert (tmp_path / "all.csv").read_text() == found.csv()
