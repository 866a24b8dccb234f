"""Every train step, sampler and measurement of the catalogue is a program for CPUs, GPUs and TPUs.

Nothing is run: programs are traced from shapes and lowered (`jax.export`). What a measurement
computes from the model's answers on the host, it computes here from noise.
"""

from typing import Any

import jax
import jax.export
import numpy as np
import pytest

from dgmjax.contracts import offers
from dgmjax.lab import catalogue, exporting
from dgmjax.lab.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")

OFTEN = {
    "bigan_mnist",
    "ebm_plane",
    "flow_matching_mnist",
    "image_flow",
    "made_binarized_mnist",
    "pixelcnn_binarized_mnist",
    "topic_model_text",
    "vae_digits",
    "wavenet_spoken_digits",
}
"""A few of every family; the others are `slow`."""

NAMES = [
    pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow)
    for name in sorted(entry.name for entry in catalogue.catalogue())
]


NOT_SERVED = {"miwae_breast_cancer": "'observed'", "miwae_mnist": "'observed'"}
"""Densities that are not served to others, and the word in the reason: what else they read."""


def lowered(function, *arguments) -> None:
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS


class LoweredLearner:
    """A learner whose methods are lowered, and answer with noise."""

    def __init__(self, learner: Any, variables: Any):
        self.learner, self.shapes, self.seen = learner, variables, set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)

    def call(self, variables: Any, method: Any, *arguments: Any) -> Any:
        program = lambda variables, *arguments: self.learner.call(variables, method, *arguments)
        shapes = jax.tree.map(jax.typeof, arguments)
        called = (method, str(shapes))
        if called not in self.seen:
            lowered(program, self.shapes, *shapes)
            self.seen.add(called)
        rng = np.random.default_rng(0)
        # Zeros and ones: what a likelihood, a decoder of text and a decoder of sound all take.
        noise = lambda leaf: rng.integers(0, 2, leaf.shape).astype(leaf.dtype)
        return jax.tree.map(noise, jax.eval_shape(program, self.shapes, *shapes))


@pytest.mark.staggered
@pytest.mark.filterwarnings("ignore:.* rows have no observed entry")
@pytest.mark.parametrize("name", NAMES)
def test_step_sampler_and_measurements_lower_for_every_platform(name):
    function = catalogue.load_experiment(name)
    shared = {"seed": 0, "tiny": True, "data_dir": None}
    experiment = catalogue.build(function, catalogue.own_defaults(function), **shared)
    learner, key = experiment.learner(), jax.random.key(0)
    rows = {k: v[: experiment.batch_size] for k, v in experiment.dataset.splits["train"].items()}
    batch = jax.eval_shape(lambda key: experiment.transform(rows, key), key)
    state = jax.eval_shape(lambda key: learner.init(key, experiment.transform(rows, key)), key)
    if (several := learner.batches_per_step) > 1:
        stacked = lambda leaf: jax.ShapeDtypeStruct((several, *leaf.shape), leaf.dtype)
        batch = jax.tree.map(stacked, batch)
    lowered(learner.step, state, batch)

    recorder = LoweredLearner(learner, jax.eval_shape(learner.variables, state))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
    trained = Trained(experiment, recorder, zeros)
    if offers(experiment.module, "sample"):
        trained.call(lambda model, key: model.sample(key, (2,)), key)
    for estimator in experiment.estimators:
        estimator.measure(trained, trained.arrays(estimator.split))
    if experiment.validation is not None:
        arrays = trained.arrays("validation")
        trained.per_example(experiment.validation, arrays, experiment.evaluation_batch_size)
    # What is shared takes any number of examples.
    for program, shapes, _ in exporting._functions(trained).values():
        _, told = exporting._lowered(program, recorder.shapes, shapes)
        reason = told.get("not_exported")
        assert reason is None or NOT_SERVED.get(name, "nothing") in reason, reason
    assert len(recorder.seen) > 1, "nothing was measured by a compiled method"
