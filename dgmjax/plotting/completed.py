"""Figures of completions: images, and text."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import new_figure
from dgmjax.plotting.images import image_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REMOVED = 0.5


def completions(
    images: Any, mask: Any, completed: Any, title: str = "Completions", columns: int = 2
) -> "Figure":
    """Images, the part given to the model (the rest grey), and its completions.

    Args:
      images: `[N, height, width]` or `[N, height, width, channels]`, values in [0, 1].
      mask: booleans `[height, width]` or of the shape of one image, true where it was given.
      completed: `[N, K, ...]`, K completions of each image.
      columns: images beside each other, each with its own K + 2 pictures.
    """
    images, completed, mask = np.asarray(images), np.asarray(completed), np.asarray(mask)
    fits = completed.ndim == images.ndim + 1 and completed.shape[0] == len(images)
    require(
        fits and completed.shape[2:] == images.shape[1:],
        "completed",
        f"must be [N, K, *{images.shape[1:]}] with N = {len(images)}",
        completed.shape,
        error=DataError,
    )
    require(
        mask.shape in (images.shape[1:], images.shape[1:3]),
        "mask",
        f"must have the shape of an image, {images.shape[1:]}",
        mask.shape,
        error=DataError,
    )
    mask = mask.reshape(*mask.shape, *[1] * (images.ndim - 1 - mask.ndim))
    given = np.where(mask, images, _REMOVED)
    pictures = np.concatenate([images[:, None], given[:, None], completed], 1)
    wide = pictures.shape[1] * columns
    figure = image_grid(pictures.reshape(-1, *images.shape[1:]), wide, title)
    figure.supxlabel("each: the image, what was given, completions", fontsize=9)
    return figure


def text(texts: Sequence[str], title: str = "", columns: int = 88) -> "Figure":
    """Texts below one another, with their own line breaks; longer lines are broken."""
    require(len(texts) > 0, "texts", "must not be empty", list(texts), error=DataError)
    lines: list[str] = []
    for i, one in enumerate(texts):
        lines += ["-" * 20] * bool(i)
        for line in one.expandtabs(4).split("\n"):
            lines += textwrap.wrap(line, columns, drop_whitespace=False) or [""]
    figure = new_figure(7.5, 0.15 * len(lines) + 0.6, title)
    axes = figure.add_subplot()
    axes.set_axis_off()
    options: dict[str, Any] = {"fontsize": 8, "family": "monospace", "va": "top", "ha": "left"}
    options |= {"transform": axes.transAxes, "parse_math": False}
    axes.text(0.0, 1.0, "\n".join(lines), **options)
    return figure
