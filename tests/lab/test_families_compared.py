"""Families beside each other: each measurement against its parts, and the page."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dgmjax.cli import commands, comparing
from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import features
from dgmjax.evaluation.samples import frechet_distance
from dgmjax.lab import catalogue, families
from dgmjax.lab.session import TrainRequest
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.runs import RunFolder
from dgmjax.runs.record import Record


def untrained(name, folder=None, **arguments):
    """An experiment in miniature with the parameters that it begins with."""
    function = catalogue.load_experiment(name)
    built = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    learner = built.learner()
    batch = {n: a[: built.batch_size] for n, a in built.dataset.splits["train"].items()}
    init = jax.jit(lambda key, batch: learner.init(key, built.transform(batch, key)))
    state = init(jax.random.key(0), batch)
    return Trained(built, learner, state, folder=folder, seconds=12.0)


def record(metric, value, estimator):
    fields = dict.fromkeys(("experiment", "model", "dataset", "device"), "x")
    numbers = {"num_examples": 179, "value": value, "standard_error": 0.25, "seed": 0, "step": 1}
    whole = {"binarisation": None, "split": "test", "unit": "nats", "published": None}
    return Record(
        **fields, **numbers, **whole, metric=metric, estimator=estimator, versions={}, seconds=12.0
    )


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    folder = RunFolder.create(tmp_path_factory.mktemp("runs"), "vae_digits", {}, 0, tiny=True)
    bounds = [record("nll_bound_k1", 30.0, "ELBO"), record("nll_bound_k50", 29.0, "K = 50")]
    trained = untrained("vae_digits", folder)
    model, records = trained.experiment.model, [*bounds, record("kl_nats", 5.0, "analytic")]
    folder.write_records([dataclasses.replace(one, model=model) for one in records])
    return trained


@pytest.fixture(scope="module")
def found(vae):
    made = untrained("made_binarized_mnist")
    return families.measure_families([vae, made], num_samples=100)


def test_each_cell_is_what_its_parts_say(found, vae):
    row, made, *references = found.rows
    assert (row.family, row.seconds, row.likelihood.value) == ("latent", 12.0, 29.0)
    x = lambda a: np.asarray(a, np.float64).reshape(len(a), -1)
    test = x(vae.arrays("test")["x"])[:100]  # binary, as the samples are
    expected = frechet_distance(test, x(vae.sample(100, EVALUATION_SEED)))
    assert row.distance.value == pytest.approx(expected.value)
    assert row.samples_per_second > 0 and row.picture.startswith(b"\x89PNG")
    assert made.likelihood is None and made.probe is None  # no run, no features
    assert 0.1 < row.probe.value <= 1
    pixels = {one.data: one.probe.value for one in references}
    assert pixels["digits dynamic"] > 0.8 and len(references) == 2  # dynamic and thresholded


def test_the_page_the_table_and_the_csv(found):
    page, text = found.html(), found.csv()
    assert page.count("data:image/png") == 2 and "none measured" in page
    header, cells = found.table()
    assert text.splitlines()[0].startswith("model,family,data") and len(cells) == len(found.rows)
    assert "29.00 ± 0.25" in cells[0] and all(len(row) == len(header) for row in cells)


def test_the_likelihood_is_the_model_s_own_and_not_that_of_another_in_its_run(vae):
    named = lambda model, value: dataclasses.replace(
        record("nll_bound_k1", value, "ELBO"), model=model
    )
    records = [named(vae.experiment.model, 30.0), named("the same with another prior", 20.0)]
    folder = SimpleNamespace(read_records=lambda: records)
    trained = SimpleNamespace(folder=folder, experiment=vae.experiment)
    found = families._Subject(trained, 100).likelihood()
    assert found is not None and found.value == 30.0


def test_an_exact_likelihood_comes_before_bounds():
    ranks = [
        families._rank(record(*row))
        for row in (
            ("nll_bound_k1", 1.0, "ELBO"),
            ("nll_bound_k5000", 1.0, "K"),
            ("nll_nats", 1.0, "along the ODE"),
            ("nll_nats", 1.0, "exact"),
        )
    ]
    assert ranks == sorted(ranks) and len(set(ranks)) == 4
    assert families._rank(record("distortion_nats", 1.0, "exact")) is None
    bits = dataclasses.replace(record("x", 2.0, "bound"), metric="bits_per_dim", unit="bits/dim")
    assert families._rank(bits) == (1, 0, bits.num_examples)
    few = dataclasses.replace(record("nll_bound_k5000", 1.0, "K, few images"), num_examples=1)
    assert families._rank(few) < ranks[1]
    in_nats = families._in_nats(bits, 10)
    assert in_nats.value == pytest.approx(20 * np.log(2)) and in_nats.unit == "nats"


@pytest.mark.parametrize("name", ["realnvp_moons", "bigan_mnist", "infogan_mnist", "gan_mnist"])
def test_features_are_codes_base_points_or_none(name):
    trained = untrained(name)
    x = trained.arrays("test")["x"][:4]
    found = trained.call(features, x)
    if name == "gan_mnist":
        assert found is None
        return
    assert found.shape[0] == 4 and found.ndim == 2 and np.isfinite(found).all()
    if name == "realnvp_moons":
        back = trained.call(lambda model, z: model.bijector().forward(z), found)
        np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.mark.parametrize("name", ["maf_known_density", "vae_digits", "pixelcnn_binarized_mnist"])
def test_equal_time_sets_the_steps_and_the_schedule(monkeypatch, name):
    asked = []
    monkeypatch.setattr(families, "forecast", lambda request: SimpleNamespace(step_seconds=0.01))
    monkeypatch.setattr(families, "carry_out", lambda request: asked.append(request) or [None])
    function = catalogue.load_experiment(name)
    tiny = name.startswith("pixelcnn")
    request = TrainRequest(name, function, catalogue.own_defaults(function), tiny=tiny)
    families.trained_for(request, 0.5)
    (request,) = asked
    if tiny:  # its epochs are None by default: those of the network
        built = request.absolute().build()
        epoch = len(built.dataset.splits["train"]["x"]) // built.batch_size
        assert request.arguments["epochs"] == max(1, round(3000 / epoch))
    elif name == "maf_known_density":
        assert request.arguments["steps"] == 3000 and request.steps is None
    else:  # 11 steps an epoch
        assert request.steps == 3000 and request.arguments["epochs"] == round(3000 / 11)


def test_experiments_need_a_time_and_few_samples_are_refused(vae, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DGMJAX_CACHE", "off")
    assert commands.main(["compare", "--families", "vae_digits"]) == 2
    assert "`--minutes` must be given" in capsys.readouterr().err
    with pytest.raises(DgmjaxError, match="at least 100"):
        families.measure_families([vae], 10)


def test_an_experiment_may_have_options_and_a_mistyped_one_comes_before_any_training(
    vae, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(families, "trained_for", lambda *args: asked.append(args) or vae)
    monkeypatch.setattr(comparing, "print_table", lambda *_: None)
    monkeypatch.setattr(families, "measure_families", lambda *_: families.Families(()))
    names = ["vae_digits --learning-rate 2e-3 --seed 3", "gan_mnist"]
    assert commands.main(["compare", "--families", *names, "--minutes", "0.5"]) == 0
    (first, minutes), (second, _) = asked
    assert first.seed == 3 and first.arguments["learning_rate"] == 2e-3 and minutes == 0.5
    assert second.experiment == "gan_mnist"
    asked.clear()
    names[1] = "gan_mnist --gaem hinge"
    assert commands.main(["compare", "--families", *names, "--minutes", "0.5"]) == 2
    assert "--gaem" in capsys.readouterr().err and not asked
