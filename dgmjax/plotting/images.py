"""Figures of images: samples, reconstructions, latent manifolds and traversals.

Images are `[N, height, width]` or `[N, height, width, channels]` with 1 or 3 channels and values
in [0, 1]; values outside are clipped.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP = 3  # pixels between images
_LEAST_HEIGHT = 32  # pixels; smaller images are magnified, so that gaps look alike
_PANEL = 4.5  # inches: the longer side of a mosaic
_LETTER = 0.1  # inches: of a name beside a row


def image_grid(
    images: Any,
    columns: int | None = None,
    title: str = "",
    *,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> "Figure":
    """Images in rows of `columns`, left to right (None: about as many columns as rows).

    Names stand left of the rows and above the columns, one for each or none.
    """
    pictures = _pictures("images", images)
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    require(columns >= 1, "columns", "must be at least 1", columns)
    # Without names a row is no wider than its pictures.
    columns = columns if column_names else min(columns, len(pictures))
    mosaic, num = _mosaic(pictures, columns), -(-len(pictures) // columns)
    for argument, names, count in (
        ("row_names", row_names, num),
        ("column_names", column_names, columns),
    ):
        require(len(names) in (0, count), argument, f"must be {count} or none", len(names))
    return _named(mosaic, title, row_names, column_names)


def _named(
    mosaic: np.ndarray, title: str, rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> "Figure":
    """A figure of the mosaic, with names beside its rows and above its columns, if any."""
    if not (rows or columns):
        return _one_mosaic(mosaic, title)
    figure = _one_mosaic(mosaic, title, ticks=True, margin=max(map(len, rows), default=0))
    axes, (height, width) = figure.axes[0], mosaic.shape[:2]
    middles = lambda names, size: (np.arange(len(names)) + 0.5) * size / max(len(names), 1)
    axes.set_anchor("E")  # in the middle, square pixels would leave too little room for long names
    axes.set_yticks(middles(rows, height), rows)
    axes.set_xticks(middles(columns, width), columns)
    if columns:
        # A letter is about 0.62 of its size wide, and names are not to touch.
        longest = 0.62 / 72.0 * (1 + max(map(len, columns)))
        size = _PANEL * width / max(height, width) / len(columns) / longest
        axes.tick_params("x", labeltop=True, labelbottom=False, labelsize=min(9.0, size))
    return figure


def reconstructions(
    x: Any,
    x_hat: Any,
    title: str = "Reconstructions",
    names: tuple[str, str] = ("data", "reconstruction"),
) -> "Figure":
    """Each image of `x` above its reconstruction in `x_hat`, in pairs of rows of at most 16.

    `names` are those of the two rows of a pair.
    """
    above, below = _pictures("x", x), _pictures("x_hat", x_hat)
    require(
        above.shape == below.shape,
        "x_hat",
        f"must have the shape of `x`, {above.shape}",
        below.shape,
        error=DataError,
    )
    columns = min(len(above), 16)
    rows = []
    for start in range(0, len(above), columns):
        for pictures in (above, below):
            row = np.full((columns, *above.shape[1:]), np.nan)
            chunk = pictures[start : start + columns]
            row[: len(chunk)] = chunk
            rows.append(row)
    return _named(_mosaic(np.concatenate(rows), columns), title, names * (len(rows) // 2))


def latent_manifold(
    images: Any, limits: tuple[float, float] = (-2.0, 2.0), title: str = "Latent manifold"
) -> "Figure":
    """Decoded images `[rows, columns, height, width(, channels)]` of a grid of 2-D latents.

    Row 0 decodes the smallest second coordinate and is drawn at the bottom; `limits` label both
    axes: the smallest and largest coordinate.
    """
    grid = _blocks("images", images)
    rows, columns = grid.shape[:2]
    pictures = grid[::-1].reshape(rows * columns, *grid.shape[2:])
    mosaic = _mosaic(pictures, columns)
    figure = _one_mosaic(mosaic, title, ticks=True)
    axes = figure.axes[0]
    height, width = mosaic.shape[:2]
    labels = [f"{value:g}" for value in limits]
    axes.set_xticks([0, width - 1], labels)
    axes.set_yticks([height - 1, 0], labels)
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    return figure


def traversals(
    images: Any, labels: Sequence[str] | None = None, title: str = "Latent traversals"
) -> "Figure":
    """One row per latent dimension, one column per value of it: `[dimensions, values, ...]`.

    `labels` name the rows, from the top.
    """
    grid = _blocks("images", images)
    rows, columns = grid.shape[:2]
    names = list(labels) if labels is not None else [f"$z_{{{row}}}$" for row in range(rows)]
    require(len(names) == rows, "labels", f"must be {rows}, one per row", len(names))
    figure = _one_mosaic(
        _mosaic(grid.reshape(rows * columns, *grid.shape[2:]), columns), title, True
    )
    axes = figure.axes[0]
    pitch = grid.shape[2] + _GAP
    axes.set_yticks([_GAP + grid.shape[2] / 2 + row * pitch for row in range(rows)], names)
    axes.set_xticks([])
    axes.set_xlabel("value of the latent, from low to high")
    return figure


def _pictures(argument: str, images: Any) -> np.ndarray:
    """Images as `[N, height, width, channels]` in [0, 1]."""
    pictures = np.asarray(images, dtype=np.float64)
    shaped = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[-1] in (1, 3))
    require(
        shaped and pictures.size > 0,
        argument,
        "must be [N, height, width] or [N, height, width, 1 or 3], and not empty",
        pictures.shape,
        error=DataError,
    )
    finite = bool(np.all(np.isfinite(pictures)))
    require(finite, argument, "must be finite", "NaN or infinity", error=DataError)
    pictures = np.clip(pictures if pictures.ndim == 4 else pictures[..., None], 0.0, 1.0)
    zoom = max(1, round(_LEAST_HEIGHT / pictures.shape[1]))
    return pictures.repeat(zoom, axis=1).repeat(zoom, axis=2)


def _blocks(argument: str, images: Any) -> np.ndarray:
    """A grid of images as `[rows, columns, height, width, channels]`."""
    grid = np.asarray(images)
    require(
        grid.ndim in (4, 5),
        argument,
        "must be [rows, columns, height, width] or [rows, columns, height, width, channels]",
        grid.shape,
        error=DataError,
    )
    flat = _pictures(argument, grid.reshape(-1, *grid.shape[2:]))
    return flat.reshape(*grid.shape[:2], *flat.shape[1:])


def _mosaic(pictures: np.ndarray, columns: int) -> np.ndarray:
    """One image of all `pictures`, with white gaps and a grey line around each."""
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    canvas = np.ones((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels))
    for index, picture in enumerate(pictures):
        if np.isnan(picture).any():  # no picture here
            continue
        row, column = divmod(index, columns)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        canvas[top - 1 : top + height + 1, left - 1 : left + width + 1] = 0.75
        canvas[top : top + height, left : left + width] = picture
    return canvas


def _one_mosaic(mosaic: np.ndarray, title: str, ticks: bool = False, margin: int = 0) -> "Figure":
    """A figure that shows `mosaic` with square pixels, beside labels of `margin` letters."""
    height, width = mosaic.shape[:2]
    scale = _PANEL / max(height, width)
    extra = 0.5 if ticks else 0.1
    wide = max(width * scale + extra + _LETTER * margin, 2.0)
    high = max(height * scale, 0.6) + extra + 0.4 * bool(title)
    figure = new_figure(wide, high, title)
    axes = figure.add_subplot()
    if mosaic.shape[-1] == 1:
        axes.imshow(mosaic[..., 0], cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    else:
        axes.imshow(mosaic, interpolation="nearest")
    axes.set_frame_on(False)
    axes.tick_params(length=0, labelsize=9)
    if not ticks:
        axes.set_axis_off()
    return figure
