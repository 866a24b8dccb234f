"""Deterministic training: SHA-256 of the whole state is equal on 1, 2, 4 and 8 devices."""

import hashlib

import jax
import numpy as np
import optax
import pytest

from dgmjax import data, models, nn, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, RunFolder, fit, gradient_learner, make_mesh

X = np.random.default_rng(0).integers(0, 17, (64, 4, 2, 1)).astype(np.uint8)
POINTS = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)
BINARISE = data.Binarise("dynamic", levels=17)
NLL = objectives.negative_log_likelihood


def learner_of(module, objective):
    return gradient_learner(module, {"model": Player(objective, optax.adam(1e-2))})


# name -> learner, data, transform: one model of each family
FAMILIES = {
    "vae": (learner_of(models.dense_vae((4, 2, 1), 2, (8,)), objectives.elbo), X, BINARISE),
    "made": (learner_of(models.MADE((4, 2, 1), (8,)), NLL), X, BINARISE),
    "maf": (learner_of(models.MAF(2, 2, (8,)), NLL), POINTS, data.Identity()),
    "gan": (
        gradient_learner(
            models.GAN(2, nn.MLP((8,), (2,)), nn.MLP((8,), (1,))),
            {
                "discriminator": Player(
                    objectives.discriminator_loss, optax.adam(1e-2), ("discriminator",), steps=2
                ),
                "generator": Player(objectives.generator_loss, optax.adam(1e-2), ("generator",)),
            },
            ema_decay=0.9,
        ),
        POINTS,
        data.Identity(),
    ),
}


def train(name, devices, num_shards=8, steps=200, **options):
    learner, x, transform = FAMILIES[name]
    return fit(
        learner,
        {"x": x},
        key=jax.random.key(0),
        steps=steps,
        batch_size=16,
        transform=transform,
        mesh=make_mesh(devices),
        num_shards=num_shards,
        log_every=10,
        evaluate_every=10,
        **options,
    )


def digest(state):
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        sha.update(np.asarray(leaf).tobytes())
    return sha.hexdigest()


def losses(result):
    return [line["loss"] for line in result.history]


@pytest.mark.parametrize("name", FAMILIES)
def test_state_and_metrics_are_equal_on_any_number_of_devices(name):
    one, many = train(name, 1, steps=20), train(name, 8, steps=20)
    assert digest(many.state) == digest(one.state)
    assert losses(many) == losses(one)


@pytest.mark.fault
@pytest.mark.parametrize("name", FAMILIES)
def test_two_hundred_steps_are_equal_on_1_2_4_and_8_devices(name):
    results = {devices: train(name, devices) for devices in (1, 2, 4, 8)}
    digests = {devices: digest(result.state) for devices, result in results.items()}
    print(f"{name}: SHA-256 after 200 steps {digests}")
    assert len(set(digests.values())) == 1
    assert all(losses(result) == losses(results[1]) for result in results.values())


@pytest.mark.parametrize("name", ["vae", "maf"])
def test_without_shards_losses_agree_closely(name):
    one, many = train(name, 1, None, steps=20), train(name, 8, None, steps=20)
    np.testing.assert_allclose(losses(one), losses(many), rtol=1e-5)


def test_the_gradient_is_that_of_the_whole_batch():
    """MAF has no noise of its own: virtual shards and whole batches differ in rounding only."""
    whole, shards = train("maf", 1, None, steps=10), train("maf", 1, 8, steps=10)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        whole.state.params,
        shards.state.params,
    )


def test_a_run_may_change_its_devices_in_mid_epoch(tmp_path):
    whole = train("vae", 1, steps=24)
    for devices, steps in ((8, 7), (2, 13), (4, 24)):
        folder = RunFolder.create(tmp_path, "test", {}, 0)
        last = train("vae", devices, steps=steps, run=folder)
    assert digest(last.state) == digest(whole.state)


@pytest.mark.parametrize(
    "devices, shards, word", [(1, 6, "num_shards"), (3, 8, "devices"), (1, 32, "batch_size")]
)
def test_bad_arguments_are_named(devices, shards, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        fit(
            FAMILIES["maf"][0],
            {"x": POINTS},
            key=jax.random.key(0),
            steps=1,
            batch_size=24 if devices == 3 else 16,
            mesh=make_mesh(devices),
            num_shards=shards,
        )
