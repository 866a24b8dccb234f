"""The harness with a trivial workload, the table, and our side of every workload when tiny."""

import json
import math
import sys
from pathlib import Path

import pytest

from benchmarks import harness, run, speed_table, worker, workloads
from benchmarks.workload import (
    Elapsed,
    FactTarget,
    Growth,
    Target,
    Workload,
)

ROOT = Path(__file__).resolve().parents[2]

TRIVIAL = """
from benchmarks.workload import Elapsed, FactTarget, Prepared, Side, Target, Workload

def side(seconds, parameters):
    def prepare(tiny):
        print("chatter on standard output")
        work = lambda n: Elapsed(n * seconds, 2 * n * seconds)
        return Prepared({"work": work}, {"parameters": parameters, "error": 1e-7})
    return Side(prepare, {"work": 5}, packages=("jax", "absent"))

def failing(tiny):
    raise RuntimeError("no such thing")

WORKLOAD = Workload(
    name="trivial",
    title="Nothing",
    unit="call",
    scale=10,
    scale_name="examples",
    sides={"slow": side(0.3, 7), "fast": side(0.1, PARAMETERS)},
    targets=(
        Target("times slow", ("slow", "work"), ("fast", "work"), at_least=2.0),
        Target("seconds", ("slow", "work"), at_most=0.2),
    ),
    fact_targets=(FactTarget("error", "fast", "error", 1e-5),),
)
"""


@pytest.fixture
def trivial(tmp_path, monkeypatch):
    """Builds a workload in a file of its own that workers in other processes find, too."""

    def build(parameters=7, text=TRIVIAL):
        (tmp_path / "trivial.py").write_text(text.replace("PARAMETERS", str(parameters)))
        monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, str(tmp_path)])
        start = (
            "import sys; sys.path.insert(0, sys.argv.pop(1)); from benchmarks import worker, "
            "workloads; workloads.__path__.append(sys.argv.pop(1)); sys.exit(worker.main())"
        )

        def command(python, name, side):
            return [python, "-c", start, str(ROOT), str(tmp_path), name, side]

        monkeypatch.setattr(harness, "command_of", command)
        sys.modules.pop("benchmarks.workloads.trivial", None)
        return workloads.load("trivial")

    yield build
    sys.modules.pop("benchmarks.workloads.trivial", None)


def measured(workload, rounds=3):
    with harness.workers(workload) as processes:
        record = harness.measure(workload, processes, rounds, lambda text: None)
    assert all(process.process.returncode == 0 for process in processes.values())
    return record


def test_a_workload_is_measured_in_workers(trivial):
    record = measured(trivial())
    json.dumps(record, allow_nan=False)
    slow, fast = record["times"]
    assert slow["cpu"]["median"] == pytest.approx(0.3) and slow["wall"]["most"] == pytest.approx(
        0.6
    )
    assert fast["rate"] == pytest.approx(
        {"unit": "examples/CPU-s", "median": 100, "least": 100, "most": 100}
    )
    ratio, seconds, error = record["targets"]
    assert ratio["median"] == pytest.approx(3.0) and ratio["met"]
    assert seconds["median"] == pytest.approx(0.3) and not seconds["met"]
    assert error["met"] and error["median"] == 1e-7
    found = record["facts"]["slow"]["versions"]
    assert "jax" in found and "absent" not in found
    assert record["first_calls"]["slow"]["work"]["cpu"] < 0.3  # the clock, not the side's account
    text = speed_table.page([record])
    assert "| trivial | times slow | 3 | ≥ 2 | yes |" in text
    assert "| trivial | seconds | 0.3 | ≤ 0.2 | **no** |" in text
    assert "| slow | work | 0.3 | 0.6 | 33.3 |" in text
    for row in record["times"]:
        del row["rate"]
    assert "| slow | work | 0.3 | 0.6 | " in speed_table.page([record])


def test_different_models_are_refused(trivial):
    with pytest.raises(harness.BenchmarkError, match=r"differ in parameters.*7.*8"):
        measured(trivial(parameters=8))


def test_a_worker_that_fails_is_named_with_its_error(trivial):
    text = TRIVIAL.replace('"fast": side(0.1, PARAMETERS)', '"fast": Side(failing, {"work": 1})')
    with pytest.raises(harness.BenchmarkError, match=r"trivial/fast failed: RuntimeError: no such"):
        measured(trivial(text=text))


def test_a_worker_that_dies_is_named(trivial):
    text = TRIVIAL.replace('raise RuntimeError("no such thing")', "import os; os._exit(3)")
    text = text.replace('"fast": side(0.1, PARAMETERS)', '"fast": Side(failing, {"work": 1})')
    with pytest.raises(harness.BenchmarkError, match="trivial/fast failed: ended with 3"):
        measured(trivial(text=text))


def test_an_absent_peer_is_said_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    with pytest.raises(harness.BenchmarkError, match="install_peers"):
        harness.interpreter("torch")


def test_ratios_are_taken_within_a_round():
    times = {
        ("a", "x"): [{"cpu": 2.0}, {"cpu": 40.0}, {"cpu": 6.0}],
        ("b", "x"): [{"cpu": 1.0}, {"cpu": 10.0}, {"cpu": 2.0}],
    }
    row = harness.ratio_row(Target("r", ("a", "x"), ("b", "x"), at_most=3.0), times)
    assert (row["median"], row["least"], row["most"], row["met"]) == (3.0, 2.0, 4.0, True)


def test_growth_is_an_exponent_taken_within_a_round():
    times = {
        ("a", "step 2"): [{"cpu": 1.0}, {"cpu": 10.0}, {"cpu": 1.0}],
        ("a", "step 4"): [{"cpu": 2.0}, {"cpu": 40.0}, {"cpu": 2.0 * 2**0.5}],
        ("a", "step 8"): [{"cpu": 4.0}, {"cpu": 160.0}, {"cpu": 8.0}],
    }
    sizes = {"step 2": 2.0, "step 4": 4.0, "step 8": 8.0}
    row = harness.growth_row(Growth("time", "a", sizes, at_most=1.2), times)
    found = [row[name] for name in ("median", "least", "most")]
    assert found == pytest.approx([1.5, 1.0, 2.0]) and not row["met"]
    assert harness.growth_row(Growth("time", "a", sizes, at_most=1.5), times)["met"]


def test_an_operation_may_give_its_own_time():
    assert worker.timed(lambda n: Elapsed(n, 2 * n), 3) == (3, 6)
    took = worker.timed(lambda n: sum(range(200_000)) and None, 1)
    assert 0 < took.cpu < 5 and took.wall > 0


def test_run_writes_records_and_the_table(trivial, tmp_path, monkeypatch, capsys):
    trivial()
    records, page = tmp_path / "records", tmp_path / "SPEED.md"
    monkeypatch.setattr(harness, "pin", lambda core: None)
    monkeypatch.setattr(workloads, "NAMES", ("trivial",))
    monkeypatch.setattr(speed_table, "RECORDS", records)
    monkeypatch.setattr(speed_table, "write", lambda: page.write_text("written"))
    assert run.main(["--quick"]) == 1 and not records.exists()
    assert run.main(["--only", "trivial", "--rounds", "2"]) == 1
    stored = json.loads((records / "trivial.json").read_text())
    assert stored["rounds"] == 2 and page.read_text() == "written"
    assert "times slow" in capsys.readouterr().out


def test_the_page_is_in_step_with_the_records():
    if not speed_table.PAGE.exists():
        pytest.skip("no speed has been recorded")
    assert speed_table.PAGE.read_text("utf-8") == speed_table.page(speed_table.read())


PARAMETERS = {
    "vae_epoch": 835_384,
    "iwae_step": 425_284,
    "small_maf_epoch": 7_696,
    "maf_peers_63": 3_440,
}
"""Of our side when tiny: those of the peers' models of these sizes."""


REPEATED = {"maf_peers_63", "maf_peers_784", "spline_peers_63"}
"""Models of `maf_peers_6` and `spline_peers_6` at other sizes."""


@pytest.mark.staggered(of=9)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in REPEATED else name
        for name in workloads.NAMES
    ],
)
def test_our_side_of_every_workload(name, monkeypatch):
    monkeypatch.setenv("DGMJAX_CACHE", "off")
    workload: Workload = workloads.load(name)
    name_of_side, side = next(
        (key, side) for key, side in workload.sides.items() if side.environment == "own"
    )
    prepared = side.prepare(True)
    assert set(prepared.operations) == set(side.units)
    processes = name == "time_to_first_step"  # each measurement starts Python anew: one is enough
    for operation in list(prepared.operations.values())[: 1 if processes else None]:
        took = worker.timed(operation, 1)
        assert took.cpu > 0 and math.isfinite(took.wall)
        if hasattr(operation, "work"):  # what it computes must be countable, as a worker does it
            assert operation.work(compiled=False)["flops"] >= 0
    if name in PARAMETERS:
        assert prepared.facts["parameters"] == PARAMETERS[name]
    for target in workload.fact_targets:
        # Time and memory are those of a worker's process, not of this one.
        of_a_process = target.fact.endswith(("seconds", "resident"))
        if target.side == name_of_side and not of_a_process:
            assert prepared.facts[target.fact] <= target.at_most


def test_bounds_name_sides_and_operations_that_exist():
    for name in workloads.NAMES:
        workload = workloads.load(name)
        for target in workload.targets:
            assert (target.at_least is None) != (target.at_most is None)
            for side, operation in filter(None, (target.numerator, target.denominator)):
                assert operation in workload.sides[side].units
        for growth in workload.growths:
            assert set(growth.sizes) <= set(workload.sides[growth.side].units)
            assert len(set(growth.sizes.values())) == len(growth.sizes) >= 2
        for fact in workload.fact_targets:
            assert isinstance(fact, FactTarget) and fact.side in workload.sides
