"""Figures of images with missing pixels."""

import numpy as np
import pytest

from dgmjax import plotting
from dgmjax.errors import DataError


def test_imputations_show_what_was_observed_the_imputations_and_the_truth():
    truth = np.zeros((2, 8, 8, 1))
    truth[:, :, :4] = 1.0
    mask = np.broadcast_to(np.arange(8)[:, None, None] < 4, truth.shape)
    single, multiple = np.full_like(truth, 0.25), np.stack([truth, 1 - truth], 1)
    figure = plotting.imputations(truth * mask, mask, single, multiple, truth, columns=1)
    shown = figure.axes[0].images[0].get_array()
    zoom, gap = 4, 3
    tile = lambda row, column: shown[
        gap + row * (8 * zoom + gap) :, gap + column * (8 * zoom + gap) :
    ][: 8 * zoom : zoom, : 8 * zoom : zoom]
    for row in range(2):
        np.testing.assert_array_equal(tile(row, 0)[:4], truth[row, :4, :, 0])
        assert (tile(row, 0)[4:] == 0.5).all() and (tile(row, 1) == 0.25).all()
        np.testing.assert_array_equal(tile(row, 3), 1.0 - truth[row, ..., 0])
        np.testing.assert_array_equal(tile(row, 4), truth[row, ..., 0])
    assert plotting.to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda x: plotting.imputations(x, x[:1], x, x[:, None], x), "mask"),
        (lambda x: plotting.imputations(x, x, x[..., :3], x[:, None], x), "single"),
        (lambda x: plotting.imputations(x, x, x, x, x), "multiple"),
        (lambda x: plotting.imputations(x, x, x, x[:, None], x[0]), "truth"),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DataError, match=f"^`{word}` must"):
        act(np.zeros((2, 4, 4)))
