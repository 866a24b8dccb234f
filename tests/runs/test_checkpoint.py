"""Checkpoints: what is saved comes back, and what is damaged never does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.errors import CheckpointError
from dgmjax.runs import Checkpoints


def tree(value):
    return {"a": jnp.full((3, 2), value), "b": (jnp.int32(7), {"c": jnp.arange(5.0) * value})}


def structs(value=0.0):
    return jax.eval_shape(lambda: tree(value))


@pytest.fixture
def saved(tmp_path):
    """A folder with the steps 10, 20 and 30 of which two are kept."""
    checkpoints = Checkpoints(tmp_path / "run", keep=2)
    for step in (10, 20, 30):
        checkpoints.save(step, tree(float(step)), {"best": step / 2})
    checkpoints.close()
    return tmp_path / "run"


def restored(folder):
    checkpoints = Checkpoints(folder, keep=2)
    try:
        return checkpoints.restore(structs())
    finally:
        checkpoints.close()


def test_the_newest_comes_back_with_its_host_values(saved):
    state, host, step = restored(saved)
    assert step == 30 and host == {"best": 15.0}
    jax.tree.map(np.testing.assert_array_equal, state, tree(30.0))
    assert state["b"][0].dtype == jnp.int32
    assert sorted(p.name for p in (saved / "steps").iterdir() if p.name.isdigit()) == ["20", "30"]


def test_a_relative_folder_will_do(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    assert restored("run")[2] == 30


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    assert restored(tmp_path / "new") is None


@pytest.mark.parametrize("fault", ["flip", "truncate", "delete", "manifest", "no_manifest"])
def test_a_damaged_step_is_refused_and_the_one_before_is_used(saved, fault):
    manifest = saved / "steps" / "30" / "manifest.json"
    files = [p for p in manifest.parent.rglob("*") if p.is_file() and p != manifest]
    largest = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    if fault == "flip":
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)
    elif fault == "truncate":
        largest.write_bytes(content[:-1])
    elif fault == "delete":
        largest.unlink()
    elif fault == "manifest":
        manifest.write_text("{")
    else:
        manifest.unlink()
    state, _, step = restored(saved)
    assert step == 20
    np.testing.assert_array_equal(state["a"], tree(20.0)["a"])


def test_no_valid_step_is_an_error_that_names_them(saved):
    for step in (20, 30):
        for path in (saved / "steps" / str(step)).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"steps/20.*steps/30"):
        restored(saved)


@pytest.mark.parametrize(
    "other",
    [
        {"a": jnp.zeros((3, 3)), "b": (jnp.int32(7), {"c": jnp.arange(5.0)})},
        {"a": jnp.zeros((3, 2), jnp.float16), "b": (jnp.int32(7), {"c": jnp.arange(5.0)})},
        {"a": jnp.zeros((3, 2))},
    ],
)
def test_another_model_is_refused(saved, other):
    """Orbax alone would cast the dtype silently."""
    checkpoints = Checkpoints(saved, keep=2)
    try:
        with pytest.raises(CheckpointError, match="this very model"):
            checkpoints.restore(jax.eval_shape(lambda: other))
    finally:
        checkpoints.close()
    assert restored(saved)[2] == 30


def test_part_of_a_tree_is_restored_by_its_prefix(saved):
    checkpoints = Checkpoints(saved, keep=2)
    try:
        part, _, _ = checkpoints.restore(jax.eval_shape(lambda: tree(0.0)["b"]), prefix="b")
    finally:
        checkpoints.close()
    np.testing.assert_array_equal(part[1]["c"], tree(30.0)["b"][1]["c"])


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(CheckpointError, match="run"):
        Checkpoints(tmp_path / "run")
