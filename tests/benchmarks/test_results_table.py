"""The tables in README.md and benchmarks/RESULTS.md are generated, never typed."""

import dataclasses
import importlib.util
import json
import shlex
from pathlib import Path

import pytest

from dgmjax.cli.arguments import parse_train
from dgmjax.lab import catalogue
from dgmjax.runs import strict_json
from dgmjax.runs.folder import changed_arguments
from dgmjax.runs.record import Published, Record
from dgmjax.runs.record_table import as_flags

ROOT = Path(__file__).resolve().parents[2]
specification = importlib.util.spec_from_file_location(
    "results_table", ROOT / "benchmarks" / "results_table.py"
)
results_table = importlib.util.module_from_spec(specification)
specification.loader.exec_module(results_table)

RECORD = Record(
    experiment="made_binarized_mnist",
    model="MADE | 8000 [units]",
    dataset="binarized_mnist",
    binarisation="static",
    split="test",
    num_examples=10_000,
    metric="nll_nats",
    estimator="exact",
    value=88.1,
    standard_error=0.24,
    unit="nats",
    published=Published(88.4, "Germain et al. <2015>"),
    seed=0,
    step=1000,
    device="cpu x 1",
    versions={},
    seconds=900.0,
)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "benchmarks" / "records").mkdir(parents=True)
    rows = '[[row]]\nrecord = "made.json"\nmetric = "nll_nats"\ntrain_examples = 5000\n'
    (tmp_path / "benchmarks" / "readme_rows.toml").write_text(rows)
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{results_table.BEGIN}\nold\n{results_table.END}\nafter\n")
    return tmp_path


def add(project, name, *records):
    text = strict_json.dumps([record.to_json() for record in records])
    (project / "benchmarks" / "records" / f"{name}.json").write_text(text)


def test_writes_the_table_once_and_then_finds_it_in_step(project, capsys):
    add(project, "made", RECORD)
    readme = project / "README.md"
    before = readme.read_text()
    assert results_table.main(["--check"], project) == 1
    assert readme.read_text() == before and "stale" in capsys.readouterr().err
    assert results_table.main([], project) == 0
    assert results_table.main(["--check"], project) == 0
    text = readme.read_text()
    assert text.startswith("# Title\n<!--") and text.endswith("-->\nafter\n") and "old" not in text
    row = next(line for line in text.splitlines() if line.startswith("| `made"))
    # 1000 steps of the experiment's 100 examples
    assert "| 88.10 ± 0.24 | 88.4 | yes | 20 / not stated | 15 min 0 s |" in row
    page = (project / "benchmarks" / "RESULTS.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| MADE "))
    assert "| 88.10 ± 0.24 | 88.4 | yes | Germain et al. &lt;2015> | cpu x 1 | 15 min 0 s |" in row


def test_the_readme_has_the_rows_that_are_named_and_the_page_has_all(project):
    baseline = RECORD.to_json() | {"model": "pixels (baseline)", "published": None}
    add(project, "made", RECORD, Record.from_json(baseline))
    add(project, "vae", Record.from_json(baseline | {"experiment": "vae"}))
    assert results_table.main([], project) == 0
    readme = (project / "README.md").read_text()
    assert readme.count("| `made") == 1 and "baseline" not in readme and "vae" not in readme
    page = (project / "benchmarks" / "RESULTS.md").read_text()
    sections = page.split("\n## ")[1:]
    assert [text.split("\n")[0] for text in sections] == ["made_binarized_mnist", "vae"]
    assert [text.count("(baseline)") for text in sections] == [1, 1]
    (project / "benchmarks" / "RESULTS.md").write_text(page.replace("88.10", "87.10"))
    assert results_table.main(["--check"], project) == 1


def test_rows_are_in_the_order_of_experiments(project):
    later = Record.from_json(RECORD.to_json() | {"experiment": "vae"})
    add(project, "a", later)
    add(project, "b", RECORD, RECORD)
    records = results_table.collect(project / "benchmarks" / "records")
    assert [record.experiment for record in records] == [
        "made_binarized_mnist",
        "made_binarized_mnist",
        "vae",
    ]


def test_no_records_is_said(project):
    (project / "benchmarks" / "readme_rows.toml").unlink()
    assert results_table.main([], project) == 0
    assert "No results have been recorded yet." in (project / "README.md").read_text()


@pytest.mark.parametrize(
    "text", ["", results_table.BEGIN, f"{results_table.END}{results_table.BEGIN}"]
)
def test_a_readme_without_the_markers_is_left_alone(project, text, capsys):
    add(project, "made", RECORD)
    (project / "README.md").write_text(text)
    assert results_table.main([], project) == 2
    assert "once, in this order" in capsys.readouterr().err
    assert (project / "README.md").read_text() == text


def test_a_bad_record_is_named(project, capsys):
    (project / "benchmarks" / "records" / "bad.json").write_text(json.dumps([{"value": 1}]))
    assert results_table.main([], project) == 2
    assert "bad.json" in capsys.readouterr().err


def test_this_readme_is_in_step():
    readme = ROOT / "README.md"
    if not readme.exists() or results_table.BEGIN not in readme.read_text():
        pytest.skip("README.md has no table of results")
    assert results_table.main(["--check"]) == 0


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 9])
def test_every_row_is_a_command_that_asks_for_its_run(every):
    """What the table prints is read by the command line, and asks for the arguments recorded."""
    seen = set()
    for record in results_table.collect(ROOT / "benchmarks" / "records")[::every]:
        flags = as_flags(record.arguments)
        assert flags != "not noted", record.experiment
        if (record.experiment, flags) in seen:
            continue
        seen.add((record.experiment, flags))
        function = catalogue.load_experiment(record.experiment)
        words = [] if flags == "-" else shlex.split(flags)
        request = parse_train(function, record.experiment, words)
        changed = changed_arguments(request.arguments, catalogue.own_defaults(function))
        asked = {"steps": request.steps, "tiny": request.tiny or None}
        changed |= {name: value for name, value in asked.items() if value is not None}
        assert changed == record.arguments
    assert len(seen) > 10


def test_many_numbers_stand_in_a_grid_that_leaves_none_out(project):
    plain = dataclasses.replace(RECORD, published=None, arguments={"layers": 2})
    rows = [
        dataclasses.replace(plain, model=model, metric=f"error_m{m}", value=value + m / 100)
        for model, value in (("MADE", 10.0), ("NADE", 20.0))
        for m in range(10, 70, 10)
    ]
    values = {"A": 80.0, "B": 90.0}
    other = [dataclasses.replace(rows[0], estimator=name, value=values[name]) for name in values]
    other += [dataclasses.replace(rows[0], num_examples=7, value=85.0)]
    add(project, "made", RECORD, *rows, *other)
    results_table.main([], root=project)
    lines = (project / "benchmarks" / "RESULTS.md").read_text().splitlines()
    published, grid = [line for line in lines if "---" in line and "|" in line]
    assert published.count("---") == 10 and grid.count("---") == 3
    heading = lines[lines.index(grid) - 1]
    assert heading == (
        "|  | **MADE**<br>`--layers 2`<br>cpu x 1<br>15 min 0 s "
        "| **NADE**<br>`--layers 2`<br>cpu x 1<br>15 min 0 s |"
    )
    for row in (*rows, *other):
        assert sum(row.formatted_value() in line for line in lines) == 1
    assert len([line for line in lines if line.startswith("| **error")]) == 9
    assert any(line.startswith("| **error\\_m20**") and line.count("±") == 2 for line in lines)
