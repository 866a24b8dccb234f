"""Curves of records that differ in one number of their estimator."""

import pytest

from dgmjax.plotting import compared
from dgmjax.runs import RunFolder
from dgmjax.runs.comparison import compare
from dgmjax.runs.record import Record
from dgmjax.runs.series import series

FIELDS = dict(
    experiment="x",
    dataset="x",
    binarisation=None,
    split="test",
    num_examples=10,
    standard_error=None,
    published=None,
    device="cpu",
    seed=0,
    step=1,
    versions={},
    seconds=1.0,
)


def record(estimator, value, metric="fid", model="flow"):
    return Record(
        **FIELDS, metric=metric, unit="nats", estimator=estimator, value=value, model=model
    )


def by_calls(values, model="flow"):
    calls = (1, 2, 8, 50)
    return [
        record(f"distance, 2000 images, {n} network calls (heun)", v, model=model)
        for n, v in zip(calls, values)
    ]


def test_a_curve_is_what_differs_in_one_number():
    other = record("distance, 1000 images, 4 network calls (heun)", 9.0)
    apart = record("distance, 2000 images, 4 network calls (euler)", 9.0)
    ours = [*by_calls((8.0, 4.0, 2.0, 1.0)), other, apart, record("exact", 3.0)]
    (found,) = series({"a": ours[::-1], "b": by_calls((5.0, 4.5, 4.0, 3.0))[:2]})
    assert (found.metric, found.setting, found.positive) == ("fid", "network calls", True)
    assert found.curves == {
        "a": [(1, 8.0), (2, 4.0), (8, 2.0), (50, 1.0)],
        "b": [(1, 5.0), (2, 4.5)],
    }


def test_seeds_are_averaged_and_numbers_in_words_are_not_settings():
    seeds = [*by_calls((8.0, 4.0, 2.0, 1.0)), *by_calls((6.0, 4.0, 0.0, -1.0))]
    (found,) = series({"a": seeds})
    assert found.curves["a"] == [(1, 7.0), (2, 4.0), (8, 1.0), (50, 0.0)]
    assert not found.positive
    named = [record(f"lenet_dcde{n} at L_{n}", float(n)) for n in (1, 2, 3)]
    assert series({"a": named}) == []
    (guidance,) = series({"a": [record(f"5 images, guidance {w:g}", w) for w in (0, 1.5, 3)]})
    assert guidance.setting == "guidance" and guidance.curves["a"][1] == (1.5, 1.5)


def test_lines_with_a_zero_are_drawn_on_plain_axes():
    axes = compared({"a": [(0, 1.0), (2, -3.0)]}, "guidance", "fid", log=False).axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "linear"
    assert axes.lines[0].get_xydata().tolist() == [[0, 1], [2, -3]]


@pytest.mark.parametrize("same", [False, True])
def test_the_page_has_one_figure_for_all_rows(tmp_path, monkeypatch, same):
    drawn = []

    def draw(curves, *args, **options):
        drawn.append(curves)
        return compared(curves, *args, **options)

    monkeypatch.setattr("dgmjax.plotting.compared", draw)
    folders = []
    for rate, model in ((1e-3, "flow"), (2e-3, "flow" if same else "student")):
        folder = RunFolder.create(tmp_path, "toy", {"rate": rate}, 0, defaults={"rate": 0.0})
        folder.write_records(by_calls((4.0, 3.0, 2.0, 1.0), model))
        folder.close()
        folders.append(folder.path)
    page = compare(folders).html()
    assert "fid: Against network calls" in page and page.count("data:image/png") == 1
    (curves,) = drawn
    assert len(curves) == 2 and (set(curves) == {"flow", "student"}) is not same
