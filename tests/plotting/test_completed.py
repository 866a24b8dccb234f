"""Figures of completions and of text."""

import numpy as np
import pytest

from dgmjax import plotting
from dgmjax.errors import DataError


def test_completions_show_the_image_what_was_given_and_the_rest():
    images = np.zeros((3, 8, 8, 1))
    images[:, :, :4] = 1.0
    completed = np.stack([images, 1.0 - images], 1)
    mask = np.arange(8)[:, None] < 4
    figure = plotting.completions(images, np.broadcast_to(mask, (8, 8)), completed, columns=1)
    shown = figure.axes[0].images[0].get_array()
    zoom, gap = 4, 3
    tile = lambda row, column: shown[
        gap + row * (8 * zoom + gap) :, gap + column * (8 * zoom + gap) :
    ][: 8 * zoom : zoom, : 8 * zoom : zoom]
    for row in range(3):
        np.testing.assert_array_equal(tile(row, 0), images[row, ..., 0])
        np.testing.assert_array_equal(tile(row, 1)[:4], images[row, :4, :, 0])
        assert (tile(row, 1)[4:] == 0.5).all()
        np.testing.assert_array_equal(tile(row, 3), 1.0 - images[row, ..., 0])
    assert plotting.to_png(figure).startswith(b"\x89PNG")


def test_text_keeps_its_lines_and_breaks_long_ones():
    figure = plotting.text(["one $x$\n\ntwo", "w" * 100], title="Texts")
    lines = figure.axes[0].texts[0].get_text().split("\n")
    assert lines[:3] == ["one $x$", "", "two"]
    assert [len(line) for line in lines[-2:]] == [88, 12]
    assert plotting.to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda x: plotting.completions(x, np.ones((4, 4), bool), x), "completed"),
        (lambda x: plotting.completions(x, np.ones((4, 3), bool), x[:, None]), "mask"),
        (lambda x: plotting.text([]), "texts"),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DataError, match=f"^`{word}` must"):
        act(np.zeros((2, 4, 4)))
