"""`--seeds`: run folders of single runs, and their means."""

import json

import numpy as np
import pytest
from example_records import a_record

from dgmjax.cli.commands import main
from dgmjax.errors import RunError
from dgmjax.runs.seeds import interquartile_mean, over_seeds, seeds_lines, write_seeds


def records(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize(
    "name",
    [
        "fvsbn_binarized_mnist",
        pytest.param("vae_digits", marks=pytest.mark.slow),
        pytest.param("gan_eight_gaussians", marks=pytest.mark.slow),
    ],
)
def test_seeds_together_have_the_records_of_single_runs(name, tmp_path, capsys):
    """Equal to the rounding of products, which twenty steps let grow."""
    given = ["train", name, "--tiny", "--steps", "20", "--seed", "3"]
    where = ["--run-dir", str(tmp_path / "both")]
    assert not main([*given, "--seeds", "2", "--seeds-together", "yes", *where])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("over 2 seeds: ") for line in lines) >= 1
    folders = [tmp_path / "both" / f"seed_{seed}" for seed in (3, 4)]
    assert all((folder / "report.html").is_file() for folder in folders)
    assert not main([*given[:-1], "4", "--run-dir", str(tmp_path / "alone")])
    for found, expected in zip(records(folders[1]), records(tmp_path / "alone"), strict=True):
        assert found["metric"] == expected["metric"] and found["seed"] == expected["seed"] == 4
        assert found["value"] == pytest.approx(expected["value"], rel=2e-3, abs=2e-3)
    assert [r["value"] for r in records(folders[0])] != [r["value"] for r in records(folders[1])]


def test_seeds_one_after_the_other_are_resumed(tmp_path, capsys):
    given = ["train", "fvsbn_binarized_mnist", "--tiny", "--steps", "5", "--seeds", "2"]
    given += ["--run-dir", str(tmp_path)]
    assert not main(given)
    # The records of single seeds stand in their reports; what is told are the means.
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith("fvsbn_binarized_mnist: ") for line in lines)
    assert sum(line.startswith(("seed 0: trained", "seed 1: trained")) for line in lines) == 2
    assert any(line.startswith("over 2 seeds: fvsbn_binarized_mnist: nll_nats") for line in lines)
    before = [records(tmp_path / f"seed_{seed}") for seed in (0, 1)]
    assert not main(given)
    after = [records(tmp_path / f"seed_{seed}") for seed in (0, 1)]
    assert [[r["value"] for r in one] for one in before] == [
        [r["value"] for r in one] for one in after
    ]


def test_means_over_seeds():
    runs = [[a_record(value=value)] for value in (1.0, 2.0, 6.0)]
    (found,) = over_seeds(runs)
    assert found.value == pytest.approx(3.0)
    assert found.standard_error == pytest.approx(np.std([1.0, 2.0, 6.0], ddof=1) / 3**0.5)
    assert over_seeds([runs[0], [a_record(metric="other")]]) == []
    with pytest.raises(RunError, match=r"^`runs` must be at least two"):
        over_seeds(runs[:1])


def test_interquartile_means_over_seeds_are_those_of_scipy(tmp_path):
    from scipy.stats import trim_mean

    values = np.random.default_rng(0).standard_cauchy(10)
    for count in (4, 5, 7, 10):
        assert interquartile_mean(values[:count]) == pytest.approx(trim_mean(values[:count], 0.25))
    runs = [[a_record(value=float(value))] for value in values]
    (found,) = over_seeds(runs, interquartile=True)
    assert found.value == pytest.approx(trim_mean(values, 0.25))
    assert found.estimator.endswith("; interquartile mean of 10 seeds")
    # The bootstrap by another generator: both draw 2000 times.
    draws = np.random.default_rng(1).choice(values, (10, 2000))
    assert found.standard_error == pytest.approx(trim_mean(draws, 0.25).std(), rel=0.15)
    (line,) = seeds_lines(runs)
    assert f"; interquartile mean {found.formatted_value()}" in line
    assert "interquartile" not in seeds_lines(runs[:3])[0]
    write_seeds(tmp_path, runs)
    assert [entry["value"] for entry in json.loads((tmp_path / "seeds.json").read_text())] == [
        pytest.approx(found.value)
    ]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--seeds", "0"], "`--seeds` must be at least 1; got 0"),
        (
            ["--seeds", "2", "--seeds-together", "yes", "--mesh", "data=2"],
            "`mesh` must be one device",
        ),
    ],
)
def test_what_does_not_go_together_is_named(options, words, tmp_path, capsys):
    given = ["train", "vae_digits", "--tiny", "--run-dir", str(tmp_path / "run")]
    assert main([*given, *options])
    assert words in capsys.readouterr().err
