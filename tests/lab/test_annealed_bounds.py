"""`dgmjax evaluate --ais`: records, figure, refusals."""

import json

import numpy as np
import pytest

from dgmjax import plotting
from dgmjax.cli.commands import main
from dgmjax.errors import DataError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vae"
    code = main(["train", "vae_digits", "--tiny", "--steps", "20", "--run-dir", str(folder)])
    assert not code
    return folder


def test_annealed_bounds_stand_beside_the_other_records(run):
    before = json.loads((run / "results.json").read_text())
    options = ["--ais", "--images", "8", "--chains", "4", "--temperatures", "30"]
    assert not main(["evaluate", str(run), *options])
    after = json.loads((run / "results.json").read_text())
    new = after[len(before) :]
    assert after[: len(before)] == before
    assert [record["metric"] for record in new] == ["nll_ais", "nll_bound_k5000", "ais_gap"]
    assert all(record["num_examples"] == 8 for record in new)
    bounds = [record["value"] for record in new]
    assert abs(bounds[0] - bounds[1]) < 5.0 and abs(bounds[2]) < 10.0
    assert (run / "figures" / "ais.png").stat().st_size > 1000
    assert not main(["evaluate", str(run), *options])
    again = json.loads((run / "results.json").read_text())
    assert len(again) == len(after)


@pytest.mark.parametrize(
    "options, word",
    [(["--chains", "0"], "chains"), (["--temperatures", "0"], "temperatures")],
)
def test_bad_options_are_named(run, options, word, capsys):
    assert main(["evaluate", str(run), "--ais", *options])
    assert f"`{word}` must be at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_a_generator_is_annealed_behind_an_observation_of_its_own(tmp_path):
    folder = tmp_path / "gan"
    assert not main(["train", "gan_eight_gaussians", "--tiny", "--run-dir", str(folder)])
    options = ["--ais", "--images", "4", "--chains", "2", "--temperatures", "10"]
    assert not main(["evaluate", str(folder), *options])
    new = json.loads((folder / "results.json").read_text())[-3:]
    assert [record["metric"] for record in new] == ["nll_ais", "ais_gap", "nll_kde"]
    # Both are densities of the same points in the plane.
    assert abs(new[0]["value"] - new[2]["value"]) < 5.0
    assert "observed with scale" in new[0]["estimator"] and np.isfinite(new[0]["value"])


@pytest.mark.slow
def test_the_normaliser_of_an_energy_is_annealed(tmp_path):
    """The exact likelihood of 16 hidden units is among the records of the experiment."""
    folder = tmp_path / "rbm"
    options = ["--tiny", "--hidden", "16", "--run-dir", str(folder)]
    assert not main(["train", "rbm_mnist", *options])
    assert not main(["evaluate", str(folder), "--ais", "--chains", "50", "--temperatures", "500"])
    found = {r["metric"]: r for r in json.loads((folder / "results.json").read_text())}
    assert found["nll_ais"]["num_examples"] > 100
    error = found["log_partition"]["standard_error"]
    exact = next(
        r["value"]
        for r in json.loads((folder / "results.json").read_text())
        if r["metric"] == "nll_nats" and r["estimator"] == "exact" and "RBM" in r["model"]
    )
    assert abs(found["nll_ais"]["value"] - exact) < 4 * error + 0.02
    assert (folder / "figures" / "ais.png").stat().st_size > 1000


def test_estimates_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"^`values`"):
        plotting.estimates_by_temperatures([1, 10], np.zeros(2), np.zeros(3))


def test_bounds_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"^`lower`"):
        plotting.bounds_by_temperatures([1, 10], np.zeros((2, 3)), np.zeros((2, 4)))
