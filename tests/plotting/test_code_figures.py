"""Figures of codebooks, and of the variance of gradients."""

import numpy as np
import pytest

from dgmjax import models, plotting
from dgmjax.errors import DgmjaxError
from dgmjax.lab.code_figures import by_depth
from dgmjax.plotting import codes

GENERATOR = np.random.default_rng(0)
X = GENERATOR.uniform(size=(3, 8, 8, 1))


def test_histograms_show_perplexity_and_unused_codes():
    figure = codes.histograms([np.array([4, 4, 0, 0]), np.ones(8)])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "level 0: perplexity 2.0, 2 of 4 used",
        "level 1: perplexity 8.0, 8 of 8 used",
    ]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [0.5, 0.5, 0.0, 0.0]


def test_index_maps_have_a_column_an_image():
    maps = [GENERATOR.integers(0, 5, (3, 4, 4)), GENERATOR.integers(0, 6, (3, 2, 2))]
    figure = codes.index_maps(X, maps, X, [5, 6])
    assert len(figure.axes) == 3 * 4
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["data", "level 0", "level 1", "decoded"]
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    np.testing.assert_array_equal(shown[1], maps[0][0])
    assert len(plotting.to_png(figure, dpi=40)) > 1000


def test_depths_of_a_level_are_maps_of_their_own():
    levels = (models.Level(5, 2, 2, depth=3), models.Level(6, 2, 2))
    deep, flat = GENERATOR.integers(0, 5, (3, 4, 4, 3)), GENERATOR.integers(0, 6, (3, 2, 2))
    maps, sizes, names = by_depth(levels, (deep, flat))
    assert sizes == [5, 5, 5, 6] and names == ["level 0.0", "level 0.1", "level 0.2", "level 1"]
    figure = codes.index_maps(X, maps, X, sizes, names=names)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["data", *names, "decoded"]
    for depth in range(3):
        np.testing.assert_array_equal(maps[depth], deep[..., depth])
    title = codes.histograms([np.ones(2), np.ones(4)], names=names[:2]).axes[1].get_title()
    assert title == "level 0.1: perplexity 4.0, 4 of 4 used"


def test_bars_of_variances():
    figure = plotting.gradient_variances({"REINFORCE": 10.0, "RELAX": 0.5}, "REINFORCE")
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [10.0, 0.5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["REINFORCE", "RELAX"]
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: codes.histograms([]), "counts"),
        (lambda: codes.histograms([np.zeros(3)]), "counts"),
        (lambda: codes.index_maps(X, [], X[:2], []), "images"),
        (lambda: codes.index_maps(X, [np.zeros((2, 4, 4))], X, [3]), "indices"),
        (lambda: plotting.gradient_variances({}), "variances"),
        (lambda: plotting.gradient_variances({"a": 0.0}), "variances"),
        (lambda: plotting.gradient_variances({"a": 1.0}, "b"), "reference"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
