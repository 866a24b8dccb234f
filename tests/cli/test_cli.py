"""The command line: fast help without JAX, one-line errors with the nearest name, exit codes."""

import os
import resource
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

from dgmjax.cli import commands as cli, training as cli_training
from dgmjax.errors import DataError, DgmjaxError, RunError, TrainingDiverged
from dgmjax.lab import catalogue, writing
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Record
from dgmjax.training.execution import Execution

TOY = '''
    """A toy that must reach 1.23 nats (Nobody, 2020, table 1)."""

    from typing import Literal

    from dgmjax import lab


    class Built(dict):
        steps = 1


    def toy(
        *,
        latent: int = 20,
        learning_rate: float = 1e-3,
        estimator: Literal["elbo", "iwae"] = "elbo",
        hidden: tuple[int, ...] = (200, 200),
        direct: bool = True,
        name: str | None = None,
        tiny: bool = False,
    ):
        """A toy.

        Args:
          latent: size of the latent
            space [dimensions].
          learning_rate: of Adam.
          estimator: the bound.
          hidden: units of each layer.
          direct: with direct links.
          name: anything.
          tiny: in miniature.
        """
        return Built(latent=latent, hidden=hidden, tiny=tiny)
    '''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The path of a user's experiment, in a fresh working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DGMJAX_CACHE", "off")
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "toy.py").write_text(textwrap.dedent(TOY))
    return "toy.py"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A catalogue of two experiments in place of dgmjax's own."""
    folder = tmp_path / "package"
    for family in ("toys", "flows", "shared"):
        (folder / family).mkdir(parents=True)
    (folder / "toys" / "toy.py").write_text(textwrap.dedent(TOY))
    (folder / "flows" / "maf_moons.py").write_text('def maf_moons():\n    """Moons: 0.3 nats."""\n')
    (folder / "shared" / "common.py").write_text("raise RuntimeError('a listing runs no code')\n")
    (folder / "toys" / "broken.py").write_text("def broken(:\n")
    monkeypatch.setattr(catalogue, "_folder", lambda: folder)
    return folder


@pytest.fixture
def requests(monkeypatch):
    """What `train` was asked for, in place of training."""
    found = []
    monkeypatch.setattr(cli_training, "dispatch_train", found.append)
    return found


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one command."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_defaults_and_every_type_of_argument(toy, requests, capsys):
    assert run(capsys, "train", toy)[0] == 0
    assert run(
        capsys, "train", toy, "--latent", 5, "--learning-rate", "3e-4", "--estimator", "iwae",
        "--hidden", 1, 2, 3, "--no-direct", "--name", "x y", "--tiny", "--seed", 7, "--steps", 9,
        "--run-dir", "here", "--data-dir", "there",
    )[0] == 0  # fmt: skip
    plain, full = requests
    assert plain.arguments == {
        "latent": 20,
        "learning_rate": 1e-3,
        "estimator": "elbo",
        "hidden": (200, 200),
        "direct": True,
        "name": None,
    }
    assert (plain.seed, plain.tiny, plain.steps, plain.run_dir) == (0, False, None, None)
    assert plain.experiment == "toy.py" and plain.function.__name__ == "toy"
    assert full.arguments == {
        "latent": 5,
        "learning_rate": 3e-4,
        "estimator": "iwae",
        "hidden": (1, 2, 3),
        "direct": False,
        "name": "x y",
    }
    assert (full.seed, full.tiny, full.steps, full.data_dir) == (7, True, 9, "there")
    assert str(full.run_dir) == "here"


def test_an_experiment_that_declares_steps_owns_them(tmp_path, toy, requests, capsys):
    (tmp_path / "long.py").write_text(
        "def long(*, steps: int = 500, tiny: bool = False):\n    ...\n"
    )
    assert run(capsys, "train", "long.py", "--steps", 20)[0] == 0
    assert requests[0].arguments == {"steps": 20} and requests[0].steps is None


def test_an_argument_that_would_hide_a_group_of_options_is_named(tmp_path, toy, capsys):
    (tmp_path / "hides.py").write_text("def hides(*, run: int = 3, tiny: bool = False):\n    ...\n")
    code, _, problem = run(capsys, "train", "hides.py", "--run", 2)
    assert code == 2 and "`run` must not be an argument of an experiment" in problem


def test_help_shows_types_defaults_and_explanations(toy, capsys):
    code, out, _ = run(capsys, "train", toy, "--help")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    for piece in (
        "A toy that must reach 1.23 nats",
        "--latent INT size of the latent space [dimensions]. (default: 20)",
        "--learning-rate FLOAT of Adam. (default: 0.001)",
        "--estimator {elbo,iwae}",
        "(default: 200 200)",
        "--direct, --no-direct",
        "--steps INT",
        "--data-dir STR folder of data sets, in place of $DGMJAX_DATA",
    ):
        assert piece in words, piece


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tran"], "no command `tran`. Did you mean `train`?"),
        (["train", "toi"], "no experiment `toi`. Did you mean `toy`?"),
        (["train", "zzz"], "no experiment `zzz`. `dgmjax list`"),
        (["train", "os.path"], "no experiment `os.path`"),
        (["train", "--tiny"], "The experiment comes first"),
        (["train", "absent.py"], "must be an existing file; got absent.py"),
        (["train", "toy.py", "--latnet", "3"], "`--latnet`. Did you mean `--latent`?"),
        (["train", "toy.py", "--learning_rat=3"], "Did you mean `--learning-rate`?"),
        (["train", "toy.py", "--data_dri", "x"], "Did you mean `--data-dir`?"),
        (["train", "toy.py", "extra"], "no argument `extra`"),
        (["train", "toy.py", "--seed", "-1"], "`--seed` must be an integer of at least 0"),
        (["train", "toy.py", "--seed", "4294967296"], "below 2^32; got 4294967296"),
        (["train", "toy.py", "--seed", "4294967295", "--seeds", "2"], "below 2^32; got 4294967296"),
        (["evaluate", "run", "--chains", "3"], "`--chains` must be left out without --ais; got 3"),
        (["evaluate", "run", "--num-samples", "9"], "left out without --samples; got 9"),
        (["evaluate", "run", "--prior-steps", "9"], "left out without --prior-after; got 9"),
        (["compare", "run", "--minutes", "5"], "`--minutes` must be left out without --families"),
        (["train", "toy.py", "--steps", "0"], "`--steps` must be at least 1; got 0"),
        (["sample", "x", "--nmu", "3"], "Did you mean `--num`?"),
        (["report", "absent"], "must be a run folder"),
        (["list", "more"], "no argument `more`"),
    ],
)
def test_one_line_errors_name_the_nearest(toy, package, capsys, arguments, words):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert words in err and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--latent", "many"], "'many'"),
        (["--estimator", "elbow"], "'elbow'"),
        (["--latent"], "--latent"),
    ],
)
def test_values_of_the_wrong_type(toy, requests, capsys, arguments, words):
    code, _, err = run(capsys, "train", toy, *arguments)
    assert code == 2 and words in err and "Traceback" not in err and not requests


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("def bad(:", "SyntaxError"),
        ("def other(): ...", "must have a function `bad`"),
        ("def bad(*, latent=3): ...", "`latent` must have a type and a default"),
        ("def bad(*, latent: int): ...", "`latent` must have a type and a default"),
        ("def bad(**anything): ...", "`anything` must have a type and a default"),
    ],
)
def test_an_experiment_file_that_cannot_be_used(tmp_path, toy, capsys, source, words):
    (tmp_path / "bad.py").write_text(source)
    code, _, err = run(capsys, "train", "bad.py")
    assert code == 2 and words in err and err.count("\n") == 1


def test_list_reads_files_and_runs_none(package, capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    rows = [line.split(maxsplit=1) for line in out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["maf_moons", "toy"]
    assert rows[1][1].strip() == "A toy that must reach 1.23 nats (Nobody, 2020, table 1)."
    assert "maf_moons\n  toy" in run(capsys, "train", "--help")[1]


@pytest.mark.parametrize("problem", [DataError("no data"), TrainingDiverged("NaN")])
def test_errors_are_one_line_unless_the_traceback_is_asked_for(toy, monkeypatch, capsys, problem):
    def fail(request):
        raise problem

    monkeypatch.setattr(cli_training, "dispatch_train", fail)
    assert run(capsys, "train", toy) == (2, "", f"error: {problem}\n")
    with pytest.raises(type(problem)):
        cli.main(["train", toy, "--traceback"])
    monkeypatch.setenv("DGMJAX_TRACEBACK", "1")
    with pytest.raises(type(problem)):
        cli.main(["train", toy])


def test_ctrl_c_ends_with_130(toy, monkeypatch, capsys):
    def interrupt(request):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_training, "dispatch_train", interrupt)
    code, _, err = run(capsys, "train", toy)
    assert code == 130 and "same command" in err


@pytest.fixture
def training(monkeypatch):
    """A stand-in for `dgmjax.lab.runner` that notes its calls."""
    import dgmjax.lab.runner

    module = types.ModuleType("dgmjax.lab.runner")
    module.calls, module.on_disk_error = [], dgmjax.lab.runner.on_disk_error
    module.train = lambda experiment, run, **options: module.calls.append((experiment, options))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(dgmjax.lab, "runner", module, raising=False)
    return module


def test_train_makes_the_run_folder_and_the_same_command_resumes_it(
    tmp_path, toy, training, capsys
):
    command = ("train", toy, "--latent", 5, "--tiny", "--data-dir", "there")
    code, _, err = run(capsys, *command)
    assert code == 2 and "`--data-dir` must be an existing folder; got there" in err
    (tmp_path / "there").mkdir()
    first, second = run(capsys, *command), run(capsys, *command)
    assert first[0] == 0 and first[1] == second[1]
    (folder,) = (tmp_path / "runs" / "toy.py").iterdir()
    assert folder.name.startswith("seed0-tiny-") and (folder / "report.html").is_file()
    assert str(folder.relative_to(tmp_path)) in first[1]
    experiment, options = training.calls[0]
    assert experiment == {"latent": 5, "hidden": (200, 200), "tiny": True}
    told = {"quiet": False, "one_of_many": False}
    assert options == {"seed": 0, "steps": None, "execution": Execution(), **told}
    assert RunFolder(folder).options["data_dir"] == str(tmp_path / "there")
    code, _, err = run(capsys, "train", toy, "--run-dir", folder, "--latent", 6, "--tiny")
    assert code == 2 and "latent was 5, now 6" in err and len(training.calls) == 2
    assert run(capsys, "report", folder)[:2] == (0, f"{folder / 'report.html'}\n")


def test_report_draws_the_figures_again_where_asked(toy, training, capsys):
    assert run(capsys, "train", toy, "--run-dir", "here")[0] == 0
    figures = dict.fromkeys(("samples", "means"))
    loaded = types.SimpleNamespace(experiment=types.SimpleNamespace(figures=figures))
    training.load_run = lambda path, **options: training.calls.append(options) or loaded
    drawn = []
    training.draw_figure = lambda trained, folder, name: drawn.append((trained, folder.path, name))
    code, out, _ = run(capsys, "report", "here", "--draw", "--data-dir", "there")
    assert (code, out.strip()) == (0, "here/report.html")
    assert training.calls[-1] == {"data_dir": "there", "experiment": None}
    assert [name for _, _, name in drawn] == ["samples", "means"] and drawn[0][0] is loaded


def test_evaluate_writes_the_records_again(toy, training, capsys):
    assert run(capsys, "train", toy, "--run-dir", "here")[0] == 0
    fields = dict.fromkeys(("experiment", "model", "dataset", "split", "estimator"), "x")
    fields |= {"binarisation": None, "num_examples": 10, "metric": "nll_nats", "value": 1.5}
    fields |= {"standard_error": None, "unit": "nats", "published": None, "seed": 0, "step": 5}
    record = Record(**fields, device="cpu x 1", versions={}, seconds=1.0)
    training.load_run = lambda path, **options: training.calls.append((path, options))
    training.evaluate = lambda loaded, **options: [record]
    code, out, _ = run(capsys, "evaluate", "here", "--data-dir", "there", "--experiment", toy)
    assert code == 0 and out == "x: nll_nats on x x, x: 1.5 nats (n = 10)\n"
    assert RunFolder("here").read_records() == [record]
    assert training.calls[-1] == (Path("here"), {"data_dir": "there", "experiment": toy})
    (RunFolder("here").figures / "samples.png").touch()
    _, out, _ = run(capsys, "evaluate", "here")
    again = "Figures are those of before; `dgmjax report here --draw` draws them again."
    assert out.splitlines()[1:] == [again]


def test_sample_passes_on_what_it_was_given(toy, training, capsys, monkeypatch):
    training.load_run = lambda path, **options: (path, options)
    monkeypatch.setattr(writing, "write_samples", lambda loaded, **options: (loaded, options))
    assert run(capsys, "sample", "here")[0] == 0
    _, out, _ = run(capsys, "sample", "here", "--num", 5, "--out", "x.npz", "--seed", 3)
    expected = {"num": 5, "out": Path("x.npz"), "seed": 3, "temperature": 1.0}
    assert out == f"{((Path('here'), {'data_dir': None, 'experiment': None}), expected)}\n"
    _, out, _ = run(capsys, "sample", "here", "--temperature", 0.7, "--label", 3)
    expected = {"num": 64, "out": None, "seed": 0, "temperature": 0.7, "label": 3}
    assert out == f"{((Path('here'), {'data_dir': None, 'experiment': None}), expected)}\n"


def test_a_run_of_a_users_file_runs_only_the_file_that_the_user_names(toy, tmp_path):
    assert catalogue.experiment_of("toy.py", "toy.py").__name__ == "toy"
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    for given in (None, "evil.py"):
        with pytest.raises(DgmjaxError, match=r"--experiment path/to/toy\.py"):
            catalogue.experiment_of("toy.py", given)


def test_build_passes_the_shared_arguments_that_are_declared(toy):
    function = catalogue.load_experiment(toy)
    assert "tiny" not in catalogue.own_defaults(function)
    built = catalogue.build(function, {"latent": 3}, tiny=True, seed=1, data_dir=None)
    assert built == {"latent": 3, "hidden": (200, 200), "tiny": True}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["train", "--help"], ["train", "toy.py", "--help"]]
)
def test_help_imports_no_jax_and_takes_half_a_second(toy, arguments):
    code = (
        "import sys, dgmjax.cli.commands\n"
        "try:\n    end = dgmjax.cli.commands.main(sys.argv[1:])\n"
        "except SystemExit as stop:\n    end = stop.code\n"
        "assert end == 0\n"
        "heavy = {'jax', 'flax', 'distrax', 'numpy', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    spent = []
    for _ in range(3):  # the first compiles bytecode; others on the machine cost time too
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) <= 0.5, spent


def test_the_module_is_the_command(toy):
    done = subprocess.run(
        [sys.executable, "-m", "dgmjax", "trian"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "Did you mean `train`?" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_reading_is_no_error(toy, unbuffered):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "dgmjax", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        timeout=60,
    )
    os.close(write)
    assert done.stderr == b"" and done.returncode == 0


def test_how_a_run_went_on_is_kept_and_shown(tmp_path, toy, training, capsys):
    """Steps and execution options of every call are in the run, in its records and its report."""
    command = ("train", toy, "--run-dir", "here")
    assert run(capsys, *command, "--steps", 50, "--remat")[0] == 0
    folder = RunFolder("here")
    assert folder.options["execution"] == {"remat": True} and "earlier" not in folder.options
    assert folder.changed == {"steps": 50, "remat": True}
    assert run(capsys, *command, "--steps", 80, "--compute-dtype", "bfloat16")[0] == 0
    folder = RunFolder("here")
    assert folder.changed == {"steps": 80, "compute_dtype": "bfloat16"}
    assert folder.options["earlier"] == [{"steps": 50, "execution": {"remat": True}}]
    assert run(capsys, *command, "--steps", 80, "--compute-dtype", "bfloat16")[0] == 0
    assert len(RunFolder("here").options["earlier"]) == 1
    page = (folder.path / "report.html").read_text()
    for words in ("compute_dtype</td><td>bfloat16", "steps</td><td>80", "steps 50, remat true"):
        assert words in page


def test_results_and_report_of_a_folder_that_cannot_be_written_go_elsewhere(
    tmp_path, toy, training, capsys, monkeypatch
):
    assert run(capsys, "train", toy, "--run-dir", "here")[0] == 0
    training.load_run = lambda path, **options: None
    training.evaluate = lambda loaded, **options: []

    def refuse(path, content, error=RunError):
        if "here" in str(path):
            raise RunError(f"`path` must be a file that can be written; got {path}: Read-only.")
        Path(path).write_text(content)

    monkeypatch.setattr("dgmjax.files.write_atomically", refuse)
    for command, name in (("evaluate", "results.json"), ("report", "report.html")):
        code, _, err = run(capsys, command, "here")
        assert code == 2 and f"here/{name}: Read-only. With `--out FILE` it goes elsewhere" in err
        assert run(capsys, command, "here", "--out", f"mine-{name}")[0] == 0
        assert (tmp_path / f"mine-{name}").exists()


@pytest.mark.slow
def test_a_run_without_the_compiler_flags_of_this_session(tmp_path):
    """Programs may have options that a flag of the session would switch off."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "-m", "dgmjax", "train", "vae_digits", "--tiny", "--steps", "2"]
    command += ["--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "results.json").is_file()
