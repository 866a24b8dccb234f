"""Records whose commands are run again: what moved, what was not measured, what cannot be run."""

import dataclasses
import json
import shlex

import pytest
from example_records import a_record

from benchmarks import rerun
from dgmjax.errors import DgmjaxError, RunError
from dgmjax.runs.record import read_records

RECORD = a_record(arguments={"epochs": 2, "hidden": [8, 8]}, seed=3)


def write(path, *records):
    path.write_text(json.dumps([record.to_json() for record in records]))
    return path


@pytest.mark.parametrize(
    "value, error, expected",
    [
        (RECORD.value, 0.1, "equal"),
        (RECORD.value + 0.09, 0.1, "within one s.e."),
        (RECORD.value - 0.3, 0.1, "moved by -3.0 s.e."),
        (1.5 * RECORD.value, None, "moved by +50%"),
    ],
)
def test_a_number_is_equal_or_within_its_error_or_moved(value, error, expected):
    recorded = dataclasses.replace(RECORD, standard_error=error)
    assert rerun.verdict(recorded, dataclasses.replace(recorded, value=value)) == expected


def test_the_command_is_run_and_its_numbers_are_compared(tmp_path):
    other = dataclasses.replace(RECORD, metric="fid_of_evaluate", unit="squared distance")
    another_seed = dataclasses.replace(RECORD, seed=4, value=2.0)
    another_command = dataclasses.replace(RECORD, arguments={"epochs": 3}, value=3.0)
    file = write(tmp_path / "made.json", RECORD, other, another_seed, another_command)
    commands = []

    def runner(command, folder):
        commands.append(shlex.join(command[2:-1]))
        (folder / "run").mkdir()
        arguments = RECORD.arguments if len(commands) == 1 else another_command.arguments
        now = dataclasses.replace(RECORD, arguments=arguments, seconds=9.0)
        write(folder / "run" / "results.json", now)

    found = rerun.rerun(file, runner)
    start = f"dgmjax train {RECORD.experiment} --epochs"
    ends = ("2 --hidden 8 8 --seed 3 --run-dir", "3 --seed 3 --run-dir")
    assert commands == [f"{start} {end}" for end in ends]
    verdicts = [one["verdict"] for one in found["numbers"]]
    assert verdicts == ["equal", "not measured", "moved by -20.0 s.e."]
    assert (found["seconds"], found["recorded_seconds"]) == (18.0, 2 * RECORD.seconds)
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "made.json").write_text(json.dumps(found))
    page = rerun.table(tmp_path / "found")
    assert "1 records, 3 numbers: 1 equal, 1 moved, 1 not measured" in page and "| made | " in page


def test_records_are_chosen_by_name_or_by_time(tmp_path):
    for name, seconds in {"long": 500.0, "b": 20.0, "a": 30.0}.items():
        write(tmp_path / f"{name}.json", dataclasses.replace(RECORD, seconds=seconds))
    names = lambda files: [file.stem for file in files]
    assert names(rerun.chosen(tmp_path, [], 1.0)) == ["b", "a"]
    assert names(rerun.chosen(tmp_path, ["long"], 1.0)) == ["long"]
    with pytest.raises(DgmjaxError, match=r"^`records` must be files of"):
        rerun.chosen(tmp_path, ["nothing"], 1.0)


def test_what_needs_another_run_is_left_out_and_a_failure_is_told(tmp_path, capsys):
    needs = dataclasses.replace(RECORD, arguments={"trained": "runs/prior"})
    unknown = dataclasses.replace(RECORD, arguments=None)
    absent = dataclasses.replace(RECORD, experiment="absent", arguments={})
    (tmp_path / "records").mkdir()
    for name, record in {"needs": needs, "unknown": unknown, "absent": absent}.items():
        write(tmp_path / "records" / f"{name}.json", dataclasses.replace(record, seconds=1.0))
    assert rerun.main([], tmp_path / "records") == 1
    printed = capsys.readouterr().out
    assert "needs: left out, `trained` is the folder of another run" in printed
    assert "unknown: left out, its arguments were not recorded" in printed
    assert "absent: `command` must succeed" in printed
    assert "0 records" in (tmp_path / "RERUN.md").read_text()
    with pytest.raises(RunError, match=r"^`command` must succeed"):
        rerun.train(["false"], tmp_path)


def test_every_record_has_a_command_or_a_reason():
    for file in rerun.chosen(rerun.FOLDER, [], 1e6):
        records = read_records(file)
        reason = rerun.reason_not_to_run(records)
        assert reason or rerun.command_of(records[0], file)[4] == records[0].experiment
