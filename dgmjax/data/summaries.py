"""Summary of a data set in words: what it holds, and which experiments can be trained on it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dgmjax.data.dataset import Dataset


def summary(dataset: Dataset, path: str) -> str:
    """Kind, splits, shape, values and labels of a data set, and commands that train on it.

    >>> points = Dataset("p", {"train": {"x": np.zeros((4, 2))}}, {"source": "file p.csv"})
    >>> print(summary(points, "p.csv").splitlines()[0])
    rows of 2 numbers, float64 (file p.csv)
    """
    kind, commands = _kind(dataset)
    lines = [f"{kind} ({dataset.info.get('source', dataset.name)})", *_facts(dataset)]
    lines += [f"train: dgmjax train {command.format(path=path)}" for command in commands]
    return "\n".join(lines)


def _facts(dataset: Dataset) -> Iterator[str]:
    sizes = ", ".join(f"{name} {len(arrays['x'])}" for name, arrays in dataset.splits.items())
    yield f"splits: {sizes} ({dataset.info.get('splits', 'as they are')})"
    train = dataset.splits.get("train", next(iter(dataset.splits.values())))
    x = train["x"]
    yield f"values: {x.min():g} to {x.max():g}, mean {x.mean(dtype=np.float64):.4g}"
    if "label" in train:
        label = train["label"]
        names = dataset.info.get("classes")
        named = f": {', '.join(map(str, names[:12]))}" if names else ""
        told = label[label >= 0]
        none = f", {len(label) - len(told)} rows without" if len(told) < len(label) else ""
        yield f"labels: {len(np.unique(told))} classes{named}{none}"
    constant = int(np.sum(x.reshape(len(x), -1).min(0) == x.reshape(len(x), -1).max(0)))
    if constant:
        yield f"note: {constant} of {x[0].size} entries are the same in every training example"


def _kind(dataset: Dataset) -> tuple[str, tuple[str, ...]]:
    """What the examples are, and the commands that train on them."""
    shape, info = dataset.event_shape, dataset.info
    x: Any = next(iter(dataset.splits.values()))["x"]
    if "symbols" in info:
        text = f"text in blocks of {shape[0]}, {len(info['symbols'])} different characters"
        return text, ("char_rnn_shakespeare --dataset {path}",)
    if "sample_rate_hz" in info:
        sound = f"sound in pieces of {shape[0]} samples at {info['sample_rate_hz']} Hz"
        return sound, ("wavenet_spoken_digits --dataset {path}",)
    if len(shape) in (2, 3):
        channels = shape[2] if len(shape) == 3 else 1
        return f"images {shape[0]} x {shape[1]} x {channels}, {x.dtype}", (
            "vae_mnist --dataset {path}",
            "image_flow --dataset {path}",
            "gan_mnist --dataset {path}",
        )
    if len(shape) == 1:
        plane = ("plane_density --dataset {path}",) if shape[0] == 2 else ()
        rows = ("uci_density --dataset {path}", *plane)
        return f"rows of {shape[0]} numbers, {x.dtype}", rows
    return f"examples of shape {shape}, {x.dtype}", ()
