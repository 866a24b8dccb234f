"""Experiments on measurements: every prior, runs that are read, and curves beside each other."""

import jax
import numpy as np
import pytest

from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue, runner
from dgmjax.runs import RunFolder


def trained(folder, name, steps=2, **given):
    """A tiny run of an experiment with these arguments."""
    function = catalogue.load_experiment(name)
    arguments = catalogue.own_defaults(function) | given
    built = catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)
    run = RunFolder.create(folder, name, arguments, 0, tiny=True, options={"data_dir": None})
    return runner.train(built, run, seed=0, steps=steps), run


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("vae"), "vae_mnist")


@pytest.mark.slow
def test_a_run_that_is_read_is_measured_and_not_changed(tmp_path, vae):
    prior, folder = vae
    own, run = trained(
        tmp_path, "compressed_sensing", trained=str(folder.path), coverage=(), lasso=False
    )
    before = prior.learner.variables(prior.state)["params"]
    jax.tree.map(np.testing.assert_array_equal, own.state.params, before)
    assert [record.metric for record in run.read_records()] == 2 * ["squared_error_m8"]
    other, _ = trained(
        tmp_path / "uae", "compressed_sensing", prior="uae", beside=(str(run.path),), lasso=False
    )
    axes = other.experiment.figures["errors"](other).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(names) == 3 and sum("CSGM" in name for name in names) == 1


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["gan", "flow"])
def test_gans_and_flows_are_priors(tmp_path, prior):
    _, run = trained(tmp_path, "compressed_sensing", prior=prior, lasso=False)
    values = [record.value for record in run.read_records()]
    assert len(values) == 2 and np.isfinite(values).all()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"measurements": (0,)}, "`measurements` must be at least 1"),
        ({"noise": 0.0}, "`noise`"),
        ({"beside": ("nowhere",)}, "`run` must be a run folder"),
        ({"prior": "uae", "trained": "runs/vae"}, "`trained` must be left out"),
    ],
)
def test_bad_arguments_are_named(given, message):
    function = catalogue.load_experiment("compressed_sensing")
    arguments = catalogue.own_defaults(function) | given
    with pytest.raises(DgmjaxError, match=f"^{message}"):
        catalogue.build(function, arguments, seed=0, tiny=True, data_dir=None)


def test_a_run_of_another_kind_is_named(tmp_path, vae):
    folder = vae[1]
    with pytest.raises(DgmjaxError, match="`trained` must be the run folder of a GAN"):
        trained(tmp_path, "compressed_sensing", prior="gan", trained=str(folder.path))
