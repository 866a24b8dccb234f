"""Checkpoints in object stores: the library's path type over a local folder, without renames."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath
from fitting import fit

from dgmjax import models, objectives
from dgmjax.errors import CheckpointError, DgmjaxError, RunError
from dgmjax.files import stored_files
from dgmjax.runs import Checkpoints, RunFolder, manifest
from dgmjax.training import Execution, Player, gradient_learner


def tree(value):
    return {"a": jnp.full((3, 2), value), "b": (jnp.int32(7), jnp.arange(5.0) * value)}


def restored(place, **options):
    checkpoints = Checkpoints(place, keep=2, **options)
    try:
        return checkpoints.restore(jax.eval_shape(lambda: tree(0.0)))
    finally:
        checkpoints.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A place with the steps 20 and 30, in which only Orbax may rename."""
    place = epath.Path(tmp_path) / "bucket" / "run"
    checkpoints = Checkpoints(place, keep=2, identity="this")
    for step in (10, 20, 30):
        checkpoints.save(step, tree(float(step)), {"best": step / 2})
    checkpoints.close()
    return place


def test_steps_are_those_with_a_manifest(place):
    assert sorted(path.name for path in (place / "steps").iterdir()) == ["20", "30"]
    state, host, step = restored(place, identity="this")
    assert step == 30 and host == {"best": 15.0}
    jax.tree.map(np.testing.assert_array_equal, state, tree(30.0))


def test_a_step_without_a_manifest_was_not_committed(place):
    (place / "steps" / "30" / manifest.NAME).unlink()
    assert restored(place, identity="this", read_only=True)[2] == 20
    assert (place / "steps" / "30").exists()  # a reader touches nothing
    assert restored(place, identity="this")[2] == 20
    assert not (place / "steps" / "30").exists()


@pytest.mark.parametrize("fault", ["flip", "truncate", "delete", "add"])
def test_a_damaged_step_is_refused_and_kept_for_inspection(place, fault):
    files = stored_files(place / "steps" / "30" / "arrays")
    largest = max(files.values(), key=lambda path: path.stat().length)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    if fault == "delete":
        largest.unlink()
    elif fault == "add":
        (largest.parent / "another").write_bytes(b"x")
    else:
        largest.write_bytes(bytes(content) if fault == "flip" else bytes(content[:-1]))
    assert restored(place, identity="this")[2] == 20
    assert (place / "refused" / "30" / manifest.NAME).exists()
    assert not (place / "steps" / "30").exists()


def test_steps_of_another_run_are_refused(place):
    with pytest.raises(CheckpointError, match="belongs to another run"):
        restored(place, identity="that", read_only=True)


@pytest.mark.parametrize("url, word", [("ftp://host/run", "gs:// or s3://"), ("gs://b/r", "gcs")])
def test_urls_that_cannot_be_opened_are_named(url, word):
    if word == "gcs":
        try:
            import gcsfs  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("gcsfs is installed: the URL would be looked up in the network")
    with pytest.raises(CheckpointError, match=word):
        Checkpoints(url)


def trained(run, steps, place):
    loss = objectives.negative_log_likelihood
    learner = gradient_learner(models.MADE((3,), (4,)), {"model": Player(loss, optax.adam(1e-2))})
    x = np.random.default_rng(0).integers(0, 2, (32, 3)).astype(np.uint8)
    options = {"key": jax.random.key(0), "batch_size": 8, "every": 4, "log_every": 4}
    return fit(learner, {"x": x}, run=run, steps=steps, checkpoint_dir=place, **options)


def made(folder, place):
    execution = Execution(checkpoint_dir=place).changed()
    return RunFolder.create(folder, "test", {}, 0, options={"execution": execution})


def test_a_run_keeps_its_checkpoints_elsewhere_and_goes_on_there(tmp_path):
    place = str(tmp_path / "scratch")
    trained(made(tmp_path, place), 8, place)
    assert (tmp_path / "scratch" / "latest" / "steps" / "8").is_dir()
    assert not list(tmp_path.rglob("test/**/steps"))
    again = trained(made(tmp_path, place), 12, place)
    whole = trained(made(tmp_path / "other", None), 12, None)
    jax.tree.map(np.testing.assert_array_equal, again.state.params, whole.state.params)


@pytest.mark.parametrize("first, second", [("here", None), (None, "here"), ("here", "there")])
def test_a_run_goes_on_at_its_own_place_only(tmp_path, first, second):
    first, second = (name and str(tmp_path / name) for name in (first, second))
    made(tmp_path, first)
    with pytest.raises(RunError, match=r"^`checkpoint_dir`"):
        made(tmp_path, second)


def test_a_relative_place_is_refused():
    with pytest.raises(DgmjaxError, match=r"^`checkpoint_dir` must be an absolute path or a URL"):
        Execution(checkpoint_dir="scratch")
