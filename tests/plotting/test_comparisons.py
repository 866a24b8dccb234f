"""Histograms and ROC curves hold the numbers that they are given."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from dgmjax.applications import auroc
from dgmjax.errors import DataError
from dgmjax.plotting import histograms, roc_curves

DRAWS = np.random.default_rng(0)


def test_histograms_have_an_area_of_one_and_lose_no_number():
    groups = {"a": DRAWS.normal(size=500), "b": DRAWS.normal(3.0, size=50)}
    figure = histograms({"first": groups, "second": groups})
    assert [axes.get_xlabel() for axes in figure.axes] == ["first", "second"]
    bars = figure.axes[0].patches
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(2.0)


def test_roc_curves_are_those_of_scikit_learn():
    inside, outside = np.round(DRAWS.normal(1.0, size=300), 1), np.round(DRAWS.normal(size=200), 1)
    line = roc_curves(inside, {"noise": outside}).axes[0].lines[0]
    labels = np.concatenate([np.zeros(300), np.ones(200)])
    scores = -np.concatenate([inside, outside])
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(np.array(line.get_data()), [false, true], atol=1e-12)
    area = np.trapezoid(line.get_ydata(), line.get_xdata())
    assert area == pytest.approx(auroc(inside, outside)[0])


@pytest.mark.parametrize("given", [np.array([]), np.array([np.nan]), np.zeros((2, 2))])
def test_numbers_must_be_finite(given):
    with pytest.raises(DataError, match="`a` must be"):
        histograms({"first": {"a": given}})
    with pytest.raises(DataError, match="`a` must be"):
        roc_curves([1.0], {"a": given})
    with pytest.raises(DataError, match="`panels` must name"):
        histograms({})
