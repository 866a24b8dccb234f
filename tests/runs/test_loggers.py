"""Loggers: what reaches each place, and that none of them ends a run."""

import csv
import logging
import math
import sys
import types

import pytest

from dgmjax.errors import DgmjaxError, RunError
from dgmjax.lazy import MissingExtra
from dgmjax.runs import RunFolder
from dgmjax.runs.loggers import LOGGERS, loggers_named


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, "vae", {"latent": 3}, 0, options={"steps": 20})


def rows(run):
    with open(run.path / "metrics.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_line_a_step_whatever_comes_again(run):
    run.write_metrics(5, loss=1.0)  # before there was such a logger
    with run:
        run.log_to(("csv",))
        run.write_metrics(10, loss=0.5)
        run.write_metrics(10, **{"validation/loss": 0.75})
        run.write_metrics(20, loss=0.25)
    expected = [("5", "1.0", ""), ("10", "0.5", "0.75"), ("20", "0.25", "")]
    shown = lambda: [(r["step"], r["loss"], r["validation/loss"]) for r in rows(run)]
    assert shown() == expected
    run.truncate_metrics(10)  # resumed
    with run:
        run.log_to(("csv",))
        run.write_metrics(15, loss=0.125)
    assert [row["step"] for row in rows(run)] == ["5", "10", "15"]


def test_tensorboard_has_arguments_and_figures(run, tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    png = b"\x89PNG\r\n\x1a\n" + bytes(8) + (7).to_bytes(4) + (5).to_bytes(4)
    (tmp_path / "means.png").write_bytes(png)
    with run:
        run.log_to(("tensorboard",))
        run.note_figure("means", tmp_path / "means.png", 20)
    (file,) = (run.path / "events" / "figures").iterdir()
    content, values, position = file.read_bytes(), {}, 0
    while position < len(content):  # length, its checksum, the event, its checksum
        length = int.from_bytes(content[position : position + 8], "little")
        event = Event.FromString(content[position + 12 : position + 12 + length])
        values |= {value.tag: value for value in event.summary.value}
        position += 16 + length
    image = values["means"].image
    assert (image.width, image.height, image.encoded_image_string) == (7, 5, png)
    (text,) = [value for tag, value in values.items() if tag.startswith("arguments")]
    assert b"latent = 3" in text.tensor.string_val[0] and b"steps = 20" in text.tensor.string_val[0]


class Recorder(types.ModuleType):
    """A package that notes what is called, like those of the two services in offline mode."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def called(*values, **options):
            self.calls.append((name, values, options))
            return self

        called.update = lambda *values, **options: called(*values, **options)
        return called


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_services_get_arguments_metrics_and_figures(run, monkeypatch, tmp_path, name):
    service = Recorder(name)
    monkeypatch.setitem(sys.modules, name, service)
    with run:
        run.log_to((name,))
        run.write_metrics(10, loss=0.5, other=math.nan)
        run.note_figure("means", tmp_path / "means.png", 20)
    called = {call[0]: call for call in service.calls}
    if name == "wandb":
        assert len(called["init"][2]["id"]) == 16 and called["init"][2]["dir"]
        assert called["config"][1][0]["latent"] == 3
        logged = [(values[0], options) for what, values, options in service.calls if what == "log"]
        assert logged[0][0]["loss"] == 0.5 and logged[0][1] == {"step": 10}
        assert list(logged[1][0]) == ["figures/means"] and "finish" in called
    else:
        assert called["log_params"][1][0]["latent"] == "3"
        assert called["log_metrics"] == ("log_metrics", ({"loss": 0.5},), {"step": 10})
        assert called["log_artifact"][1] == (str(tmp_path / "means.png"), "figures")
        assert "end_run" in called


def test_runs_of_the_same_arguments_in_two_folders_are_two_runs_of_wandb(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", service := Recorder("wandb"))
    for name in ("one", "two", "one"):
        with RunFolder.create(tmp_path, "toy", {}, 0, run_dir=tmp_path / name) as run:
            run.log_to(("wandb",))
    first, second, again = (options["id"] for what, _, options in service.calls if what == "init")
    assert first == again != second


@pytest.mark.parametrize("kind", [ConnectionError, RunError])
def test_a_logger_that_fails_is_left_and_the_run_goes_on(run, monkeypatch, caplog, kind):
    class Broken:
        def __getattr__(self, name):
            raise kind("no route")

    monkeypatch.setitem(LOGGERS, "broken", lambda run: Broken())
    with run, caplog.at_level(logging.WARNING):
        run.log_to(("broken", "csv"))
        for step in (1, 2):
            run.write_metrics(step, loss=1.0)
    assert [record.getMessage() for record in caplog.records] == [
        f"No more of the logger broken: {kind.__name__}: no route"
    ]
    assert [row["step"] for row in rows(run)] == ["1", "2"]


def test_names_and_packages_that_are_not_there(run, monkeypatch):
    with pytest.raises(DgmjaxError, match="among csv, tensorboard, wandb, mlflow; got wnadb"):
        loggers_named("csv,wnadb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"dgmjax\[wandb\]"):
        run.log_to(("wandb",))
