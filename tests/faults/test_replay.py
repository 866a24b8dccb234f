"""Silent hardware faults: a bit that flips is found, and a sound run is left alone."""

import ctypes

import jax
import numpy as np
import optax
import pytest
from fitting import fit

from dgmjax import models, objectives
from dgmjax.errors import DgmjaxError, HardwareFault
from dgmjax.training import Player, gradient_learner
from dgmjax.training.replay import fingerprint
from dgmjax.training.steps import ResidentSteps

EVERY, STEPS = 10, 60
POINTS = {"x": np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)}


@pytest.fixture(scope="module")
def learner():
    flow = models.MAF(2, 2, (8,))
    player = Player(objectives.negative_log_likelihood, optax.adam(1e-2))
    return gradient_learner(flow, {"model": player})


def train(learner, **options):
    always = {"key": jax.random.key(0), "steps": STEPS, "batch_size": 16, "log_every": 1}
    always |= {"every": 1, "replay_every": EVERY}
    return fit(learner, POINTS, **always | options)


def flip(array, rng):
    """Flips one random bit in the memory of a device array."""
    address = array.addressable_data(0).unsafe_buffer_pointer()
    byte, bit = int(rng.integers(array.nbytes)), int(rng.integers(8))
    memory = (ctypes.c_uint8 * array.nbytes).from_address(address)
    memory[byte] ^= 1 << bit


def test_a_sound_run_is_not_changed(learner):
    plain, checked = train(learner, replay_every=None), train(learner)
    jax.tree.map(np.testing.assert_array_equal, plain.state, checked.state)


def test_flipped_bits_in_memory_are_found(learner, capsys):
    """A bit of the parameters or of the optimiser's state, between two calls."""
    rng, delays = np.random.default_rng(0), []
    for _ in range(30):
        when = int(rng.integers(1, STEPS - 2 * EVERY))
        reached = []

        def flip_at(state, step, when=when, reached=reached):
            if step == when:
                leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.nbytes >= 8]
                flip(leaves[rng.integers(len(leaves))], rng)
            reached.append(step)

        with pytest.raises(HardwareFault, match="Bits of training changed in memory"):
            train(learner, on_evaluation=flip_at)
        delays.append(reached[-1] - when)
    with capsys.disabled():
        print(f"\n30 bits flipped in memory: found after at most {max(delays)} steps")
    assert max(delays) <= 2 * EVERY


def test_flipped_bits_of_the_data_are_found(learner, monkeypatch):
    usual, runners = ResidentSteps.run, []

    def seen(self, *arguments):
        runners.append(self)
        return usual(self, *arguments)

    def flip_at(state, step):
        if step == 13:
            flip(runners[-1].arrays["x"], np.random.default_rng(2))

    monkeypatch.setattr(ResidentSteps, "run", seen)
    with pytest.raises(HardwareFault, match="of the data, before step 20"):
        train(learner, on_evaluation=flip_at)


def test_a_processor_that_computes_wrongly_is_found(learner, monkeypatch):
    """One step, run twice, gives two results: the fault is in the second run of step 20."""
    usual, calls = ResidentSteps.run, []

    def faulty(self, state, sums, step, count):
        state, sums, taken = usual(self, state, sums, step, count)
        calls.append(step)
        if calls.count(20) == 2 and step == 20:
            flip(jax.tree.leaves(state.params)[0], np.random.default_rng(1))
        return state, sums, taken

    monkeypatch.setattr(ResidentSteps, "run", faulty)
    with pytest.raises(HardwareFault, match="in step 20"):
        train(learner)


def test_every_single_flip_changes_the_fingerprint():
    rng = np.random.default_rng(0)
    values = {
        "float": rng.normal(size=37).astype(np.float32),
        "half": rng.normal(size=5).astype(np.float16),
        "bytes": rng.integers(0, 256, 9).astype(np.uint8),
        "flags": np.array([True, False]),
    }
    whole = np.asarray(fingerprint(values))
    for name, array in values.items():
        bits = array.size if array.dtype == bool else array.nbytes * 8
        for bit in range(bits):
            changed = array.copy()
            if array.dtype == bool:
                changed[bit] ^= True
            else:
                changed.view(np.uint8)[bit // 8] ^= 1 << bit % 8
            assert (np.asarray(fingerprint({**values, name: changed})) != whole).any()


def test_bad_interval_is_named(learner):
    with pytest.raises(DgmjaxError, match=r"^`replay_every` must be at least 1"):
        train(learner, replay_every=0)
