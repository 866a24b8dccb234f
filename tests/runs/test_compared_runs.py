"""Comparisons of runs whose records are of several data, estimators and names."""

import csv
import io

import pytest
from example_records import a_record

from dgmjax.runs import RunFolder
from dgmjax.runs.comparison import compare


@pytest.fixture
def folder(tmp_path):
    def made(*records, seed=0, **arguments):
        run = RunFolder.create(tmp_path, "toy", arguments, seed)
        run.write_records(list(records))
        return run

    return made


def test_splits_and_data_sets_are_columns_of_their_own(folder):
    """They were averaged, and called seeds."""
    run = folder(a_record(split="train", value=10.0), a_record(split="test", value=90.0))
    header, ((_, train, test, _),) = compare([run.path]).table()
    assert (train, test) == ("10.00 ± 0.10", "90.00 ± 0.10")
    assert "train" in header[1] and "test" in header[2]
    one = folder(a_record(dataset="mnist"), seed=1)
    other = folder(a_record(dataset="omniglot", seed=1), seed=2)
    assert len(compare([one.path, other.path]).metrics) == 2


def test_equal_names_are_told_apart_by_their_estimators(folder):
    records = [
        a_record(metric="fid", estimator=f"{calls} network calls", value=60.0 / calls)
        for calls in (4, 8)
    ]
    header, _ = compare([folder(*records).path]).table()
    assert header[1:3] == ["fid (nats; 4 network calls)", "fid (nats; 8 network calls)"]


def test_any_name_keeps_its_place_in_a_table_of_commas(folder):
    run = folder(a_record(estimator="x\ry", model='m, "n"'), tag="a\rb")
    rows = list(csv.reader(io.StringIO(compare([run.path]).csv(), newline="")))
    assert len(rows) == 2 and len(rows[0]) == len(rows[1])
    row = dict(zip(*rows))
    assert row["estimator"] == "x\ry" and float(row["value"]) == 1.0


def test_validation_curves_of_each_name_are_drawn(folder, monkeypatch):
    run = folder(a_record())
    line = {"loss": 5.0, "validation/loss": 6.0, "validation/critic/loss": 2.0}
    run.write_metrics(1, **line)
    drawn = []
    monkeypatch.setattr("dgmjax.plotting.curves", lambda lines, title: drawn.extend(lines))
    monkeypatch.setattr("dgmjax.plotting.to_png", lambda figure: b"")
    compare([run.path])._curves()
    assert drawn == [{"step": 1, "defaults/loss": 6.0, "defaults/critic/loss": 2.0}]
