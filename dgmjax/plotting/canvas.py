"""Matplotlib figures without pyplot: no global state, no window, nothing to close."""

import io
import os
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

from dgmjax.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL_COLOUR = "#1f5fa8"
DATA_COLOUR = "#b9bcc2"
_LETTER = 0.085  # inches: the width of a letter of a title


def new_figure(width: float, height: float, title: str = "") -> "Figure":
    """An empty figure of `width` x `height` inches that draws on memory (Agg).

    A title that is wider than the figure continues on the next line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    # A notebook shows what has this method; those of pyplot's figures come with pyplot only.
    setattr(figure, "_repr_png_", partial(to_png, figure))  # noqa: B010 (unknown to Figure)
    if title:
        figure.suptitle(textwrap.fill(title, max(16, int(width / _LETTER))), fontsize=11)
    return figure


def to_png(figure: "Figure", dpi: int = 120) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    _as_written(figure)
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(figure: "Figure", path: str | os.PathLike, dpi: int = 120) -> None:
    """Writes the figure as PNG, atomically. Raises `RunError` if the file cannot be written."""
    write_atomically(path, to_png(figure, dpi))


def save_vectors(figure: "Figure", path: str | os.PathLike) -> None:
    """Writes the figure as PDF, without a date: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    _as_written(figure)
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    write_atomically(path, buffer.getvalue())


def _as_written(figure: "Figure") -> None:
    """Leaves dollars in the names of users alone: Matplotlib reads a formula between two of them.

    Ours, `$x_1$` and the numbers of logarithmic axes, are formulas from end to end.
    """
    from matplotlib.mathtext import MathTextParser
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        written = text.get_text()  # type: ignore[attr-defined]
        if written.count("$") < 2 or not text.get_parse_math():  # type: ignore[attr-defined]
            continue
        formula = written.startswith("$") and written.endswith("$")
        try:
            formula and MathTextParser("agg").parse(written)
        except ValueError:
            formula = False
        text.set_parse_math(formula)  # type: ignore[attr-defined]


def tidy(axes: Any) -> None:
    """Takes away the frame's upper and right side, and makes the tick labels small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
