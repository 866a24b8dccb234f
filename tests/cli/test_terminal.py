"""The terminal: lists, completion, grouped help, forecasts, traces, files of samples."""

import json
import os
import pty
import re
import subprocess
import sys
import wave

import numpy as np
import pytest

from dgmjax.cli import commands, completion
from dgmjax.cli.listing import _duration
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue, writing
from dgmjax.lab.forecast import write_profile
from dgmjax.lab.trained import Trained
from dgmjax.training.execution import Execution
from dgmjax.training.progress import busy


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DGMJAX_CACHE", "off")


def run(capsys, *arguments):
    try:
        code = commands.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_the_list_is_filtered_and_read_by_programs(capsys):
    entries = json.loads(run(capsys, "list", "--family", "latent", "--json")[1])
    assert {entry["family"] for entry in entries} == {"latent"} and len(entries) > 10
    short = json.loads(run(capsys, "list", "--time", 1, "--json")[1])
    assert "vae_digits" in {entry["name"] for entry in short}
    assert all(entry["seconds"] <= 60 for entry in short)
    digits = json.loads(run(capsys, "list", "--data", "digits", "--json")[1])
    assert {"vae_digits", "wavenet_spoken_digits"} <= {entry["name"] for entry in digits}
    assert "vae_mnist" not in {entry["name"] for entry in digits}
    code, _, err = run(capsys, "list", "--family", "laten")
    assert code == 2 and "must be one of adversarial, " in err


def test_the_list_has_the_times_of_recorded_runs(capsys):
    row = next(line for line in run(capsys, "list")[1].splitlines() if line.startswith("vae_digit"))
    seconds = {entry.name: entry.seconds for entry in catalogue.catalogue()}["vae_digits"]
    assert row.rstrip().endswith(_duration(seconds)) and seconds > 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tra"], ["train"]),
        (["train", "vae_d"], ["vae_digits"]),
        (["train", "vae_digits", "--lat"], ["--latent"]),
        (["train", "vae_posteriors_mnist", "--posterior", "diag"], ["diagonal"]),
        (["train", "vae_digits", "--compute-dtype", ""], ["float32", "bfloat16"]),
        (["sample", "runs/x", "--te"], ["--temperature"]),
        (["data", ""], ["get", "check"]),
        (["completion", "f"], []),
        (["train", "no_such_thing", "--"], []),
    ],
)
def test_completion(capsys, words, found):
    assert run(capsys, "complete", "--", *words)[1].split() == found


def test_the_shell_asks_the_command(capsys, tmp_path):
    script = run(capsys, "completion", "bash")[1]
    (tmp_path / "dgmjax").write_text("#!/bin/sh\necho train evaluate\n")
    (tmp_path / "dgmjax").chmod(0o755)
    check = 'COMP_WORDS=(dgmjax tr); COMP_CWORD=1; _dgmjax; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{check}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout.strip() == "train", done.stderr
    assert set(completion.SCRIPTS) == {"bash", "zsh", "fish"}


def test_help_is_grouped_and_shows_choices(capsys):
    text = run(capsys, "train", "vae_digits", "--help")[1]
    places = [
        re.search(rf"^\W*{title}options\W*$", text, re.M).start()
        for title in ("", "run ", "execution ", "processes ")
    ]
    assert places == sorted(places)
    assert places[0] < text.index("--latent") < places[1] < text.index("--seed ") < places[2]
    assert places[2] < text.index("--remat") < places[3] < text.index("--coordinator")
    assert "--compute-dtype {float32,bfloat16}" in text


def test_a_dry_run_says_what_training_takes_and_leaves_nothing(capsys, tmp_path):
    code, out, _ = run(capsys, "train", "vae_digits", "--tiny", "--steps", 30, "--dry-run")
    assert code == 0 and not (tmp_path / "runs").exists()
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    encoder, decoder = 64 * 16 + 16 + 2 * (16 * 16 + 16), 16 * 16 + 16 + 16 * 64 + 64
    assert lines["parameters"] == f"{encoder + decoder:,}"
    assert "30 steps" in lines["time"] and "for a step" in lines["memory"]


@pytest.mark.slow
def test_a_profile_is_a_trace(tmp_path):
    trained = untrained("vae_digits")
    folder = write_profile(trained.experiment, tmp_path / "profile", Execution())
    assert list(folder.rglob("*.xplane.pb"))


def untrained(name):
    """An experiment in miniature with the parameters that it begins with."""
    import jax

    function = catalogue.load_experiment(name)
    built = catalogue.build(function, {}, seed=0, tiny=True, data_dir=None)
    learner = built.learner()
    batch = {n: a[: built.batch_size] for n, a in built.dataset.splits["train"].items()}
    init = jax.jit(lambda key, batch: learner.init(key, built.transform(batch, key)))
    state = init(jax.random.key(0), batch)
    return Trained(built, learner, state)


def test_samples_of_a_class_and_a_model_without_classes(tmp_path):
    trained = untrained("cvae_mnist")
    one, other = (trained.sample(8, seed=3, label=label) for label in (0, 1))
    assert one.shape == (8, 8, 8, 1) and not np.array_equal(one, other)
    with pytest.raises(DgmjaxError, match=r"`label` must be in 0 .. 9; got 10"):
        trained.sample(2, label=10)
    with pytest.raises(DgmjaxError, match="without classes"):
        untrained("vae_digits").sample(2, label=1)
    with pytest.raises(DgmjaxError, match="must be sound"):
        writing.write_samples(trained, num=2, out=tmp_path / "new" / "x.wav")
    assert not (tmp_path / "new").exists()


def test_sound_is_written_as_sound(tmp_path):
    trained = untrained("wavenet_spoken_digits")
    path = writing.write_samples(trained, num=2, out=tmp_path / "x.wav", label=3)
    x = trained.sample(2, label=3)
    rate = trained.experiment.dataset.info["sample_rate_hz"]
    with wave.open(str(path)) as sound:
        frames = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        assert sound.getframerate() == rate
    pause = rate // 10
    np.testing.assert_array_equal(frames[: x.shape[1]], x[0])
    assert len(frames) == 2 * (x.shape[1] + pause)


def test_a_bad_ending_is_refused_before_anything_is_loaded(tmp_path):
    code = (
        "import sys, dgmjax.cli.commands as c\n"
        "assert c.main(['sample', 'absent', '--out', 'x.jpg']) == 2\n"
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "must end in one of .png" in done.stderr


def test_a_spinner_turns_on_a_terminal_only(monkeypatch, capsys):
    with busy("compiling"):
        pass
    assert capsys.readouterr() == ("", "")
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    shown = ""
    with open(slave, "w") as terminal:
        with busy("compiling the training step", terminal):
            pass
        terminal.write("end")
        terminal.flush()
        while "end" not in shown:
            shown += os.read(master, 10_000).decode()
    os.close(master)
    assert "compiling the training step" in shown and "\n\n" not in shown
