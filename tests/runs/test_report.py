"""The report: one page that needs nothing else and shows text as text."""

import base64
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from measured import record

from dgmjax.errors import RunError
from dgmjax.plotting import image_grid, save
from dgmjax.runs.diagnostics import remarks
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Published, Record
from dgmjax.runs.record_table import COLUMNS, format_duration, rows
from dgmjax.runs.report import write_report
from dgmjax.runs.verdict import reached, verdict

NASTY = "<script>alert(\"1\")</script> & 'x' | y"


class Page(HTMLParser):
    """Collects the tags, the pictures and the visible text, and checks that tags balance."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.words, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def run(tmp_path):
    arguments = {"latent": 20, "name": NASTY}
    with RunFolder.create(tmp_path, "vae_mnist", arguments, 3, tiny=True) as run:
        yield run


def test_a_run_without_results_has_a_report(run):
    page = Page(write_report(run).read_text())
    assert any("not been evaluated" in word for word in page.words)
    assert "img" not in page.tags


def test_report_holds_everything_and_needs_nothing(run):
    for step in range(20):
        run.write_metrics(step, **{"train/loss": 1 / (step + 1), "kl": float("nan")})
    save(image_grid(np.random.default_rng(0).uniform(size=(4, 8, 8))), run.figures / "samples.png")
    (run.figures / "not_a_picture.png").write_text("<b>")
    run.write_records(
        [
            Record(
                experiment="vae_mnist",
                model=NASTY,
                dataset="mnist",
                binarisation="dynamic",
                split="test",
                num_examples=10_000,
                metric="nll_bound_k5000",
                estimator="importance-weighted",
                value=87.654,
                standard_error=0.231,
                unit="nats",
                published=Published(86.76, "Burda et al. 2016, table 1"),
                seed=3,
                step=100,
                device="cpu x 1",
                versions={},
                seconds=7380.0,
            )
        ]
    )
    path = write_report(run)
    text = path.read_text()
    page = Page(text)
    words = "\n".join(page.words)
    expected = ("87.65 ± 0.23", "86.76", "Burda et al. 2016, table 1", "cpu x 1", "2 h 3 min")
    for piece in (*expected, NASTY, "mnist, dynamic binarisation, test (10000)", "latent", "jax "):
        assert piece in words, piece
    assert page.tags.count("img") == 2  # the figure and the curves
    for source in page.sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert not re.search(r"<script|https?://|url\(|@import", text)
    assert path == run.path / "report.html"


def test_damaged_metrics_leave_the_old_report(run):
    before = write_report(run).read_text()
    (run.path / "metrics.jsonl").write_text('{"step": 1}\nx\n{"step": 2}\n')
    with pytest.raises(RunError, match="Line 2"):
        write_report(run)
    assert (run.path / "report.html").read_text() == before


def test_runs_of_the_same_thing_are_one_row():
    """Mean 2, standard deviation 1 over three runs: an error of 1 / sqrt(3)."""
    several = [record("nll_nats", value) for value in (1.0, 2.0, 3.0)]
    found = rows([several[0], record("kl_nats", 25.0), *several[1:]])
    values = [row[COLUMNS.index("value")] for row in found]
    assert values == ["2.00 ± 0.58 (3 runs)", "25"]


def test_durations():
    assert [format_duration(s) for s in (0.123, 59.6, 60, 3599.9)] == [
        "0.12 s",
        "1 min 0 s",
        "1 min 0 s",
        "1 h 0 min",
    ]


def test_a_collapsed_latent_space_is_remarked_upon(run):
    assert remarks([record("kl_nats", 25.0), record("active_units", 16.0, "count")]) == []
    dead = record("active_units", 0.0, "count")
    (remark,) = remarks([record("kl_nats", 0.01), dead])
    assert "collapsed" in remark and "free_bits" in remark and "0.01 nats" in remark
    run.write_records([dead])
    assert "no dimension of z is active" in write_report(run).read_text()


PUBLISHED = Published(86.0, "somebody")


@pytest.mark.parametrize(
    "metric, value, error, expected, told",
    [
        ("nll_nats", 86.3, 0.2, True, "yes"),
        ("nll_nats", 86.5, 0.2, False, "within 0.6%"),
        ("nll_nats", 88.0, 0.2, False, "no"),
        ("test_error", 86.9, 0.0, False, "within 1.0%"),
        ("modes_covered", 87, None, True, "yes"),
        ("modes_covered", 85, None, False, "within 1.2%"),
        ("mean_return", 70.0, 1.0, False, "no"),
        ("active_units", 90, None, None, "-"),
    ],
)
def test_a_value_reaches_the_published_one_within_two_errors(metric, value, error, expected, told):
    unit = "count" if metric == "active_units" else "nats"
    made = dataclasses.replace(
        record(metric, float(value), unit), standard_error=error, published=PUBLISHED
    )
    assert (reached(made), verdict(made)) == (expected, told)
    alone = dataclasses.replace(made, published=None)
    assert (reached(alone), verdict(alone)) == (None, "-")
    elsewhere = dataclasses.replace(PUBLISHED, differs="larger networks")
    unlike = dataclasses.replace(made, published=elsewhere)
    assert (reached(unlike), verdict(unlike)) == (None, "differs: larger networks")
    assert unlike.summary().endswith("published 86 (larger networks)")


def test_the_verdict_comes_first_and_names_what_is_not_the_whole_experiment(tmp_path):
    options = {"steps": 5000, "execution": {"compute_dtype": "bfloat16"}}
    run = RunFolder.create(tmp_path, "vae_mnist", {}, 0, options=options)
    missed = dataclasses.replace(record("nll_nats", 90.0), standard_error=0.1, published=PUBLISHED)
    baseline = dataclasses.replace(record("nll_nats", 206.0), model="pixels (baseline)")
    run.write_records([record("kl_nats", 25.0), missed, baseline])
    for name in ("data", "kl_per_dimension", "samples"):
        save(image_grid(np.zeros((4, 8, 8))), run.figures / f"{name}.png")
    text = write_report(run).read_text()
    words = "\n".join(Page(text).words)
    assert words.index("90.00 ± 0.10 nats") < words.index("25 nats") < words.index("Figures")
    # Once: the likelihood of a baseline is nothing to compare a KL term with.
    assert "not reached" in words and words.count("pixels (baseline): 206 nats") == 1
    assert "with steps 5000, compute_dtype bfloat16" in words
    alts = re.findall('alt="([^:]*): ([^"]*)"', text)
    assert [name for name, _ in alts] == ["samples", "kl per dimension", "data"]
    assert all(len(told) > 20 for _, told in alts)
