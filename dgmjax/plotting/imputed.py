"""Figures of images with missing pixels: the observed part, and completions by a model."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.images import image_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MISSING = 0.5


def imputations(
    observed: Any,
    mask: Any,
    single: Any,
    multiple: Any,
    truth: Any,
    title: str = "Imputations",
    columns: int = 2,
) -> "Figure":
    """For each image: the observed part (the rest grey), its imputations, and the truth.

    Args:
      observed: `[N, height, width]` or `[N, height, width, channels]`, values in [0, 1].
      mask: of the same shape, above 0 where a pixel was observed.
      single: of the same shape, the single imputation.
      multiple: `[N, M, ...]`, M multiple imputations of each image; M may be 0.
      truth: of the same shape, the complete images.
      columns: images beside each other, each with its own M + 3 pictures.
    """
    observed, multiple = np.asarray(observed, np.float64), np.asarray(multiple, np.float64)
    for name, array in (("mask", mask), ("single", single), ("truth", truth)):
        shape, rule = np.shape(array), f"must have the shape of `observed`, {observed.shape}"
        require(shape == observed.shape, name, rule, shape, "", DataError)
    fits = multiple.ndim == observed.ndim + 1 and len(multiple) == len(observed)
    fits = fits and multiple.shape[2:] == observed.shape[1:]
    rule = f"must be [N, M, *{observed.shape[1:]}] with N = {len(observed)}"
    require(fits, "multiple", rule, multiple.shape, "", DataError)
    shown = np.where(np.asarray(mask) > 0, observed, _MISSING)
    parts = [shown[:, None], np.asarray(single)[:, None], multiple, np.asarray(truth)[:, None]]
    pictures = np.concatenate(parts, 1)
    wide = pictures.shape[1] * columns
    figure = image_grid(pictures.reshape(-1, *observed.shape[1:]), wide, title)
    drawn = multiple.shape[1]
    note = f"each: observed, single imputation, {drawn} multiple imputations, truth"
    figure.supxlabel(note, fontsize=9)
    return figure
