"""Figure of samples beside the images nearest to them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.images import image_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def nearest_images(
    samples: Any, neighbours: Any, title: str = "Samples and training images"
) -> "Figure":
    """A row for each sample: the sample first, then its neighbours, the nearest first.

    A sample that its first neighbour repeats was memorised.

    Args:
      samples: `[N, height, width]` or `[N, height, width, channels]`, values in [0, 1].
      neighbours: `[N, K, ...]`.
    """
    one, several = np.asarray(samples), np.asarray(neighbours)
    fits = several.ndim == one.ndim + 1 and len(several) == len(one)
    rule = f"must be [{len(one)}, K, *{one.shape[1:]}]"
    sound = fits and several.shape[2:] == one.shape[1:]
    require(sound, "neighbours", rule, several.shape, error=DataError)
    rows = np.concatenate([one[:, None], several], 1)
    figure = image_grid(rows.reshape(-1, *one.shape[1:]), rows.shape[1], title)
    figure.supxlabel("left: samples; right: their neighbours", fontsize=9)
    return figure
