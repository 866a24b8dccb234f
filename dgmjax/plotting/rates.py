"""Bar charts of the rates of latent dimensions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMED = 32  # bars that have room for the index of their dimension


def kl_bars(rates: Any, active: Any, title: str = "KL per dimension") -> "Figure":
    """KL_d in nats of every dimension, the largest first; the title counts those active.

    Args:
      rates: `[D]`, averaged over examples.
      active: `[D]`, true where the dimension tells examples apart: drawn dark, the others pale.
    """
    rates, active = np.asarray(rates, np.float64), np.asarray(active, bool)
    sound = rates.ndim == 1 and rates.size > 0 and bool(np.isfinite(rates).all())
    require(sound, "rates", "must be [D], finite and not empty", rates.shape, error=DataError)
    rule = f"must be [D], one for each of the {rates.size} rates"
    require(active.shape == rates.shape, "active", rule, active.shape, error=DataError)
    order, total = np.argsort(-rates, kind="stable"), len(rates)
    figure = new_figure(6.0, 3.2, f"{title}, {int(active.sum())} of {total} active")
    axes = figure.add_subplot()
    for flag, colour, name in ((True, MODEL_COLOUR, "active"), (False, DATA_COLOUR, "not active")):
        places = np.flatnonzero(active[order] == flag)
        if places.size:
            axes.bar(places, rates[order][places], width=0.8, color=colour, label=name)
    few = total <= _MOST_NAMED
    axes.set_xticks(np.arange(total) if few else [], order if few else [])
    axes.set_xlabel("dimension of z, by its KL", fontsize=8)
    axes.set_ylabel("KL, nats", fontsize=8)
    axes.margins(y=0.2)  # room for the legend
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    return figure
