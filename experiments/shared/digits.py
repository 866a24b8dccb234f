"""Parts of experiments on images of digits: other sizes, outlines, and a classifier of them."""

from dataclasses import replace
from functools import lru_cache, partial

import jax
import numpy as np

from dgmjax import data, training
from dgmjax.evaluation.samples import LeNet

from .feature_net import cross_entropy

READ = 28
"""Side of the images that a LeNet reads."""
BATCH_SIZE, CHUNK = 100, 1000


def resized(x: np.ndarray, size: int) -> np.ndarray:
    """Images `[N, H, W, C]` with sides of `size`, by linear interpolation of averages."""
    if x.shape[1:3] == (size, size):
        return x
    found = []
    for start in range(0, len(x), CHUNK):
        part = np.asarray(x[start : start + CHUNK], np.float32)
        shape = (len(part), size, size, x.shape[-1])
        found.append(np.asarray(jax.image.resize(part, shape, "linear")))
    whole = np.concatenate(found)
    return np.round(whole).astype(x.dtype) if x.dtype.kind in "ui" else whole.astype(x.dtype)


def of_size(dataset: data.Dataset, size: int, margin: int = 0) -> data.Dataset:
    """The same images with sides of `size`, once `margin` pixels of every side are cut off."""
    inner = slice(margin, -margin or None)
    splits = {
        split: {**arrays, "x": resized(arrays["x"][:, inner, inner], size)}
        for split, arrays in dataset.splits.items()
    }
    info = {**dataset.info, "event_shape": [size, size, dataset.event_shape[-1]]}
    return replace(dataset, splits=splits, info=info)


def outline(x: np.ndarray, levels: int) -> np.ndarray:
    """White where a dark pixel of `x[N, H, W, 1]` touches a bright one, black elsewhere."""
    bright = np.pad(x > (levels - 1) / 2, ((0, 0), (1, 1), (1, 1), (0, 0)))
    inner = bright[:, 1:-1, 1:-1]
    touches = (
        bright[:, :-2, 1:-1] | bright[:, 2:, 1:-1] | bright[:, 1:-1, :-2] | bright[:, 1:-1, 2:]
    )
    return ((touches & ~inner) * (levels - 1)).astype(x.dtype)


def translated(trained, context: np.ndarray) -> np.ndarray:
    """Translations of images in [-1, 1] by a trained model."""
    parts = np.array_split(context, max(1, len(context) // CHUNK))
    return np.concatenate([np.asarray(trained.call("translate", part)) for part in parts])


def readable(x: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as a feature net reads them: in [0, 1], 28x28."""
    return np.clip(resized((np.asarray(x, np.float32) + 1.0) / 2.0, READ), 0.0, 1.0)


def classifier(x: np.ndarray, label: np.ndarray, steps: int, seed: int = 0):
    """A LeNet trained on images in [-1, 1]: a function from such images to classes."""
    learner = _learner(steps)
    result = training.fit(
        learner,
        {"x": readable(x), "label": np.asarray(label, np.int32)},
        key=jax.random.key(seed),
        steps=steps,
        batch_size=BATCH_SIZE,
        execution=training.Execution(log_every=steps),
    )
    if result.interrupted:
        raise KeyboardInterrupt
    variables = learner.variables(result.state)
    return partial(_classes, learner, variables)


@lru_cache
def _learner(steps: int):
    """The same object for the same number, so that classifiers compile once."""
    player = training.Player(cross_entropy, training.adam(1e-3, steps))
    return training.gradient_learner(LeNet(), {"model": player})


def _classes(learner, variables, x: np.ndarray) -> np.ndarray:
    parts = np.array_split(readable(x), max(1, len(x) // CHUNK))
    return np.concatenate([np.asarray(learner.call(variables, _class, part)) for part in parts])


def _class(model, x):
    return model(x)[1].argmax(-1)
