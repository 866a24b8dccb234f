"""Speed on the device at hand: a row a model, written at once, or why there is none."""

import json

import pytest

from benchmarks import device, workloads


@pytest.mark.slow
def test_a_row_a_model(tmp_path):
    out = tmp_path / "speed.jsonl"
    assert device.main(["--out", str(out), "--only", "maf", "--side", "dgmjax", "--miniature"]) == 0
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["model"] == "maf" and row["device"] and 0 < row["share_of_peak"] < 1
    assert row["sampler_steps_per_second"] == pytest.approx(30 / 8 * row["samples_per_second"])


def test_a_model_that_fails_leaves_the_others(tmp_path, monkeypatch, capfd):
    def broken(tiny):
        raise ValueError("out of memory")

    monkeypatch.setitem(device.ROWS, "maf", broken)
    out = tmp_path / "speed.jsonl"
    assert device.main(["--out", str(out), "--only", "maf", "--side", "dgmjax", "--miniature"]) == 1
    assert json.loads(out.read_text())["error"] == "ValueError: out of memory"


def test_peers_are_workloads():
    assert set(device.PEERS) <= set(device.ROWS)
    assert set(device.PEERS.values()) <= set(workloads.NAMES)
