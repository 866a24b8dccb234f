"""Records: they say what was measured, exactly, and come back from JSON as they were."""

import math

import pytest

from dgmjax.errors import RunError
from dgmjax.runs import record_table, strict_json, verdict
from dgmjax.runs.record import Published, Record
from dgmjax.runs.seeds import over_seeds, seeds_lines

FIELDS = {
    "experiment": "vae_mnist",
    "model": "VAE",
    "dataset": "mnist",
    "binarisation": "dynamic",
    "split": "test",
    "num_examples": 10_000,
    "metric": "nll_bound_k5000",
    "estimator": "importance-weighted bound",
    "value": 86.761234,
    "standard_error": 0.2345,
    "unit": "nats",
    "published": Published(86.76, "Burda et al., IWAE, 2016, table 1"),
    "seed": 0,
    "step": 1000,
    "device": "cpu x 1",
    "versions": {"jax": "0.10.2"},
    "seconds": 12.5,
}


def record(**changes) -> Record:
    return Record(**(FIELDS | changes))


def test_arguments_are_kept_and_an_old_record_has_none():
    new = record(arguments={"epochs": 3, "hidden": [4, 5]})
    assert Record.from_json(new.to_json()) == new
    old = record().to_json()
    del old["arguments"]
    assert Record.from_json(old).arguments is None
    with pytest.raises(RunError, match=r"^`arguments`"):
        record(arguments={"not a name": 1})


def test_a_row_of_runs_shows_the_arguments_that_they_share():
    runs = [record(seed=seed, arguments={"epochs": 3, "mask_seed": seed}) for seed in (0, 1)]
    column = record_table.COLUMNS.index("arguments")
    found = lambda records: [row[column] for row in record_table.rows(records)]
    assert found(runs) == ["--epochs 3"]
    assert found([runs[0], record(seed=1)]) == ["--epochs 3 --mask-seed 0", "not noted"]


def test_runs_of_other_arguments_are_other_rows_unless_nothing_was_trained():
    short, long = {"epochs": 3}, {"epochs": 40}
    assert len(record_table.rows([record(arguments=short), record(arguments=long)])) == 2
    pixels = {"model": "independent pixels (baseline)"}
    both = [record(arguments=arguments, **pixels) for arguments in (short, long)]
    assert len(record_table.rows(both)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"published": None, "standard_error": None, "binarisation": None},
        {"value": math.inf},
        {"metric": "active_units", "unit": "count", "value": 25},
        {"metric": "bits_per_dim", "unit": "bits/dim"},
        {"metric": "mmd", "unit": "squared distance"},
    ],
)
def test_round_trip(changes):
    given = record(**changes)
    text = strict_json.dumps(given.to_json())
    assert "Infinity" not in text and "NaN" not in text
    assert Record.from_json(strict_json.loads(text)) == given


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "nll"}, "nll_bound_k5000"),
        ({"metric": "elbo"}, "nll_bound_k1"),
        ({"metric": "bpd", "unit": "bits/dim"}, "bits_per_dim"),
        ({"metric": "NLL nats"}, "snake_case"),
        ({"metric": "nll_nats", "unit": "bits/dim"}, "'nats'"),
        ({"metric": "bits_per_dim"}, "'bits/dim'"),
        ({"binarisation": "binarized"}, "static, dynamic, threshold"),
        ({"value": math.nan}, "`value`"),
        ({"value": "86.7"}, "`value`"),
        ({"value": True}, "`value`"),
        ({"standard_error": -0.1}, "at least 0"),
        ({"num_examples": 0}, "at least 1"),
        ({"step": 1.5}, "`step`"),
        ({"split": ""}, "`split`"),
        ({"seconds": -1.0}, "`seconds`"),
        ({"versions": {"jax": 1}}, "`versions`"),
        ({"published": {"value": 1.0, "source": "x"}}, "`published`"),
    ],
)
def test_refuses(changes, words):
    with pytest.raises(RunError, match=words):
        record(**changes)


def test_from_json_refuses_other_fields():
    entry = record().to_json()
    with pytest.raises(RunError, match=r"absent: \['seed'\], unknown: \['sead'\]"):
        Record.from_json({("sead" if k == "seed" else k): v for k, v in entry.items()})
    with pytest.raises(RunError, match="`published`"):
        Record.from_json(entry | {"published": 86.76})


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (86.761234, 0.2345, "86.76 ± 0.23"),
        (86.761234, 0.0021, "86.7612 ± 0.0021"),
        (1234.5, 23.4, "1234 ± 23"),
        (0.5, None, "0.5"),
        (86.761234, 1e-9, "86.7612 ± 0.0000"),
        (0.00141234, 3e-5, "0.00141 ± 0.00003"),
        (1e-5, 2e-6, "0.000010 ± 0.000002"),
        (1e-5, 1e-12, "0.000010 ± 0.000000"),
        (0.0, 1e-3, "0.0000 ± 0.0010"),
        (4.21e-7, 1e-7, "4.2e-07 ± 1e-07"),
        (-4.21e-7, 1.26e-9, "-4.2e-07 ± 1e-09"),
        (math.inf, None, "inf"),
        (math.inf, 0.1, "inf"),
    ],
)
def test_formatted_value(value, error, text):
    assert record(value=value, standard_error=error).formatted_value() == text


def test_summary_names_the_published_number():
    assert record().summary() == (
        "vae_mnist: nll_bound_k5000 on mnist test, VAE: 86.76 ± 0.23 nats (n = 10000),"
        " published 86.76"
    )


def test_equal_values_have_no_error_on_any_python():
    """Sums of floats are rounded before Python 3.12 and corrected from then on."""
    assert record_table.mean_and_error([3.2188758248682006] * 10) == (3.2188758248682006, 0.0)
    assert record_table.mean_and_error([0.1] * 3) == (0.1, 0.0)
    assert record_table.mean_and_error([2.0]) == (2.0, 0.0)
    assert record_table.mean_and_error([math.inf, -math.inf, 1.0]) == (math.inf, None)
    mean, error = record_table.mean_and_error([1.0, math.inf])
    assert mean == math.inf and error is None


def test_an_infinite_value_reaches_nothing_and_has_a_row():
    for metric, worst in (("nll_nats", math.inf), ("mean_return", -math.inf)):
        broken = record(metric=metric, value=worst, standard_error=None)
        assert not verdict.reached(broken) and verdict.verdict(broken) == "no"
        better = record(metric=metric, value=-worst, standard_error=None)
        assert verdict.verdict(better) == "yes"
    runs = [record(seed=0, value=math.inf, standard_error=None), record(seed=1)]
    assert "inf (2 runs)" in record_table.rows(runs)[0]
    assert over_seeds([runs[:1], runs[1:]])[0].value == math.inf


@pytest.mark.parametrize(
    "metric, value, word",
    [("auroc_likelihood", 90.0, "yes"), ("auroc_likelihood", 50.0, "no"), ("x_error", 90.0, "no")],
)
def test_the_better_side_of_a_metric(metric, value, word):
    assert verdict.verdict(record(metric=metric, value=value, standard_error=None)) == word


def test_an_infinite_value_of_one_seed_has_a_mean_over_seeds_without_an_error():
    runs = [[record(value=value, standard_error=None)] for value in (1.0, 2.0, 3.0, math.inf)]
    (line,) = seeds_lines(runs)
    assert "inf" in line and "nan" not in line
