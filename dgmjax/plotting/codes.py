"""Figures of codebooks: the share of every code, and maps of indices beside images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def histograms(
    counts: Sequence[Any], title: str = "Codebook use", names: Sequence[str] | None = None
) -> "Figure":
    """The share of every code, the most used first, with the perplexity, one panel per level.

    Args:
      counts: for each level the number of occurrences of each code, `[K]`.
      names: of the levels where there are several; `level 0`, .. if None.
    """
    import jax.numpy as jnp

    from dgmjax.nn.codes import perplexity

    levels = [np.asarray(level, np.float64) for level in counts]
    sound = bool(levels) and all(
        level.ndim == 1 and level.sum() > 0 and level.min() >= 0 for level in levels
    )
    rule = "must be counts [K] for each level, not all 0"
    require(sound, "counts", rule, [level.shape for level in levels], error=DataError)
    figure = new_figure(4.2 * len(levels) + 0.3, 2.8, title)
    for index, level in enumerate(levels):
        axes = figure.add_subplot(1, len(levels), index + 1)
        shares = np.sort(level / level.sum())[::-1]
        axes.bar(np.arange(len(shares)), shares, width=1.0, color=MODEL_COLOUR)
        axes.axhline(1.0 / len(shares), color=DATA_COLOUR, linewidth=1.2)
        used, effective = int((level > 0).sum()), float(perplexity(jnp.asarray(level)))
        name = names[index] if names else f"level {index}"
        name = f"{name}: " if len(levels) > 1 else ""
        axes.set_title(
            f"{name}perplexity {effective:.1f}, {used} of {len(shares)} used", fontsize=9
        )
        axes.set_xlabel("code, by use (line: uniform)", fontsize=8)
        axes.set_ylabel("share", fontsize=8)
        tidy(axes)
    return figure


def index_maps(
    images: Any,
    indices: Sequence[Any],
    reconstructed: Any,
    num_codes: Sequence[int],
    title: str = "Codes",
    names: Sequence[str] | None = None,
) -> "Figure":
    """One column per image: the image, its map of indices of each level, its reconstruction.

    Args:
      images, reconstructed: `[N, height, width, channels]` in [0, 1], 1 or 3 channels.
      indices: of each level, the finest first, `[N, h, w]`.
      num_codes: of each level.
      names: of each level; `level 0`, .. if None.
    """
    x, x_hat = np.asarray(images, np.float64), np.asarray(reconstructed, np.float64)
    fits = x.ndim == 4 and x.shape == x_hat.shape and x.shape[-1] in (1, 3)
    rule = "must be images [N, height, width, 1 or 3] of the shape of `reconstructed`"
    require(fits, "images", rule, (x.shape, x_hat.shape), error=DataError)
    maps = [np.asarray(level) for level in indices]
    fits = len(maps) == len(num_codes) and all(m.ndim == 3 and len(m) == len(x) for m in maps)
    rule = f"must be maps [{len(x)}, h, w], one per level"
    require(fits, "indices", rule, [level.shape for level in maps], error=DataError)
    rows = 2 + len(maps)
    figure = new_figure(0.85 * len(x) + 0.9, 0.85 * rows + 0.5, title)
    levels = names or [f"level {i}" for i in range(len(maps))]
    for column in range(len(x)):
        for row, name in enumerate(["data", *levels, "decoded"]):
            axes = figure.add_subplot(rows, len(x), row * len(x) + column + 1)
            if 0 < row < rows - 1:
                last = num_codes[row - 1] - 1
                axes.imshow(maps[row - 1][column], cmap="turbo", vmin=0, vmax=last)
            else:
                picture = np.clip((x if row == 0 else x_hat)[column], 0.0, 1.0)
                grey = picture.shape[-1] == 1
                axes.imshow(picture[..., 0] if grey else picture, cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
    return figure
