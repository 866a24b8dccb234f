"""Data of the user's own in place of an experiment's: `--dataset PATH`."""

from dataclasses import replace
from typing import Any

import numpy as np

from dgmjax import data
from dgmjax.data.dataset import set_apart
from dgmjax.errors import DataError, require

from .options import OwnImages

FEW_LEVELS = 64
"""Integers below this are levels of their own; larger ones are grey values of 0 to 255."""


def load(name: str, data_dir: str | None, **options: Any) -> data.Dataset:
    """A path or the name of a data set, with a validation split; its records have no published
    number beside them."""
    found = data.load(name, data_dir=data_dir, **options)
    rule = "must have a train and a test split"
    complete = {"train", "test"} <= set(found.splits)
    require(complete, "dataset", rule, sorted(found.splits), "", DataError)
    splits, made = found.splits, found.info.get("splits")
    if "validation" not in splits:
        splits, made = set_apart(splits, max(1, len(splits["train"]["x"]) // 10), seed=0)
    sizes = {split: len(arrays["x"]) for split, arrays in splits.items()}
    info = {**found.info, "splits": made, "split_sizes": sizes, "own": True}
    return replace(found, splits=splits, info=info)


def require_own(shared: OwnImages, is_own: bool) -> None:
    """An error where options of a folder of pictures stand beside the experiment's own images."""
    given = {"size": shared.size, "grey": shared.grey or None}
    for option, value in given.items():
        rule = "must be left out without `dataset`, a folder"
        require(is_own or value is None, option, rule, value)


def images(
    shared: OwnImages, name: str | None = None, **options: Any
) -> tuple[data.Dataset, int | None]:
    """The images of `shared.dataset` (or `name`), NHWC, and their grey levels.

    Levels are 2 for images of 0 and 1, None for floating point in [0, 1].
    """
    given = {"size": shared.size, "grey": shared.grey or None}
    options |= {option: value for option, value in given.items() if value is not None}
    found = load(name or str(shared.dataset), shared.data_dir, **options)
    if len(found.event_shape) == 2:  # images without an axis of channels
        splits = {
            split: {**arrays, "x": arrays["x"][..., None]} for split, arrays in found.splits.items()
        }
        shape = [*found.event_shape, 1]
        found = replace(found, splits=splits, info={**found.info, "event_shape": shape})
    rule = "must hold images [height, width, channels]"
    require(len(found.event_shape) == 3, "dataset", rule, found.event_shape, "", DataError)
    return found, levels(found)


def levels(dataset: data.Dataset) -> int | None:
    """Grey levels of integer images: 256 or, where none is above 63, as many as there are."""
    low, high = dataset.info["value_range"]
    kind = np.dtype(dataset.info["dtype"]).kind
    if kind == "f":
        if all(_binary(arrays["x"]) for arrays in dataset.splits.values()):
            return 2
        inside = low >= 0 and high <= 1
        remedy = "Store grey values as uint8, or divide them by the largest."
        rule = "must hold integers, or floating point in [0, 1]"
        require(inside, "dataset", rule, f"values of {low:g} to {high:g}", remedy, DataError)
        return None
    require(low >= 0, "dataset", "must have no negative grey values", low, "", DataError)
    return 256 if high >= FEW_LEVELS else max(2, int(high) + 1)


def _binary(x: np.ndarray) -> bool:
    return bool(np.all((x == 0) | (x == 1)))


def binary_images(shared: OwnImages) -> tuple[data.Dataset, data.Transform]:
    """Images and their binarisation: none of 0/1, a fresh draw at each step of grey values."""
    found, grey = images(shared)
    if grey == 2:
        return found, data.Binarise("static")
    return found, data.Binarise("dynamic", levels=256 if grey is None else grey)


def integer_images(shared: OwnImages, name: str) -> tuple[data.Dataset, int]:
    """Images whose integer levels a density of dequantised values, or a scale, needs."""
    found, grey = images(shared, name)
    kind = np.dtype(found.info["dtype"]).kind
    rule = "must hold integer grey values"
    remedy = "Multiply by 255, round, and store them as uint8."
    require(kind in "ui", "dataset", rule, found.info["dtype"], remedy, DataError)
    return found, grey or 256


def table(name: str, data_dir: str | None, columns: int | None = None) -> data.Dataset:
    """Rows of numbers `[N, C]` of a path or of a data set of the catalogue."""
    found = load(name, data_dir)
    shape = found.event_shape
    fits = len(shape) == 1 and columns in (None, *shape)
    rule = f"must hold rows of {'' if columns is None else f'{columns} '}numbers"
    require(fits, "dataset", rule, f"examples of shape {shape}", "", DataError)
    return found


def sounds(name: str, data_dir: str | None, length: int) -> data.Dataset:
    """Sound of a path in pieces of `length` samples; of one class where there are no labels."""
    found = load(name, data_dir, length=length)
    known = "sample_rate_hz" in found.info
    require(known, "dataset", "must be a .wav file or a folder of them", name, "", DataError)
    splits = {
        split: {"label": np.zeros(len(arrays["x"]), np.int32), **arrays}
        for split, arrays in found.splits.items()
    }
    return replace(found, splits=splits)
